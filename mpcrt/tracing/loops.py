"""scan, fori_loop and while with trips that are known: unrolled where short, else one `loop` op.

What does not change from trip to trip moves out of the loop by itself (`Var.depth`). What constants and counters decide
is run ahead, and enters as one value a trip (`Var.stacked`); so does what is a function of one owner's xs (`Var.rows`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import lax

from mpcrt.errors import TraceError
from mpcrt.plan import Builder, Plan, Value
from mpcrt.plan.types import SECRET
from mpcrt.tracing import jaxprs
from mpcrt.tracing.ahead import Loop, run_ahead
from mpcrt.tracing.graph import Eqn, Graph, Var, constant
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import NeedsUnrolling, unsupported

UNROLL_EQNS = 256
UNROLL_MOST = 50_000


@dataclass(slots=True)
class Body:
    """A loop's body as its own graph. `fixed[i]`: carry i's values by trip and at the end, where run ahead."""

    loop: Loop
    graph: Graph
    carry: list[Var]
    results: list[Var]
    ys: list[Var]
    fixed: dict[int, np.ndarray]


def add(graph: Graph, name: str, params: dict, inputs: list[Var], avals: list, line: str) -> list[Var]:
    """The loop's results in graph; TraceError where its trips are not known."""
    loop = scan(params, inputs, avals, line) if name == "scan" else while_(params, inputs, line)
    try:
        ahead = run_ahead(graph, loop)
    except NeedsUnrolling:
        if loop.trips is None:
            raise
        return unroll(graph, loop)
    if loop.trips is None:
        if ahead.trips is None:
            raise unsupported(
                "while", line, "with a condition that is not decided by constants",
                "loop a constant number of times (lax.fori_loop, lax.scan) and keep what is done with jnp.where",
            )  # fmt: skip
        loop = loop.with_trips(ahead.trips)
    trips = loop.trips or 0
    if trips <= 1 or trips * size_of(loop.body) <= UNROLL_EQNS:
        return unroll(graph, loop)
    try:
        return rolled(graph, loop, ahead.fixed)
    except NeedsUnrolling:
        return unroll(graph, loop)


def scan(params: dict, inputs: list[Var], avals: list, line: str) -> Loop:
    """The split of a scan's operands is read off the shapes: xs and ys have one axis more outside."""
    body, _ = jaxprs.closed(params["jaxpr"])
    inner = [jaxprs.aval(v)[0] for v in body.invars]
    xs = sum(1 for v, shape in zip(inputs, inner, strict=True) if len(v.shape) == len(shape) + 1)
    outer = len(inputs) - xs
    outs = [jaxprs.aval(v)[0] for v in body.outvars]
    carries = sum(1 for (shape, _), own in zip(avals, outs, strict=True) if len(shape) == len(own))
    consts, carry, rows = inputs[: outer - carries], inputs[outer - carries : outer], inputs[outer:]
    return Loop(
        params["jaxpr"], tuple(consts), tuple(carry), tuple(rows), int(params["length"]), bool(params["reverse"]), line
    )


def while_(params: dict, inputs: list[Var], line: str) -> Loop:
    a, b = params["cond_nconsts"], params["body_nconsts"]
    return Loop(
        params["body_jaxpr"], tuple(inputs[a : a + b]), tuple(inputs[a + b :]), (), None, False, line,
        params["cond_jaxpr"], tuple(inputs[:a]),
    )  # fmt: skip


def size_of(jaxpr: Any) -> int:
    """Equations in a jaxpr, those inside calls and loops included."""
    body, _ = jaxprs.closed(jaxpr)
    count = 0
    for eqn in body.eqns:
        trips = int(eqn.params.get("length", 1)) if eqn.primitive.name == "scan" else 1
        count += 1 + sum(map(size_of, jaxprs.nested(eqn.params))) * trips
    return count


# -- unrolled


