"""How a primitive op is declared: its entry in OPS, and what its type rule asks of operands and attributes."""

from collections.abc import Callable
from dataclasses import dataclass

from mpcrt.errors import ProtocolError
from mpcrt.plan.types import Type, join
from mpcrt.text import quoted

Attrs = dict[str, object]
Infer = Callable[[tuple[Type, ...], Attrs], tuple[Type, ...]]


class PlanError(ProtocolError):
    """A plan that breaks the rules of its ops; from a peer it ends the run."""


@dataclass(frozen=True, slots=True)
class Op:
    """What one primitive op is: operand count (None: any), attribute names in order, and its type rule."""

    name: str
    operands: int | None
    attrs: tuple[str, ...]
    infer: Infer


OPS: dict[str, Op] = {}


def op(name: str, operands: int | None, *attrs: str):
    def register(infer: Infer) -> Infer:
        OPS[name] = Op(name, operands, attrs, infer)
        return infer

    return register


def need(condition: object, message: str) -> None:
    if not condition:
        raise PlanError(message)


def ints(value: object, length: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, tuple) or not all(type(v) is int for v in value):
        raise PlanError(f"{quoted(value)} is not a tuple of integers")
    need(length is None or len(value) == length, f"{quoted(value)} has not {length} entries")
    return value


def plain(value: object) -> bool:
    """Whether this is a tuple of integers, strings and such tuples, so that it can be a key."""
    return isinstance(value, tuple) and all(isinstance(v, int | str) or plain(v) for v in value)


def natural(value: object, below: int = 1 << 40) -> int:
    need(type(value) is int and 0 <= value < below, f"{quoted(value)} is not an integer in [0, {below})")
    return value  # type: ignore[return-value]


def same(types: tuple[Type, ...], *fields: str) -> None:
    for field in fields:
        need(len({getattr(t, field) for t in types}) == 1, f"operands differ in {field}: {', '.join(map(str, types))}")


def ring(*types: Type) -> None:
    need(all(t.kind == "ring" for t in types), "operands are not ring elements")


def bit(*types: Type) -> None:
    need(all(t.kind == "bit" for t in types), "operands are not bits")


def joined(types: tuple[Type, ...]) -> str:
    return join(*(t.visibility for t in types))
