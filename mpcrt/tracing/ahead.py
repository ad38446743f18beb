"""What constants decide of a loop, run ahead of it: the values of its counters by trip, and a while loop's trips."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpcrt.errors import TraceError
from mpcrt.plan.types import SECRET
from mpcrt.tracing import fold
from mpcrt.tracing.graph import Eqn, Graph, Var
from mpcrt.tracing.registry import unsupported

MOST_TRIPS = 1 << 20


@dataclass(frozen=True, slots=True)
class Loop:
    """body(consts, carry, a row of xs) -> (carry, a row of ys); `condition` is a while loop's."""

    body: Any
    consts: tuple[Var, ...]
    carry: tuple[Var, ...]
    xs: tuple[Var, ...]
    trips: int | None
    reverse: bool
    line: str
    condition: Any = None
    condition_consts: tuple[Var, ...] = ()

    @property
    def order(self) -> range:
        trips = self.trips or 0
        return range(trips - 1, -1, -1) if self.reverse else range(trips)

    def with_trips(self, trips: int) -> "Loop":
        return Loop(self.body, self.consts, self.carry, self.xs, trips, False, self.line)


@dataclass(slots=True)
class Ahead:
    trips: int | None
    fixed: dict[int, np.ndarray]


def run_ahead(graph: Graph, loop: Loop) -> Ahead:
    """The carries that constants alone decide, simulated; with them, the trips of a while loop."""
    fixed = {i for i, v in enumerate(loop.carry) if v.constant}
    while True:
        scratch = Graph(graph.parties, graph.closures, trips=1, depth=graph.depth + 1, parent=None)
        carry = [probe(v, i in fixed, scratch.depth) for i, v in enumerate(loop.carry)]
        xs = [probe_row(v, scratch.depth) for v in loop.xs]
        results = scratch.inline(loop.body, [], [*loop.consts, *carry, *xs], near=loop.line)
        lost = {i for i in fixed if results[i].known is None}
        if not lost:
            break
        fixed -= lost
    if not fixed and loop.condition is None:
        return Ahead(loop.trips, {})
    test = None
    if loop.condition is not None:
        (test,) = scratch.inline(loop.condition, [], [*loop.condition_consts, *carry], near=loop.line)
        if test.known is None:
            return Ahead(None, {})
    return simulate(loop, fixed, carry, xs, results, test)


def probe(var: Var, fixed: bool, depth: int) -> Var:
    if fixed:
        assert var.known is not None
        return Var(var.shape, var.dtype, known=var.known[None], stacked=True, depth=depth)
    return Var(var.shape, var.dtype, SECRET, depth=depth)


def probe_row(var: Var, depth: int) -> Var:
    if var.constant and var.shape[0]:
        return Var(var.shape[1:], var.dtype, known=var.known[:1], stacked=True, depth=depth)  # type: ignore[index]
    return Var(var.shape[1:], var.dtype, SECRET, depth=depth)


def simulate(
    loop: Loop, fixed: set[int], carry: list[Var], xs: list[Var], results: list[Var], test: Var | None
) -> Ahead:
    """Runs the folded equations trip by trip."""
    wanted = [results[i] for i in sorted(fixed)]
    program, condition = folded(wanted), folded([test]) if test is not None else []
    state = {carry[i]: np.asarray(loop.carry[i].known) for i in fixed}
    rows: dict[int, list[np.ndarray]] = {i: [] for i in fixed}
    trips = 0
    order = list(loop.order)
    while True:
        env = dict(state)
        if test is not None and not bool(evaluate(condition, env, test)):
            break
        if test is None and trips == loop.trips:
            break
        if trips >= MOST_TRIPS:
            raise TraceError(f"{loop.line}: a loop of more than {MOST_TRIPS} trips")
        if test is None:
            env.update(
                {x: np.asarray(outer.known)[order[trips]] for x, outer in zip(xs, loop.xs, strict=True) if x.stacked}
            )
        for i in fixed:
            rows[i].append(state[carry[i]])
        for eqn in program:
            apply(eqn, env)
        state = {carry[i]: lookup(env, results[i]) for i in fixed}
        trips += 1
    shaped = {i: np.stack([*rows[i], state[carry[i]]]) for i in fixed}
    return Ahead(trips, shaped)


def folded(outputs: list[Var]) -> list[Eqn]:
    """The equations behind known values that differ by trip, in order."""
    done: dict[Eqn, None] = {}
    waiting = [v.made for v in reversed(outputs) if v.stacked and v.made is not None]
    while waiting:
        eqn = waiting[-1]
        missing = [v.made for v in eqn.inputs if v.stacked and v.made is not None and v.made not in done]
        if missing:
            waiting += reversed(missing)
            continue
        done[waiting.pop()] = None
    return list(done)


def lookup(env: dict[Var, np.ndarray], var: Var) -> np.ndarray:
    return env[var] if var.stacked else np.asarray(var.known)


def apply(eqn: Eqn, env: dict[Var, np.ndarray]) -> None:
    results = fold.fold(eqn, [lookup(env, v) for v in eqn.inputs])
    if results is None:
        raise unsupported(eqn.name, eqn.line, "of a loop counter", "compute the sequence outside and pass it as xs")
    env.update(zip(eqn.outputs, results, strict=True))


def evaluate(program: list[Eqn], env: dict[Var, np.ndarray], var: Var) -> np.ndarray:
    for eqn in program:
        apply(eqn, env)
    return lookup(env, var)