def unroll(graph: Graph, loop: Loop) -> list[Var]:
    if (loop.trips or 0) * size_of(loop.body) > UNROLL_MOST:
        raise TraceError(f"{loop.line}: a loop of {loop.trips} trips that must be unrolled; make its trips alike")
    body, _ = jaxprs.closed(loop.body)
    carry, ys = list(loop.carry), []
    for t in loop.order:
        rows = [row(graph, x, t, loop.line) for x in loop.xs]
        results = graph.inline(loop.body, [], [*loop.consts, *carry, *rows], near=loop.line)
        carry = results[: len(carry)]
        ys.append(results[len(carry) :])
    if loop.reverse:
        ys.reverse()
    if not ys:
        empty = [jaxprs.aval(v) for v in body.outvars[len(carry) :]]
        return [*carry, *(constant(np.zeros((0, *shape), dtype)) for shape, dtype in empty)]
    return [*carry, *(stack(graph, list(column), loop.line) for column in zip(*ys, strict=True))]


def row(graph: Graph, x: Var, t: int, line: str) -> Var:
    start, limit = (t,) + (0,) * (len(x.shape) - 1), (t + 1, *x.shape[1:])
    params = {"start_indices": start, "limit_indices": limit, "strides": None}
    (piece,) = graph.apply(
        "slice", [x], [((1, *x.shape[1:]), x.dtype)], params, line, lambda v: [lax.slice(v, start, limit)]
    )  # fmt: skip
    return reshape(graph, piece, x.shape[1:], line)


def reshape(graph: Graph, x: Var, shape: tuple[int, ...], line: str) -> Var:
    params = {"new_sizes": shape}
    return graph.apply("reshape", [x], [(shape, x.dtype)], params, line, lambda v: [lax.reshape(v, shape)])[0]


def stack(graph: Graph, column: list[Var], line: str) -> Var:
    column = [reshape(graph, v, (1, *v.shape), line) for v in column]
    shape = (len(column), *column[0].shape[1:])
    params = {"dimension": 0}
    return graph.apply(
        "concatenate", column, [(shape, column[0].dtype)], params, line, lambda *v: [lax.concatenate(v, 0)]
    )[0]


# -- kept as a loop


def rolled(graph: Graph, loop: Loop, fixed: dict[int, np.ndarray]) -> list[Var]:
    """One equation `loop`, whose inputs are what its body takes from outside."""
    trips = loop.trips or 0
    inner = Graph(graph.parties, graph.closures, trips=trips, depth=graph.depth + 1, parent=graph)
    carry = []
    for i, v in enumerate(loop.carry):
        if i in fixed:
            carry.append(Var(v.shape, v.dtype, known=fixed[i][:-1], stacked=True, depth=inner.depth))
        else:
            carry.append(Var(v.shape, v.dtype, SECRET, depth=inner.depth))
    xs = [entering(v, inner.depth, loop.reverse) for v in loop.xs]
    results = inner.inline(loop.body, [], [*loop.consts, *carry, *xs], near=loop.line)
    n = len(carry)
    body = Body(loop, inner, carry, results[:n], results[n:], fixed)
    outside = [v for e in inner.eqns for v in e.inputs] + results
    taken = dict.fromkeys(v for u in outside for v in (u, u.rows) if v is not None and v.depth <= graph.depth)
    inputs = tuple(dict.fromkeys((*loop.carry, *loop.xs, *taken)))
    outputs = tuple(Var(v.shape, v.dtype, SECRET, depth=graph.depth) for v in loop.carry)
    ys = tuple(Var((trips, *v.shape), v.dtype, SECRET, depth=graph.depth) for v in body.ys)
    eqn = Eqn("loop", inputs, (*outputs, *ys), {"body": body}, loop.line, no_plaintext)
    graph.eqns.append(eqn)
    for v in eqn.inputs:
        v.users.append(eqn)
    for v in eqn.outputs:
        v.made = eqn
    for i, values in fixed.items():
        outputs[i].known = values[-1]
    for out, y in zip(ys, body.ys, strict=True):
        if y.known is not None:
            values = y.known if y.stacked else np.broadcast_to(y.known, out.shape)
            out.known = values[::-1] if y.stacked and loop.reverse else values
    return [*outputs, *ys]


