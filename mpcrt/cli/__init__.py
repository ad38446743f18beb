"""The `mpcrt` command."""

from mpcrt.cli.app import main

__all__ = ["main"]
