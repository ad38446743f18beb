"""Program files of functions: what other processes import to run a function that was given in place of a program."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from mpcrt.errors import UsageError
from mpcrt.runtime import placements
from mpcrt.runtime.notebook import program_of


def program_name(program: str | Path | Callable[[], Any]) -> str:
    return placements.function_name(program) if callable(program) else str(program)


@contextlib.contextmanager
def program_file(program: str | Path | Callable[[], Any]):
    """The path of a program file; for a function, a file that runs it instead of main.

    Raises UsageError for what other processes could not import.
    """
    if not callable(program):
        path = Path(program)
        if not path.is_file():
            raise UsageError(f"{path}: no such program file")
        yield path
        return
    if getattr(program, "__module__", None) == "__main__":
        stem, text = "notebook", program_of(program)
    else:
        path = module_file(program)
        stem = f"run_{path.stem}"
        text = (
            "from pathlib import Path\n\nfrom mpcrt.runtime import programs\n\n"
            f"main = getattr(programs.load(Path({str(path)!r})), {program.__name__!r})\n"
        )
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mpcrt-program-") as folder:
        stub = Path(folder) / f"{stem}.py"
        stub.write_text(text, encoding="utf-8")
        yield stub


def module_file(function: Callable[..., Any]) -> Path:
    """The file of a module-level function. Raises UsageError for closures and lambdas."""
    name = placements.function_name(function)
    module: ModuleType | None = sys.modules.get(getattr(function, "__module__", ""))
    remedy = "save it to a file, as a function of a module, and pass that function or the file"
    if module is None or getattr(module, name, None) is not function or not getattr(module, "__file__", None):
        raise UsageError(f"{name} is no module-level function, so other processes cannot import it; {remedy}")
    return Path(inspect.getfile(module))
