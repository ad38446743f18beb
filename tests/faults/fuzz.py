"""Fuzzes one decoder with atheris: `python fuzz.py TARGET [libFuzzer options] FOLDER...`; `python fuzz.py --list`.

Finds new coverage from the folders of inputs given and writes what it finds into the first. scripts/fuzz calls it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Instrument this project's code only, and start."""
    if sys.argv[1] == "--list":
        from fuzz_targets import TARGETS

        print("\n".join(TARGETS))
        return
    import atheris

    target = sys.argv.pop(1)
    # an editable install's finder loads modules in its own way, which leaves them without instrumentation
    sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
    sys.path.insert(1, str(Path(__file__).parents[2]))
    with atheris.instrument_imports(include=["mpcrt"]):
        from fuzz_targets import TARGETS, seeds
    folder = Path(sys.argv[-1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed{number}").write_bytes(seed)
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
