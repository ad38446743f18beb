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
from functools import lru_cache
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
    the folders in it, without installed packages and mpcrt. What a function imports later is not among them.

    A folder counts by every path that leads to it, since programs put either a link or what it stands for on sys.path.
    """
    folder = lru_cache(lambda path: [Path(os.path.abspath(path)), Path(path).resolve()])
    path = Path(os.path.abspath(path))
    roots = [*folder(path.parent), path.resolve().parent]
    programs = {path, path.resolve(), folder(path.parent)[1] / path.name}
    others = [sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed = {p for other in (*others, Path(__file__).parents[1]) for p in folder(other)}
    found = {"": path.read_bytes()}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or not file.endswith(".py"):
            continue
        sources = [p / os.path.basename(file) for p in folder(os.path.dirname(os.path.abspath(file)))]
        source, root = next(((s, r) for s in sources for r in roots if s.is_relative_to(r)), (None, None))
        if source is None or root is None or not programs.isdisjoint(sources):
            continue
        name = source.relative_to(root)
        inside = {"site-packages", "dist-packages"}.intersection(name.parts)
        if inside or not installed.isdisjoint(source.parents):
            continue
        if any((root / p / "pyvenv.cfg").exists() for p in name.parents if p.parts):
            continue
        if (text := _text(source, module)) is not None:
            found[name.as_posix()] = text
    return {name: hashlib.sha256(text).digest() for name, text in found.items()}


def _text(file: Path, module: ModuleType) -> bytes | None:
    """A module's source, which may be in an archive; None where the file that it names does not exist."""
    loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
    try:
        return file.read_bytes()
    except OSError:
        try:
            return loader.get_data(module.__file__)
        except (AttributeError, OSError):
            return None


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


def below(error: BaseException) -> BaseException:
    """The error with the user's part of its traceback: it starts below the engine's frame."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
