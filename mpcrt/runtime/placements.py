"""Placements are names: `party("alice")`, `spu("spu")`, `public`. Making or using one as a decorator starts nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from mpcrt.errors import UsageError
from mpcrt.runtime import current
from mpcrt.text import listed

if TYPE_CHECKING:
    from mpcrt.runtime.values import Handle

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Party:
    """A party by its name in the cluster file. Calling it with a function places the function there."""

    name: str

    def __call__(self, function: Callable[P, R]) -> PartyFunction[P, R]:
        return PartyFunction(self, function)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Static:
    """Which arguments go to a function as they are, by position and by name, as `jax.jit` has them."""

    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @staticmethod
    def of(numbers: int | Sequence[int], names: str | Sequence[str]) -> Static:
        """From what a user writes. Raises UsageError for what is neither a number nor a name."""
        made = Static(
            (numbers,) if isinstance(numbers, int) else tuple(numbers),
            (names,) if isinstance(names, str) else tuple(names),
        )
        if not all(type(n) is int for n in made.numbers) or not all(isinstance(n, str) for n in made.names):
            raise UsageError("static_argnums takes positions, static_argnames names of parameters")
        return made


@dataclass(frozen=True, slots=True)
class Spu:
    """A device by its name in the cluster file. Calling it with a function makes it a secure one."""

    name: str

    @overload
    def __call__(
        self,
        function: Callable[P, R],
        *,
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
    ) -> SecureFunction[P, R]: ...

    @overload
    def __call__(
        self, *, static_argnums: int | Sequence[int] = (), static_argnames: str | Sequence[str] = ()
    ) -> Callable[[Callable[P, R]], SecureFunction[P, R]]: ...

    def __call__(
        self,
        function: Callable[..., Any] | None = None,
        *,
        static_argnums: int | Sequence[int] = (),
        static_argnames: str | Sequence[str] = (),
    ) -> Any:
        static = Static.of(static_argnums, static_argnames)
        if function is None:
            return lambda made: SecureFunction(self, made, static)
        return SecureFunction(self, function, static)

    def __str__(self) -> str:
        return self.name


class Public:
    """Known to every party. As a target, `handle.to(mpcrt.public)`; as a marker, `mpcrt.public(array)`, which says that
    a large constant of a secure function may be published."""

    name = "public"

    def __call__(self, value: Any) -> Any:
        from mpcrt.tracing.types import Public as Marked

        return Marked(value)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return "mpcrt.public"


@dataclass(frozen=True, slots=True)
class Group:
    """Several parties that hold the same value, as `.to(alice, bob)` makes it."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return listed(self.names)


public = Public()
Placement = Party | Spu | Public | Group


def party(name: str) -> Party:
    """The party `name`. Raises UsageError unless it is a string."""
    return Party(_name(name, "party"))


def spu(name: str) -> Spu:
    """The device `name`. Raises UsageError unless it is a string."""
    return Spu(_name(name, "device"))


def _name(name: object, what: str) -> str:
    if not isinstance(name, str) or not name:
        raise UsageError(f"a {what} is named by a string, not {name!r}")
    return name


def holders(placement: Placement, everyone: Sequence[str]) -> tuple[str, ...]:
    """Who has a value of this placement in plaintext, of the parties that have the program."""
    if isinstance(placement, Party):
        return (placement.name,)
    if isinstance(placement, Group):
        return placement.names
    return tuple(everyone) if isinstance(placement, Public) else ()


def function_name(function: Any) -> str:
    """The qualified name of a function, of what a partial or a wrapper stands for, or of a callable's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or type(function).__qualname__


def short_name(function: Any) -> str:
    """The same without the functions around it, for messages."""
    return function_name(function).rsplit("<locals>.", 1)[-1]


class PartyFunction(Generic[P, R]):
    """A function that runs in plaintext in one party's process; everywhere else a call gives a handle at once."""

    def __init__(self, placement: Party, function: Callable[P, R]) -> None:
        _callable(function)
        self.placement, self.function = placement, function
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        session = current.require(f"{function_name(self.function)}() on {self.placement}")
        return session.party_call(self.placement, self.function, args, kwargs)

    def __repr__(self) -> str:
        return f"<{function_name(self.function)} on {self.placement}>"


class SecureFunction(Generic[P, R]):
    """A JAX function that runs on shares. Called while a secure function is traced, it is part of that function."""

    def __init__(self, placement: Spu, function: Callable[P, R], static: Static) -> None:
        _callable(function)
        self.placement, self.function, self.static = placement, function, static
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        running = current.session.get()
        if running is not None and running.tracing(self.placement):
            return cast(Any, self.function(*args, **kwargs))
        session = current.require(f"{function_name(self.function)}() on {self.placement}")
        return session.secure_call(self.placement, self.function, self.static, args, kwargs)

    def __repr__(self) -> str:
        return f"<{function_name(self.function)} on {self.placement}>"


def _callable(function: object) -> None:
    if not callable(function):
        raise UsageError(f"a placement takes a function, not {type(function).__name__}")
    if isinstance(function, PartyFunction | SecureFunction):
        raise UsageError(f"{function!r} has a placement already")
