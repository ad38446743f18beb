"""Lowering: chooses the representation of every value and inserts the conversions, each at most once a value.

Conversions: expose (PENDING -> wire, 1 round), mask_shares (OPENED -> MASKED, dealer 8 B), resolve (a deferred term
becomes shares, dealer 8 B), fork_shares and join (FORKED -> usable in products; -> PENDING), lift (a bit's mask as
ring shares). Every step starts as soon as its operands are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from mpcrt.plan.declare import PlanError
from mpcrt.plan.lowered_ops import LOWERED, loop
from mpcrt.plan.passes import alive, exposed, fused, merged, urgent_first
from mpcrt.plan.plan import Node, Plan
from mpcrt.plan.schedule import Held, Rep, Schedule, Step
from mpcrt.plan.types import Type

LAYOUT = {"reshape", "transpose", "broadcast", "slice", "pad", "concat", "take"}
LINEAR = LAYOUT | {"add", "neg", "sum", "shift", "scale", "xor"}
BILINEAR = {"mul", "dot", "conv"}
CHUNKED = {
    "expose", "expose_product", "mask_shares", "resolve", "fork_shares", "settle", "join", "lift", "select", "multiply",
    "and", "msb", "eqz", "samples", "disclose",
}  # fmt: skip


KEPT = 1 << 16
"""Elements of a constant value that a schedule keeps between runs."""


@dataclass(frozen=True, slots=True)
class Linear:
    """How a linear PENDING value came to be. `root`: the one PENDING value that it is a linear function of, public
    values and wires apart, None where there is no one: exposed once, that serves all its linear functions (a value
    compared with many thresholds). `source`: the smallest such, itself or one below: the one to expose."""

    node: Node
    operands: list[int]
    type: Type
    root: int | None
    source: int


class Lowering:
    """The lowering of one plan or loop body; bodies share the counter of step numbers."""

    def __init__(self, plan: Plan, parties: int, given: Sequence[Held] | None = None, numbers=None) -> None:
        self.plan, self.parties = plan, parties
        self.given = given
        self.numbers = numbers if numbers is not None else count(1)
        self.held: list[Held] = []
        self.steps: list[Step] = []
        self.inputs: list[int] = []
        self.values: list[int] = []  # plan value -> lowered value
        self.known: dict[tuple, int] = {}
        self.linears: dict[int, Linear] = {}
        self.constant: set[int] = set()  # values that no input changes
        self.node = 0

    def run(self, coerce_outputs) -> Schedule:
        for number, node in enumerate(self.plan.nodes):
            self.node = number
            self.values.extend(self.lower(node))
        self.node = len(self.plan.nodes)
        outputs = tuple(coerce_outputs(i, self.values[v]) for i, v in enumerate(self.plan.outputs))
        self.steps = alive(self.steps, outputs)
        for together in (fused, exposed):
            self.steps = merged(self.steps, outputs, together)
        openings = max((s.start + s.rounds for s in self.steps), default=0)
        loop_rounds = sum(s.attrs["trips"] * s.attrs["body"].rounds for s in self.steps if s.rule == "loop")
        levels: list[list[Step]] = [[] for _ in range(openings + 1)]
        for step in self.steps:
            levels[step.start].append(step)
        ordered = [urgent_first(level) for level in levels]
        return Schedule(
            self.plan, self.parties, tuple(self.steps), tuple(self.held), tuple(self.inputs), outputs,
            tuple(steps for steps, _ in ordered), tuple(count for _, count in ordered), openings + loop_rounds,
            frozenset(self.constant),
        )  # fmt: skip

    def inner(self, body: Plan, given: Sequence[Held]) -> "Lowering":
        """The lowering of a loop's body whose inputs are held as given."""
        return Lowering(body, self.parties, given, self.numbers)

    # -- appending

    def value(self, held: Held) -> int:
        self.held.append(held)
        return len(self.held) - 1

    def step(
        self, rule: str, operands: Sequence[int], results: Sequence[Held], attrs: dict, rounds: int = 0
    ) -> list[int]:
        """Appends a step; its results become ready `rounds` after its last operand is."""
        start = max((self.held[v].ready for v in operands), default=0)
        made = []
        for h in results:
            made.append(self.value(Held(h.type, h.rep, h.deferred, h.holder, h.bits, h.shared, start + rounds)))
        self.steps.append(
            Step(next(self.numbers), rule, tuple(operands), tuple(made), attrs, start, rounds,
                 results[0].type.size if results else 0, rule in CHUNKED, self.node)
        )  # fmt: skip
        return made

    def one(
        self,
        rule: str,
        operands: Sequence[int],
        type: Type,
        rep: Rep,
        attrs: dict | None = None,
        rounds: int = 0,
        **held,
    ) -> int:
        return self.step(rule, operands, [Held(type, rep, **held)], attrs or {}, rounds)[0]

    def once(self, rule: str, v: int, type: Type, rep: Rep, attrs: dict | None = None, rounds: int = 0, **held) -> int:
        """A conversion of value v, made at most once."""
        key = (rule, v, held["deferred"]) if rule == "pending" else (rule, v)
        if key not in self.known:
            self.known[key] = self.one(rule, (v,), type, rep, attrs, rounds, **held)
        return self.known[key]

    # -- conversions

    def wire(self, v: int, shares: bool = False) -> int:
        """v as a wire with public D; with mask shares at the parties if `shares`."""
        h = self.held[v]
        if h.rep is Rep.FORKED:
            if ("join", v) in self.known or not shares:
                return self.wire(self.join(v), shares)
            return self.wire(self.once("unfork", self.forked(v), h.type, Rep.PENDING), shares)
        if h.rep is Rep.PENDING:
            source = self.source(v)
            if source != v:
                v = self.replayed(v, source)
            else:
                rep = Rep.OPENED if h.deferred else Rep.MASKED
                v = self.once("expose", v, h.type, rep, rounds=1)
            h = self.held[v]
        if h.rep is Rep.OPENED and shares:
            v = self.once("mask_shares", v, h.type, Rep.MASKED)
        return v

    def root(self, v: int) -> int | None:
        return self.linears[v].root if v in self.linears else v

    def source(self, v: int) -> int:
        return self.linears[v].source if v in self.linears else v

    def pending_operands(self, operands: Sequence[int]) -> set[int]:
        return {u for u in operands if self.held[u].rep is Rep.PENDING}

    def remember(self, v: int, node: Node, operands: list[int], type: Type) -> None:
        """Notes of a linear PENDING value what its operands' notes tell, so that no chain of them is ever walked."""
        pending = self.pending_operands(operands)
        roots = {self.root(u) for u in pending}
        root = roots.pop() if len(roots) == 1 else None
        best = self.source(*pending) if len(pending) == 1 else root
        if best is None or self.held[best].type.size > type.size:
            best = v
        self.linears[v] = Linear(node, operands, type, root, best)

    def replayed(self, v: int, source: int) -> int:
        """The wire of a linear function of `source`, from that value's wire."""
        wire = self.wire(source)
        wires = {source: wire}
        waiting, between = [v], set()
        while waiting:
            u = waiting.pop()
            if ("replayed", u, source) in self.known:
                wires[u] = self.known["replayed", u, source]
            elif u != source and u not in between:
                between.add(u)
                waiting += self.pending_operands(self.linears[u].operands)
        for u in sorted(between):  # operands are made before what is made of them
            made = self.linears[u]
            wires[u] = self.linear(made.node, [wires.get(o, o) for o in made.operands], made.type)
            self.known["replayed", u, source] = wires[u]
        return wires[v]

    def join(self, v: int) -> int:
        """A fork as PENDING: m is dealt, R deferred; or local where both are shared."""
        h = self.held[v]
        if h.shared:
            return self.once("unfork", v, h.type, Rep.PENDING)
        if ("fork_shares", v) in self.known:
            return self.join(self.known["fork_shares", v])
        return self.once("join", v, h.type, Rep.PENDING, {"bits": h.bits}, deferred=True)

    def forked(self, v: int) -> int:
        h = self.held[v]
        if h.shared:
            return v
        return self.once("fork_shares", v, h.type, Rep.FORKED, {"bits": h.bits}, bits=h.bits, shared=True)

    def factor(self, v: int) -> int:
        """An operand of an elementwise product: a fork with shared R and m, or a wire with mask shares."""
        if self.held[v].rep is Rep.FORKED and ("expose", self.known.get(("join", v), -1)) not in self.known:
            return self.forked(v)
        return self.wire(v, shares=True)

    def pending(self, v: int, deferred: bool) -> int:
        """v as PENDING; without a deferred term unless `deferred`."""
        h = self.held[v]
        if h.rep is Rep.FORKED:
            if not deferred:
                return self.join(self.forked(v))
            v = self.join(v)
        elif h.rep is not Rep.PENDING:
            if h.rep is Rep.OPENED and not deferred:
                v = self.wire(v, shares=True)
            v = self.once("pending", v, h.type, Rep.PENDING, deferred=deferred and h.rep is not Rep.PUBLIC)
        if self.held[v].deferred and not deferred:
            v = self.once("resolve", v, h.type, Rep.PENDING)
        return v

    def output(self, v: int) -> int:
        """v as an output: PUBLIC, MASKED or PENDING without a deferred term."""
        h = self.held[v]
        if h.rep is Rep.OPENED:
            return self.wire(v, shares=True)
        return v if h.rep in (Rep.PUBLIC, Rep.MASKED) else self.pending(v, False)

    # -- nodes

    def lower(self, node: Node) -> list[int]:
        operands = [self.values[v] for v in node.operands]
        if node.op == "input":
            return [self.lower_input(node)]
        if node.op == "loop":
            return loop(self, node, operands)
        (type,) = node.results
        if all(self.held[v].rep is Rep.PUBLIC for v in operands):
            v = self.one("public", operands, type, Rep.PUBLIC, {"op": node.op, "node": node})
            if self.constant.issuperset(operands) and type.size <= KEPT:
                self.constant.add(v)
            return [v]
        if node.op in LOWERED:
            return [LOWERED[node.op](self, node, operands, type)]
        if node.op in LINEAR:
            return [self.linear(node, operands, type)]
        raise PlanError(f"no lowering of {node.op}")

    def lower_input(self, node: Node) -> int:
        (type,) = node.results
        if self.given is not None:
            h = self.given[len(self.inputs)]
            h = Held(h.type.with_(shape=type.shape), h.rep, h.deferred, h.holder, h.bits, h.shared)
        else:
            rep = {"public": Rep.PUBLIC, "masked": Rep.MASKED, "shared": Rep.PENDING}[node.attrs["wire"]]
            h = Held(type, rep, holder=type.owner if rep is Rep.MASKED else None)
        v = self.value(h)
        self.inputs.append(v)
        return v

    def linear(self, node: Node, operands: list[int], type: Type) -> int:
        """A linear op keeps wires wires (D and l both map); with any PENDING operand it gives PENDING."""
        attrs = {"op": node.op, "node": node}
        if node.op in LAYOUT - {"concat"} and self.held[operands[0]].rep is Rep.FORKED:
            grows = type.size > self.held[operands[0]].type.size
            v = self.forked(operands[0]) if grows else operands[0]
            h = self.held[v]
            return self.one("map_fork", (v, *operands[1:]), type, Rep.FORKED, attrs, bits=h.bits, shared=h.shared)
        operands = [self.join(v) if self.held[v].rep is Rep.FORKED else v for v in operands]
        secret = [self.held[v] for v in operands if self.held[v].rep is not Rep.PUBLIC]
        if all(h.wire for h in secret):
            rep = Rep.OPENED if any(h.rep is Rep.OPENED for h in secret) else Rep.MASKED
            holders = {h.holder for h in secret}
            holder = holders.pop() if len(holders) == 1 and rep is Rep.MASKED else None
            return self.one("linear", operands, type, rep, attrs, holder=holder)
        deferred = any(h.deferred or h.rep is Rep.OPENED for h in secret)
        v = self.one("linear", operands, type, Rep.PENDING, attrs, deferred=deferred)
        if node.op in LINEAR | BILINEAR:
            self.remember(v, node, operands, type)
        return v


def lower(plan: Plan, parties: int) -> Schedule:
    if parties < 2:
        raise PlanError("a plan runs on two computing parties or more")
    lowering = Lowering(plan, parties)
    return lowering.run(lambda i, v: lowering.output(v))
