"""The protocols' harness (real readers on in-memory links) serves these tests too."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "protocols"))
