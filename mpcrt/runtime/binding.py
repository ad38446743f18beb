"""Calls of secure functions as positions: keyword arguments, and those that are static."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpcrt.errors import UsageError
from mpcrt.runtime.placements import Static, function_name, short_name
from mpcrt.runtime.values import handles_in


class ByName:
    """A function whose last positional arguments are handed on by name, since only positions are traced."""

    def __init__(self, function: Callable[..., Any], names: tuple[str, ...]) -> None:
        self.function, self.names = function, names
        self.__qualname__ = function_name(function)

    def __call__(self, *args: Any) -> Any:
        count = len(args) - len(self.names)
        return self.function(*args[:count], **dict(zip(self.names, args[count:], strict=True)))

    def names_of(self, count: int) -> list[str]:
        """What to call each of so many arguments: its position, or its name."""
        return [*map(str, range(count - len(self.names))), *self.names]

    def __hash__(self) -> int:
        return hash((self.function, self.names))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByName) and (other.function, other.names) == (self.function, self.names)


def by_position(
    function: Callable[..., Any], static: Static, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], tuple[int, ...]]:
    """(function, arguments, static ones among them) by position alone, the same for any spelling of a call.

    Raises UsageError where the arguments do not fit the function, and for a handle that is to be static.
    """
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise UsageError(
            f"{short_name(function)}() is async or a generator; a secure function is plain JAX, traced once"
        )
    if not kwargs and not static.numbers and not static.names:
        return function, tuple(args), ()
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        positions, given, named = [], tuple(args), dict(kwargs)
    else:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"{short_name(function)}(): {error}") from None
        positions = [
            p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        given, named = bound.args, bound.kwargs
        unknown = set(static.names) - set(signature.parameters) - set(named)
        if unknown:
            raise UsageError(f"{short_name(function)}() has no parameter {', '.join(sorted(unknown))} to be static")
    numbers = {n % max(len(positions), len(given), 1) if n < 0 else n for n in static.numbers}
    names = {*static.names, *(positions[n] for n in numbers if n < len(positions))}
    order = (*positions[: len(given)], *[""] * (len(given) - len(positions)), *sorted(named))
    fixed = tuple([i for i, name in enumerate(order) if name in names or (i < len(given) and i in numbers)])
    every = (*given, *[named[name] for name in sorted(named)])
    for i in fixed:
        if handles_in(every[i]):
            raise UsageError(
                f"{short_name(function)}(): {order[i] or i} is static, so it is a plain value and no handle"
            )
    return (ByName(function, tuple(sorted(named))) if named else function), every, fixed
