"""The table of rules. A lowered step has an online rule, a dealer rule and a cost; a plan op has a plaintext function.

Online and dealer rules of an elementwise step see one chunk at a time. An online rule that opens is a generator, which
yields each opening, and the dealer's, where it deals after one, yields at the same points; other rules are plain
functions. What they return:

* online: my share as a flat uint64 array (packed words of bits), or what `assemble` makes a value of; an opening whose
  words are the result;
* dealer: the deferred term as such an array, or None for zero.

A `local` step needs nothing but its operands: no positions, openings or corrections. Its rules take the step's
`Fixed` facts and return the function of the operands, which is made once a schedule.

What else follows from a step alone, `facts` works out once a schedule; the rules find it in `ctx.facts`.

`assemble(ctx, pieces, *operands)` makes the step's value of the chunks' results, where it is not simply their array;
what a step exposes is assembled without its operands, which are let go by then.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpcrt.plan.schedule import Held, Step


class Traffic(NamedTuple):
    """What one chunk sends: payload bytes of each opening's vector, in order, and bytes from the dealer."""

    openings: tuple[int, ...] = ()
    dealt: int = 0


@dataclass(slots=True)
class Rule:
    online: Callable[..., Any] | None = None
    dealer: Callable[..., Any] | None = None
    facts: Callable[["Fixed"], Any] | None = None
    cost: Callable[["Shape"], Traffic] | None = None
    assemble_online: Callable[..., Any] | None = None
    assemble_dealer: Callable[..., Any] | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class Fixed:
    """What is known of a step before it runs. `lead`: whether this reader adds public terms."""

    attrs: dict
    operands: tuple[Held, ...]
    result: Held
    lead: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cost rule sees: a chunk of n elements of a step."""

    n: int
    step: Step
    operands: tuple[Held, ...]
    result: Held

    @property
    def words(self) -> int:
        """Packed words of n bits."""
        return -(-self.n // 64)

    @property
    def attrs(self) -> dict:
        return self.step.attrs


RULES: dict[str, Rule] = {}
PLAINTEXT: dict[str, Callable[..., Any]] = {}


def _register(field: str, *names: str):
    def register(function):
        for name in names:
            setattr(RULES.setdefault(name, Rule()), field, function)
        return function

    return register


def online(*names: str):
    """The computing party's rule of a step."""
    return _register("online", *names)


def dealer(*names: str):
    """The dealer's rule of a step."""
    return _register("dealer", *names)


def facts(*names: str):
    """What the rules of a step need that follows from the step alone: function(fixed) -> anything."""
    return _register("facts", *names)


def local(*names: str) -> None:
    """Declares steps as local."""
    for name in names:
        RULES.setdefault(name, Rule()).local = True


def cost(*names: str):
    """What one chunk of a step sends, without data."""
    return _register("cost", *names)


def assemble(reader: str, *names: str):
    """Makes the value of a step of its chunks' results, at "online" or "dealer"."""
    return _register(f"assemble_{reader}", *names)


def plaintext(*names: str):
    """The plan op on arrays in the clear: function(node, *arrays) -> array."""

    def register(function):
        for name in names:
            PLAINTEXT[name] = function
        return function

    return register
