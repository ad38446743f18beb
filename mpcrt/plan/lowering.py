"""Lowering: chooses the representation of every value and inserts the conversions, each at most once a value.

Conversions: expose (PENDING -> wire, 1 round), mask_shares (OPENED -> MASKED, dealer 8 B), resolve (a deferred term
becomes shares, dealer 8 B), fork_shares and join (FORKED -> usable in products; -> PENDING), lift (a bit's mask as
ring shares). Every step starts as soon as its operands are there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from mpcrt.plan.ops import PlanError
from mpcrt.plan.plan import Node, Plan
from mpcrt.plan.schedule import Held, Rep, Schedule, Step
from mpcrt.plan.sorting import sort_spec
from mpcrt.plan.types import Type
from mpcrt.ring.blocks import compare_spec, equal_spec

LAYOUT = {"reshape", "transpose", "broadcast", "slice", "pad", "concat", "take"}
LINEAR = LAYOUT | {"add", "neg", "sum", "shift", "scale", "xor"}
BILINEAR = {"mul", "dot", "conv"}
CHUNKED = {
    "expose", "expose_product", "mask_shares", "resolve", "fork_shares", "settle", "join", "lift", "select", "multiply",
    "and", "msb", "eqz", "samples", "disclose",
}  # fmt: skip


KEPT = 1 << 16
"""Elements of a constant value that a schedule keeps between runs."""


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
        self.linears: dict[int, tuple[Node, list[int], Type]] = {}  # how each linear PENDING value came to be
        self.constant: set[int] = set()  # values that no input changes
        self.node = 0
        self.loop_rounds = 0

    def run(self, coerce_outputs) -> Schedule:
        for number, node in enumerate(self.plan.nodes):
            self.node = number
            self.values.extend(self.lower(node))
        self.node = len(self.plan.nodes)
        outputs = tuple(coerce_outputs(i, self.values[v]) for i, v in enumerate(self.plan.outputs))
        self.steps = fused(self.steps, outputs)
        openings = max((s.start + s.rounds for s in self.steps), default=0)
        levels: list[list[Step]] = [[] for _ in range(openings + 1)]
        for step in self.steps:
            levels[step.start].append(step)
        return Schedule(
            self.plan, self.parties, tuple(self.steps), tuple(self.held), tuple(self.inputs), outputs,
            tuple(map(tuple, levels)), openings + self.loop_rounds, frozenset(self.constant),
        )  # fmt: skip

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
        """The one PENDING value that v is a linear function of, public values and wires apart; None where there is no
        one. Exposed once, it serves all its linear functions (a value compared with many thresholds)."""
        if v not in self.linears:
            return v
        if ("root", v) not in self.known:
            roots = {self.root(u) for u in self.linears[v][1] if self.held[u].rep is Rep.PENDING}
            self.known["root", v] = roots.pop() if len(roots) == 1 else None  # type: ignore[assignment]
        return self.known["root", v]

    def source(self, v: int) -> int:
        """The smallest PENDING value, v or one below, of which v is a linear function: the one to expose."""
        best = at = v
        while at in self.linears:
            pending = {u for u in self.linears[at][1] if self.held[u].rep is Rep.PENDING}
            if len(pending) != 1:
                break
            at = pending.pop()
            if self.held[at].type.size <= self.held[best].type.size:
                best = at
        root = self.root(at)
        if root is not None and self.held[root].type.size <= self.held[best].type.size:
            best = root
        return best

    def replayed(self, v: int, source: int) -> int:
        """The wire of a linear function of `source`, from that value's wire."""
        if v == source:
            return self.wire(v)
        if ("replayed", v, source) not in self.known:
            node, operands, type = self.linears[v]
            wires = [self.replayed(u, source) if self.held[u].rep is Rep.PENDING else u for u in operands]
            self.known["replayed", v, source] = self.linear(node, wires, type)
        return self.known["replayed", v, source]

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
            return self.lower_loop(node, operands)
        (type,) = node.results
        if all(self.held[v].rep is Rep.PUBLIC for v in operands):
            v = self.one("public", operands, type, Rep.PUBLIC, {"op": node.op, "node": node})
            if self.constant.issuperset(operands) and type.size <= KEPT:
                self.constant.add(v)
            return [v]
        rule = getattr(self, f"lower_{node.op}", None)
        if rule is not None:
            return [rule(node, operands, type)]
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
            self.linears[v] = node, operands, type
        return v

    def bilinear(self, node: Node, operands: list[int], type: Type) -> int:
        if any(self.held[v].rep is Rep.PUBLIC for v in operands):
            return self.linear(node, operands, type)
        if node.op == "mul":
            factors = [self.factor(v) for v in operands]
            if any(self.held[v].rep is Rep.FORKED for v in factors):
                return self.one("multiply", factors, type, Rep.PENDING, {"lead": None}, deferred=True)
        else:
            factors = [self.wire(v, shares=True) for v in operands]
        holders = [h.holder for h in (self.held[v] for v in factors) if h.holder]
        attrs = {"op": node.op, "node": node, "lead": holders[0] if holders else None}
        return self.one("product", factors, type, Rep.PENDING, attrs, deferred=True)

    lower_mul = lower_dot = lower_conv = bilinear

    def lower_truncate(self, node: Node, operands: list[int], type: Type) -> int:
        z = self.wire(operands[0])
        return self.one("fork", (z,), type, Rep.FORKED, {"bits": node.attrs["bits"]}, bits=node.attrs["bits"])

    def lower_msb(self, node: Node, operands: list[int], type: Type) -> int:
        v, drop, bits = operands[0], node.attrs["drop"], node.attrs["bits"]
        h = self.held[v]
        if h.rep is Rep.FORKED and ("expose", self.known.get(("join", v), -1)) not in self.known:
            # The sign of floor(z / 2^k) is read from z itself: |z| < 2^62 is the truncation's own precondition.
            v, drop = self.once("base", v, h.type, Rep.OPENED), drop + h.bits
            bits = min(bits, 63 - drop)
            if bits < 1:
                raise PlanError(f"msb above bit {drop} of what was truncated")
        spec = compare_spec(drop, bits - 1)
        return self.one("msb", (self.wire(v),), type, Rep.PENDING, {"spec": spec}, len(spec.levels), deferred=True)

    def lower_eqz(self, node: Node, operands: list[int], type: Type) -> int:
        spec = equal_spec(node.attrs["bits"])
        return self.one("eqz", (self.wire(operands[0]),), type, Rep.PENDING, {"spec": spec}, len(spec.levels))

    def lower_and(self, node: Node, operands: list[int], type: Type) -> int:
        if any(self.held[v].rep is Rep.PUBLIC for v in operands):
            return self.linear(node, operands, type)
        return self.one("and", [self.wire(v, shares=True) for v in operands], type, Rep.PENDING, deferred=True)

    def lower_select(self, node: Node, operands: list[int], type: Type) -> int:
        b, x = operands
        if self.held[b].rep is Rep.PUBLIC:
            return self.linear(node, operands, type)
        b = self.wire(b)
        beta = self.once("lift", b, type.with_(fraction=0), Rep.DEALT)
        x = x if self.held[x].rep is Rep.PUBLIC else self.factor(x)
        return self.one("select", (b, beta, x), type, Rep.PENDING)

    def lower_samples(self, node: Node, operands: list[int], type: Type) -> int:
        return self.one("samples", (self.wire(operands[0]),), type, Rep.PENDING, dict(node.attrs))

    def lower_onehot(self, node: Node, operands: list[int], type: Type) -> int:
        return self.one("onehot", (self.wire(operands[0]),), type, Rep.PENDING, dict(node.attrs))

    def lower_sort(self, node: Node, operands: list[int], type: Type) -> int:
        """The shuffle, then batch after batch; see protocols/ops/sorting.py."""
        n = type.shape[-1]
        if n < 2 or not type.size:
            return operands[0]
        spec = sort_spec(type.size // n, n)
        compare = {"spec": compare_spec(0, node.attrs["bits"] + spec.index_bits - 1)}
        keyed = Type((2, spec.rows, n))
        v = self.one("sort_keys", (self.wire(operands[0]),), keyed, Rep.OPENED)
        for party in range(self.parties):
            v = self.wire(self.one("permute", (v,), keyed, Rep.PENDING, {"party": party}, deferred=True))
        shares = self.pending(v, False)
        order = -1
        for batch, size in enumerate(spec.batches):
            pairs, attrs = Type((size,)), {"spec": spec}
            if batch:
                difference = self.wire(self.one("sort_pairs", (shares, order), pairs, Rep.PENDING))
            else:
                difference = self.one("sort_sample", (v,), pairs, Rep.OPENED, attrs)
            bits = Type((size,), "bit")
            rounds = len(compare["spec"].levels)
            sign = self.one("msb", (difference,), bits, Rep.PENDING, compare, rounds, deferred=True)
            told = self.one("disclose", (sign,), bits, Rep.LOCAL, rounds=1)
            rule, known = ("sort_refine", (order, told)) if batch else ("sort_start", (told,))
            order = self.one(rule, known, Type((spec.rows, n)), Rep.LOCAL, attrs)
        return self.one("sorted", (shares, order), type, Rep.PENDING)

    def lower_loop(self, node: Node, operands: list[int]) -> list[int]:
        """Constants and xs enter as wires or public values, carries as PENDING; carries and ys leave as PENDING."""
        fixed, carried = node.attrs["constants"], node.attrs["carries"]
        entering, given = [], []
        for i, v in enumerate(operands):
            body_type = node.attrs["body"].input_types[i]
            if self.held[v].rep is not Rep.PUBLIC or (fixed <= i < fixed + carried and not body_type.public):
                v = self.pending(v, True) if fixed <= i < fixed + carried else self.wire(v, shares=True)
            h = self.held[v]
            entering.append(v)
            is_carry = fixed <= i < fixed + carried and h.rep is Rep.PENDING
            given.append(Held(body_type, h.rep, is_carry or h.deferred, h.holder))
        body = Lowering(node.attrs["body"], self.parties, given, self.numbers)

        def leaving(i: int, v: int) -> int:
            public = body.held[v].rep is Rep.PUBLIC
            keep = given[fixed + i].rep is Rep.PUBLIC if i < carried else node.results[i].public
            if keep and not public:
                raise PlanError("a public loop carry became secret")
            return v if keep else body.pending(v, True)

        lowered = body.run(leaving)
        self.loop_rounds += node.attrs["trips"] * lowered.rounds
        results = []
        for i, t in enumerate(node.results):
            public = lowered.held[lowered.outputs[i]].rep is Rep.PUBLIC
            results.append(Held(t, Rep.PUBLIC if public else Rep.PENDING, not public))
        attrs = {"body": lowered, "trips": node.attrs["trips"], "constants": fixed, "carries": carried}
        return self.step("loop", entering, results, attrs)


FUSED = {("product", "expose"): "expose_product", ("fork_shares", "unfork"): "settle"}


def fused(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """Pairs of steps that go chunk by chunk in one, where nothing else uses what the first makes."""
    users = Counter(v for s in steps for v in s.operands) + Counter(outputs)
    made = {v: s for s in steps for v in s.results}
    replaced: dict[int, Step] = {}
    gone = set()
    for step in steps:
        first = made.get(step.operands[0]) if step.operands else None
        rule = FUSED.get((first.rule, step.rule)) if first is not None else None
        if first is None or rule is None or users[step.operands[0]] > 1 or first.attrs.get("op", "mul") != "mul":
            continue
        replaced[step.number] = replace(
            step, rule=rule, operands=first.operands, attrs=first.attrs, start=first.start, chunked=True
        )
        gone.add(first.number)
    return [replaced.get(s.number, s) for s in steps if s.number not in gone]


def lower(plan: Plan, parties: int) -> Schedule:
    if parties < 2:
        raise PlanError("a plan runs on two computing parties or more")
    lowering = Lowering(plan, parties)
    return lowering.run(lambda i, v: lowering.output(v))
