"""A function of a notebook or script as a program of its own: its source, and that of what it uses, in one file.

Modules are imported again, placements made again, functions and classes copied as they were written, plain numbers and
strings repeated. Other values would be copies of what one process has, and are refused by name.
"""

from __future__ import annotations

import builtins
import inspect
import symtable
import sys
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from mpcrt.errors import UsageError
from mpcrt.runtime.placements import Party, PartyFunction, Public, SecureFunction, Spu, function_name

REMEDY = (
    "load or make it in a party function; or write the program to a file (a cell that begins with "
    "`%%writefile program.py`) and run that: cluster.run('program.py')"
)


def program_of(function: Callable[..., Any]) -> str:
    """The text of a program whose `main` is `function`. Raises UsageError naming what it uses that has no source."""
    name, parts = function_name(function), ["import mpcrt\n"]
    if not isinstance(function, FunctionType) or not name.isidentifier():
        raise UsageError(f"{name} is no function with a name of its own; {REMEDY}")
    _add(name, function, function.__globals__, parts, set())
    return "\n".join([*parts, f"main = {name}\n"])


def _add(name: str, value: Any, scope: dict[str, Any], parts: list[str], seen: set[str]) -> None:
    """Append what defines `name`, after all that it uses."""
    if name in seen:
        return
    seen.add(name)
    placed = value if isinstance(value, PartyFunction | SecureFunction) else None
    made: Any = placed.function if placed is not None else value
    home = sys.modules.get(getattr(made, "__module__", None) or "")
    if isinstance(value, ModuleType):
        parts.append(f"import {value.__name__} as {name}\n")
    elif isinstance(value, Party | Spu):
        parts.append(f"{name} = mpcrt.{'party' if isinstance(value, Party) else 'spu'}({value.name!r})\n")
    elif isinstance(value, Public):
        parts.append(f"{name} = mpcrt.public\n")
    elif value is None or type(value) in (bool, int, float, str):
        parts.append(f"{name} = {value!r}\n")
    elif isinstance(made, FunctionType | type) and made.__module__ == "__main__":
        source = _source(name, made)
        for used in _used(source):
            if used in scope and used != name:
                _add(used, scope[used], scope, parts, seen)
        parts.append(source)
        if placed is not None and not source.lstrip().startswith("@"):
            kind, more = "party", ""
            if isinstance(placed, SecureFunction):
                static = placed.static
                kind, more = "spu", f", static_argnums={static.numbers!r}, static_argnames={static.names!r}"
            parts.append(f"{name} = mpcrt.{kind}({placed.placement.name!r})({made.__name__}{more})\n")
        elif made.__name__ != name:
            parts.append(f"{name} = {made.__name__}\n")
    elif home is not None and getattr(home, getattr(made, "__name__", ""), None) is value:
        parts.append(f"from {home.__name__} import {made.__name__} as {name}\n")
    else:
        raise UsageError(f"the program uses {name}, a {type(value).__name__} of this process; {REMEDY}")


def _source(name: str, made: Any) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(made))
    except (OSError, TypeError):
        raise UsageError(f"{name} has no source here; {REMEDY}") from None
    if getattr(made, "__closure__", None) or made.__name__ == "<lambda>":
        raise UsageError(f"{name} is a lambda or is defined within another function; define it in a cell, or {REMEDY}")
    return source


def _used(source: str) -> list[str]:
    """The global names that a definition uses, in its body and its decorators."""
    found: dict[str, None] = {}
    tables = [symtable.symtable(source, "program", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        for symbol in table.get_symbols():
            outside = symbol.is_referenced() if table.get_type() == "module" else symbol.is_global()
            if outside and not hasattr(builtins, symbol.get_name()):
                found[symbol.get_name()] = None
    return sorted(found)
