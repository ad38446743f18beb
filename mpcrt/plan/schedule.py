"""Schedule: the static lowering of a plan that every reader executes, so that online, dealer and cost always agree.

Representations of a value (n parties i; the dealer knows masks l and deferred terms L, never D):

PUBLIC   known to all, the dealer too.
MASKED   D = x + l public to the parties; additive shares of l at the parties.
OPENED   D = x + l public to the parties; l known to the dealer alone (an absorbed product, r = s - L).
PENDING  x = sum u_i + L; `deferred` says whether L may differ from 0. Not deferred: plain shares.
FORKED   floor(z / 2^k) of a wire z with D = z + l: P - R + q 2^(64-k) m, see protocols/ops/truncation.py.
DEALT    shares of a dealer-known vector (a bit's mask in the ring).
LOCAL    known to the parties in the clear and not to the dealer (results of comparisons in a sort).

Bits use the same names with exclusive or for addition: PENDING bits are xor shares, a MASKED or OPENED bit is b = c
^ beta.

Steps run by level: level k holds what starts when k rounds are over. A loop runs to its end within its level.
Rounds = levels with openings + the rounds of loops.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from mpcrt.plan.plan import Plan
from mpcrt.plan.types import Type

CHUNK = 1 << 17
"""Elements of one chunk of an elementwise step; a multiple of every superblock."""


class Rep(StrEnum):
    PUBLIC = "public"
    MASKED = "masked"
    OPENED = "opened"
    PENDING = "pending"
    FORKED = "forked"
    DEALT = "dealt"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Held:
    """How a value is held. `holder`: the party that holds the whole mask; `bits`: what a fork drops;
    `shared`: the fork's R and m are shared; `ready`: the rounds after which the value is there."""

    type: Type
    rep: Rep
    deferred: bool = False
    holder: str | None = None
    bits: int = 0
    shared: bool = False
    ready: int = 0

    @property
    def wire(self) -> bool:
        return self.rep in (Rep.MASKED, Rep.OPENED)

    @property
    def bit(self) -> bool:
        return self.type.kind == "bit"


@dataclass(frozen=True, slots=True)
class Step:
    """`number` is unique in the plan, loop bodies included: the `op` of PRG positions. `node`: the plan's node it
    serves. `exposes`: the value that the rule makes, where the step then exposes it and has the wire as its result."""

    number: int
    rule: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    attrs: dict
    start: int
    rounds: int
    size: int
    chunked: bool
    node: int
    exposes: int | None = None

    @property
    def name(self) -> str:
        """The rule, and whether what it makes is exposed."""
        return self.rule if self.exposes is None else f"{self.rule}+expose"

    @property
    def exposing(self) -> bool:
        """Whether its result is what it opened, under a fresh mask."""
        return self.exposes is not None or self.rule in ("expose", "expose_product")

    def chunks(self) -> Iterator[tuple[int, int, int]]:
        """(index, low, high) of the elements of each chunk."""
        if not self.chunked:
            yield 0, 0, self.size
            return
        chunk = self.attrs.get("chunk", CHUNK)
        for index, low in enumerate(range(0, max(self.size, 1), chunk)):
            yield index, low, min(low + chunk, self.size)


@dataclass(frozen=True)
class Schedule:
    """The lowered plan. `inputs[i]` and `outputs[i]` are value numbers; `held[v]` says how value v is held. Of level k
    the first `urgent[k]` steps lead to its openings.
    Values of `constant` depend on no input: readers compute them once and keep them in `kept`."""

    plan: Plan
    parties: int
    steps: tuple[Step, ...]
    held: tuple[Held, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    levels: tuple[tuple[Step, ...], ...] = field(default=())
    urgent: tuple[int, ...] = field(default=())
    rounds: int = 0
    constant: frozenset[int] = field(default=frozenset())
    kept: dict = field(default_factory=dict, compare=False, repr=False)

    @property
    def fingerprint(self) -> str:
        return self.plan.fingerprint

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the plan's fingerprint and of every step. Stream keys are bound to it: releases that lower one
        plan differently share no word, so that together they compute noise instead of masking two values alike."""
        rows = [f"{self.fingerprint} {self.parties} {CHUNK} {self.inputs} {self.outputs}"]
        rows += [f"{h.type} {h.rep} {h.deferred} {h.holder} {h.bits} {h.shared}" for h in self.held]
        for s in self.steps:
            attrs = [(k, v) for k, v in sorted(s.attrs.items()) if k not in ("node", "body")]
            body = s.attrs["body"].digest if s.rule == "loop" else ""
            rows.append(f"{s.number} {s.name} {s.operands} {s.results} {s.start} {s.size} {s.chunked} {attrs} {body}")
        rows += [f"{count} {[s.number for s in level]}" for count, level in zip(self.urgent, self.levels, strict=True)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @cached_property
    def output_wires(self) -> tuple[str, ...]:
        """What an input op of the next plan says of each output: "public", "masked" or "shared"."""
        names = {Rep.PUBLIC: "public", Rep.MASKED: "masked", Rep.PENDING: "shared"}
        return tuple(names[self.held[v].rep] for v in self.outputs)

    @cached_property
    def output_types(self) -> tuple[Type, ...]:
        return tuple(self.held[v].type for v in self.outputs)

    def format(self, indent: str = "") -> list[str]:
        """One line a step: level, number, rule, operands, how the results are held."""
        lines = []
        for s in sorted(self.steps, key=lambda s: (s.start, s.number)):
            results = ", ".join(f"%{v}:{self.held[v].rep}{'+L' if self.held[v].deferred else ''}" for v in s.results)
            operands = ", ".join(f"%{v}" for v in s.operands)
            lines.append(f"{indent}[{s.start}] #{s.number} {s.name}({operands}) -> {results}")
            if s.rule == "loop":
                lines += s.attrs["body"].format(indent + "    ")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.format())


def schedule(plan: Plan, parties: int) -> Schedule:
    """Lowers `plan` for `parties` computing parties: deterministic, without data."""
    from mpcrt.plan.lowering import lower  # the lowering builds on this module's classes

    return lower(plan, parties)
