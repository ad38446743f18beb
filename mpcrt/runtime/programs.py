"""Program files: imported by path under their own name, never as `__main__`."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mpcrt.errors import UsageError

PACKAGE = str(Path(__file__).resolve().parent.parent) + os.sep
FOREIGN = ("site-packages", "dist-packages", "<frozen", sysconfig.get_path("stdlib") + os.sep)
"""What no line of the user's own has in its file's name."""


def load(path: Path) -> ModuleType:
    """The module of a program file, its folder importable as for `python program.py`."""
    path = Path(path).absolute()
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def files_of(path: Path) -> dict[str, bytes]:
    """Digests of the program's source: its file under "", and by relative path what it has imported from its folder and
    the folders in it, without installed packages and mpcrt. What a function imports later is not among them."""
    path = Path(path).absolute()
    root = path.parent
    installed = {Path(sysconfig.get_paths()[key]).absolute() for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    installed.add(Path(__file__).absolute().parents[1])
    found = {"": path}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        source = Path(file).absolute()
        if source == path or not source.is_relative_to(root):
            continue
        folders = [p for p in source.parents if p.is_relative_to(root)]
        inside = {"site-packages", "dist-packages"}.intersection(source.relative_to(root).parts)
        if inside or not installed.isdisjoint(source.parents) or any((p / "pyvenv.cfg").exists() for p in folders):
            continue
        found[source.relative_to(root).as_posix()] = source
    return {name: hashlib.sha256(file.read_bytes()).digest() for name, file in sorted(found.items())}


def main_of(module: ModuleType, path: Path) -> Callable[..., Any]:
    """The program's `main`. Raises UsageError where there is none."""
    main = getattr(module, "main", None)
    if not callable(main):
        raise UsageError(f"{path}: a program has a function main(), which every party runs; this one has none")
    return main


def line_of(error: BaseException) -> str:
    """The innermost line of the user's own code that an error came through, as " (file:line)"; "" if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(PACKAGE) and not any(s in f.filename for s in FOREIGN)]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def call_main(main: Callable[..., Any], arguments: Sequence[str]) -> None:
    """`main()`, or `main(arguments)` where it takes them; they are sys.argv[1:] in any case.

    An `async def main` runs in an event loop of this thread, so its placement calls are made by the thread that runs
    main. Raises UsageError for a generator, whose body would never run.
    """
    try:
        parameters = list(inspect.signature(main).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    wanted = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(wanted) > 1:
        raise UsageError(f"main() takes {len(wanted)} arguments; it may take one, the list of arguments after `--`")
    result = main(*([list(arguments)] if wanted else []))
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise UsageError("main() is a generator, so nothing in it runs; take out its `yield`")
    awaited(result)


def awaited(result: Any) -> Any:
    """What a function gave; where that is a coroutine, what it comes to in an event loop of its own."""
    return asyncio.run(result) if inspect.iscoroutine(result) else result
