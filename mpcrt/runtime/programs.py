"""Program files: imported by path under their own name, never as `__main__`."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mpcrt.errors import UsageError


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


def main_of(module: ModuleType, path: Path) -> Callable[..., Any]:
    """The program's `main`. Raises UsageError where there is none."""
    main = getattr(module, "main", None)
    if not callable(main):
        raise UsageError(f"{path}: a program has a function main(), which every party runs; this one has none")
    return main


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
