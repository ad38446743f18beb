"""How each op that is not linear is lowered: its step, and the representations that its operands must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mpcrt.plan.declare import PlanError
from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import CHUNK, Held, Rep
from mpcrt.plan.sorting import sort_spec
from mpcrt.plan.types import Type
from mpcrt.ring import samples as sampled
from mpcrt.ring.blocks import compare_spec, equal_spec

if TYPE_CHECKING:
    from mpcrt.plan.lowering import Lowering

Lower = Callable[["Lowering", Node, list[int], Type], int]
LOWERED: dict[str, Lower] = {}
CACHED = 3 << 19
"""Bytes of samples in a chunk: they are written once and read twice before the next."""


def lowered(*names: str):
    def register(function: Lower) -> Lower:
        LOWERED.update(dict.fromkeys(names, function))
        return function

    return register


@lowered("mul", "dot", "conv")
def bilinear(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    if any(low.held[v].rep is Rep.PUBLIC for v in operands):
        return low.linear(node, operands, type)
    if node.op == "mul":
        factors = [low.factor(v) for v in operands]
        if any(low.held[v].rep is Rep.FORKED for v in factors):
            return low.one("multiply", factors, type, Rep.PENDING, {"lead": None}, deferred=True)
    else:
        factors = [low.wire(v, shares=True) for v in operands]
    held = [i for i, v in enumerate(factors) if low.held[v].holder]
    lead = low.held[factors[held[0]]].holder if held else None
    owned = held[0] if len(held) == 1 and node.op != "mul" else None
    attrs = {"op": node.op, "node": node, "lead": lead, "owned": owned}
    return low.one("product", factors, type, Rep.PENDING, attrs, deferred=True)


@lowered("truncate")
def truncate(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    z = low.wire(operands[0])
    return low.one("fork", (z,), type, Rep.FORKED, {"bits": node.attrs["bits"]}, bits=node.attrs["bits"])


@lowered("msb")
def msb(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    v, drop, bits = operands[0], node.attrs["drop"], node.attrs["bits"]
    h = low.held[v]
    if h.rep is Rep.FORKED and ("expose", low.known.get(("join", v), -1)) not in low.known:
        # The sign of floor(z / 2^k) is read from z itself: |z| < 2^62 is the truncation's own precondition.
        v, drop = low.once("base", v, h.type, Rep.OPENED), drop + h.bits
        bits = min(bits, 63 - drop)
        if bits < 2:  # a truncation's coin may add one
            raise PlanError(f"msb above bit {drop} of what was truncated")
    spec = compare_spec(drop, bits - 1)
    return low.one("msb", (low.wire(v),), type, Rep.PENDING, {"spec": spec}, len(spec.levels), deferred=True)


@lowered("eqz")
def eqz(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    spec = equal_spec(node.attrs["bits"])
    return low.one("eqz", (low.wire(operands[0]),), type, Rep.PENDING, {"spec": spec}, len(spec.levels))


@lowered("and")
def and_(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    if any(low.held[v].rep is Rep.PUBLIC for v in operands):
        return low.linear(node, operands, type)
    return low.one("and", [low.wire(v, shares=True) for v in operands], type, Rep.PENDING, deferred=True)


@lowered("select")
def select(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    b, x = operands
    if low.held[b].rep is Rep.PUBLIC:
        return low.linear(node, operands, type)
    b = low.wire(b)
    beta = low.once("lift", b, type.with_(fraction=0), Rep.DEALT)
    x = x if low.held[x].rep is Rep.PUBLIC else low.factor(x)
    return low.one("select", (b, beta, x), type, Rep.PENDING)


@lowered("samples")
def samples(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    """In chunks whose samples, many words an element, stay in a core's cache from the kernel to the link."""
    a = node.attrs
    try:
        words = sampled.words(sampled.parse(a["function"], a["parameters"], a["fraction"]))
    except ValueError as error:
        raise PlanError(str(error)) from None
    chunk = CHUNK
    while chunk > 1 << 10 and 8 * words * chunk > CACHED:
        chunk >>= 1
    return low.one("samples", (low.wire(operands[0]),), type, Rep.PENDING, {**a, "chunk": chunk})


@lowered("onehot")
def onehot(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    return low.one("onehot", (low.wire(operands[0]),), type, Rep.PENDING, dict(node.attrs))


@lowered("sort")
def sort(low: Lowering, node: Node, operands: list[int], type: Type) -> int:
    """The shuffle, then batch after batch; see protocols/ops/sorting.py."""
    n = type.shape[-1]
    if n < 2 or not type.size:
        return operands[0]
    spec = sort_spec(type.size // n, n)
    compare = {"spec": compare_spec(0, node.attrs["bits"] + spec.index_bits - 1)}
    keyed = Type((2, spec.rows, n))
    v = low.one("sort_keys", (low.wire(operands[0]),), keyed, Rep.OPENED)
    for party in range(low.parties):
        v = low.wire(low.one("permute", (v,), keyed, Rep.PENDING, {"party": party}, deferred=True))
    shares = low.pending(v, False)
    order = -1
    for batch, size in enumerate(spec.batches):
        pairs, attrs = Type((size,)), {"spec": spec}
        if batch:
            difference = low.wire(low.one("sort_pairs", (shares, order), pairs, Rep.PENDING))
        else:
            difference = low.one("sort_sample", (v,), pairs, Rep.OPENED, attrs)
        bits = Type((size,), "bit")
        rounds = len(compare["spec"].levels)
        sign = low.one("msb", (difference,), bits, Rep.PENDING, compare, rounds, deferred=True)
        told = low.one("disclose", (sign,), bits, Rep.LOCAL, rounds=1)
        rule, known = ("sort_refine", (order, told)) if batch else ("sort_start", (told,))
        order = low.one(rule, known, Type((spec.rows, n)), Rep.LOCAL, attrs)
    return low.one("sorted", (shares, order), type, Rep.PENDING)


def loop(low: Lowering, node: Node, operands: list[int]) -> list[int]:
    """Constants and xs enter as wires or public values, carries as PENDING; carries and ys leave as PENDING."""
    fixed, carried = node.attrs["constants"], node.attrs["carries"]
    entering, given = [], []
    for i, v in enumerate(operands):
        body_type = node.attrs["body"].input_types[i]
        if low.held[v].rep is not Rep.PUBLIC or (fixed <= i < fixed + carried and not body_type.public):
            v = low.pending(v, True) if fixed <= i < fixed + carried else low.wire(v, shares=True)
        h = low.held[v]
        entering.append(v)
        is_carry = fixed <= i < fixed + carried and h.rep is Rep.PENDING
        given.append(Held(body_type, h.rep, is_carry or h.deferred, h.holder))
    body = low.inner(node.attrs["body"], given)

    def leaving(i: int, v: int) -> int:
        public = body.held[v].rep is Rep.PUBLIC
        keep = given[fixed + i].rep is Rep.PUBLIC if i < carried else node.results[i].public
        if keep and not public:
            raise PlanError("a public loop carry became secret")
        return v if keep else body.pending(v, True)

    inner = body.run(leaving)
    results = []
    for i, t in enumerate(node.results):
        public = inner.held[inner.outputs[i]].rep is Rep.PUBLIC
        results.append(Held(t, Rep.PUBLIC if public else Rep.PENDING, not public))
    attrs = {"body": inner, "trips": node.attrs["trips"], "constants": fixed, "carries": carried}
    return low.step("loop", entering, results, attrs)
