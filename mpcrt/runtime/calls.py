"""What `main` asks for, as the engine takes it. Each but Resolve and Begin has a number and a description that
all share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpcrt.runtime.facts import Fact
from mpcrt.runtime.placements import Party, Placement, Spu
from mpcrt.runtime.values import Handle, Value


@dataclass(eq=False)
class Call:
    """`description` is for agreement and people: kind, placement, function, argument structure. `name` is short.
    `facts` are compared too: digests of what the description does not show.

    Set once the call is announced: `sure`, nothing can keep it from being run; `needs`, the wires (device, number) of
    earlier calls that it takes; `light`, what the dealer sends for it is little; `provided`, nobody has to bring an
    input any more.
    """

    description: str
    name: str
    number: int = field(default=0, init=False)
    result: Value = field(init=False, repr=False)
    facts: list[Fact] = field(default_factory=list, init=False, repr=False)
    handles: list[Handle] = field(default_factory=list, init=False, repr=False)
    """Those in its arguments."""
    sure: bool = field(default=False, init=False)
    light: bool = field(default=False, init=False)
    provided: bool = field(default=False, init=False)
    needs: list[tuple[str, int]] = field(default_factory=list, init=False, repr=False)


@dataclass(eq=False)
class PartyCall(Call):
    """A function in plaintext at one party."""

    placement: Party
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(eq=False)
class SecureCall(Call):
    """A function on shares. `static`: the positions that go to it as they are; `identity`: equal for the same function
    and the same of these. `read`: nothing more is read of the function."""

    placement: Spu
    function: Callable[..., Any]
    static: tuple[int, ...]
    args: tuple[Any, ...]
    identity: Hashable
    read: bool = field(default=False, init=False)


@dataclass(eq=False)
class Move(Call):
    """A value to another placement."""

    target: Placement
    handle: Handle


@dataclass(eq=False)
class Inject(Call):
    """A value that the calling process has, to be shared without an owner."""

    placement: Party
    tree: Any


@dataclass(eq=False)
class Begin(Call):
    """The program is imported, and main begins; compared with the others before any call, without a number.

    `files`: digests of its source files by name; `arguments`: those after `--`."""

    files: Mapping[str, bytes]
    arguments: Sequence[str]


@dataclass(eq=False)
class ReportCall(Call):
    """Everybody's counters."""


@dataclass(eq=False)
class EndCall(Call):
    """Nothing follows."""


@dataclass(eq=False)
class Resolve(Call):
    """Wait for a value's metadata; local to this process, without a number."""

    value: Value