def entering(x: Var, depth: int, reverse: bool) -> Var:
    """The row of xs that a trip sees."""
    if x.constant:
        rows = x.known[::-1] if reverse else x.known  # type: ignore[index]
        return Var(x.shape[1:], x.dtype, known=rows, stacked=True, depth=depth)
    return Var(x.shape[1:], x.dtype, x.visibility, depth=depth, rows=x, flipped=reverse, leaves=x.leaves)


def no_plaintext(*_: Any) -> list:
    raise TraceError("internal: a secret loop has no plaintext form")


def lower(low: Lowering, e: Eqn) -> list[Value | None]:
    """The loop op; or, where the body needs to know which trip it is in, its unrolled form."""
    body: Body = e.params["body"]
    try:
        return lower_loop(low, e, body)
    except NeedsUnrolling:
        outputs = low.inserted(lambda graph: unroll(graph, body.loop))
        return [None if v.known is not None else low.value(o) for v, o in zip(e.outputs, outputs, strict=True)]


def lower_loop(low: Lowering, e: Eqn, body: Body) -> list[Value | None]:
    loop, trips = body.loop, body.loop.trips or 0
    inner = Lowering(Builder(low.fraction), body.graph, parent=low)
    moving = [i for i in range(len(body.carry)) if i not in body.fixed]
    carried = [inner.carry(body.carry[i]) for i in moving]
    stacks = e.outputs[len(body.carry) :]
    inner.run([body.results[i] for i in moving] + [y for y, v in zip(body.ys, stacks, strict=True) if low.wants(v)])
    given = [i for i, v in enumerate(stacks) if v.known is None and low.wants(v)]
    outs = [inner.settled(body.results[i], body.carry[i].dtype) for i in moving]
    ys = [inner.b.truncate(inner.value(body.ys[i])) for i in given]
    constants = [v for v, _ in inner.taken.values()]
    rows = [v for v, _ in inner.rows.values()] + [v for _, v in inner.stacked]
    plan = reordered(inner.b, [*constants, *carried, *rows], [*outs, *ys])
    operands = [v for _, v in inner.taken.values()]
    inits = [low.settled(loop.carry[i], body.carry[i].dtype) for i in moving]
    entering_rows = [v for _, v in inner.rows.values()]
    entering_rows += [stacked_constant(low.b, array, value) for array, value in inner.stacked]
    results = low.b.loop(plan, trips, operands, inits, entering_rows)
    values: list[Value | None] = [None] * len(e.outputs)
    for i, v in zip(moving, results, strict=False):
        values[i] = v
    for i, v in zip(given, results[len(moving) :], strict=True):
        values[len(body.carry) + i] = flipped(low.b, v) if loop.reverse else v
    return values


def stacked_constant(b: Builder, array: np.ndarray, value: Value) -> Value:
    return b.bit_constant(array) if value.type.kind == "bit" else b.ring_constant(array, value.fraction)


def flipped(b: Builder, x: Value) -> Value:
    at = np.arange(int(np.prod(x.shape))).reshape(x.shape)
    return b.take(x, at[::-1])


def reordered(b: Builder, inputs: list[Value], outputs: list[Value]) -> Plan:
    """The plan of a builder with its inputs first, in this order."""
    plan = b.finish(*inputs, *outputs)
    numbers = dict(zip((v.number for v in inputs), plan.outputs, strict=False))
    made = {node.first: node for node in plan.nodes}
    again = Builder(b.fraction)
    env = {numbers[v.number]: again.emit("input", **made[numbers[v.number]].attrs)[0] for v in inputs}
    for i, node in enumerate(plan.nodes):
        if node.op == "input":
            continue
        again.line = plan.lines[i]
        for j, value in enumerate(again.emit(node.op, *(env[v] for v in node.operands), **node.attrs)):
            env[node.first + j] = value
    return again.finish(*(env[v] for v in plan.outputs[len(inputs) :]))
