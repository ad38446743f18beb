"""Hoisted calls: what one owner computes in plaintext JAX, grouped by the arguments it depends on."""

from typing import Any

import jax
import numpy as np

from mpcrt.tracing.graph import Eqn, Graph, Var, party_of
from mpcrt.tracing.keys import Key, node, of_library
from mpcrt.tracing.types import Hoisted, HoistedCall, Leaf, Unprepared

COMPILED = 500
"""Equations that are compiled as one; of more several functions are made, since XLA's time grows faster than their
number. One by one they would be compiled for each shape, which may be another for each."""


def calls(frontier: list[Var], graph: Graph) -> tuple[tuple[Leaf | Hoisted, ...], tuple[HoistedCall, ...]]:
    """Where every frontier value comes from, and the calls that make those that are no plain argument. One call for
    each owner and set of arguments, so that what depends on a model alone is computed (and shared) once."""
    groups: dict[tuple[str, tuple[int, ...]], list[Var]] = {}
    sources: list[Leaf | Hoisted] = []
    for var in frontier:
        if var.leaf is not None:
            sources.append(Leaf(var.leaf))
            continue
        key = (var.visibility, tuple(sorted(var.leaves)))
        members = groups.setdefault(key, [])
        members.append(var)
        sources.append(Hoisted(list(groups).index(key), len(members) - 1))
    made = [call(visibility, leaves, results, graph) for (visibility, leaves), results in groups.items()]
    return tuple(sources), tuple(made)


def call(visibility: str, leaves: tuple[int, ...], results: list[Var], graph: Graph) -> HoistedCall:
    eqns = graph.live(results)
    avals = tuple((v.shape, np.dtype(v.dtype)) for v in results)
    function = plaintext(eqns, leaves, results)
    party = party_of(visibility, graph.parties)
    return HoistedCall(party, visibility, leaves, function, avals, *key_of(eqns, leaves, results))


def plaintext(eqns: list[Eqn], leaves: tuple[int, ...], results: list[Var]):
    """The compiled function of concrete leaf values, in pieces that XLA compiles in seconds."""
    needed, pieces = set(results), []
    for start in reversed(range(0, len(eqns), COMPILED)):
        piece = eqns[start : start + COMPILED]
        made = dict.fromkeys(v for eqn in piece for v in eqn.outputs)
        used = dict.fromkeys(v for eqn in piece for v in eqn.inputs if v.known is None and v not in made)
        pieces.append(compiled(piece, list(used), [v for v in made if v in needed]))
        needed.update(used)
    pieces.reverse()

    def compute(*values):
        env: dict = {"leaves": dict(zip(leaves, values, strict=True))}
        for function, takes, gives in pieces:
            env.update(zip(gives, function(*[read(env, v) for v in takes]), strict=True))
        return [read(env, v) for v in results]

    def prepare(*values: Any) -> list[np.ndarray]:
        try:
            return [np.asarray(v) for v in compute(*values)]
        except Exception as error:
            raise located(eqns, dict(zip(leaves, values, strict=True)), error) from None

    return prepare


def compiled(eqns: list[Eqn], takes: list[Var], gives: list[Var]):
    """(the compiled function of what the equations take that gives what is needed of them, its inputs, its outputs)."""

    @jax.jit
    def function(*values):
        env: dict = {"leaves": {v.leaf: x for v, x in zip(takes, values, strict=True) if v.leaf is not None}}
        env.update(zip(takes, values, strict=True))
        run(eqns, env)
        return [env[v] for v in gives]

    return function, takes, gives


def located(eqns: list[Eqn], leaves: dict[int, Any], error: Exception) -> Unprepared:
    """Where a computation failed: of a compiled one nothing says so, so it is done again one equation at a time."""
    env: dict = {"leaves": leaves}
    for eqn in eqns:
        try:
            results = eqn.run(*(read(env, v) for v in eqn.inputs))
            jax.block_until_ready(results)
        except Exception as found:
            return Unprepared(eqn.line, found)
        env.update(zip(eqn.outputs, results, strict=True))
    return Unprepared("", error)


def run(eqns: list[Eqn], env: dict) -> None:
    for eqn in eqns:
        for var, value in zip(eqn.outputs, eqn.run(*(read(env, v) for v in eqn.inputs)), strict=True):
            env[var] = value


def read(env: dict, var: Var) -> Any:
    if var.known is not None:
        return jax.numpy.asarray(var.known, var.dtype)
    return env["leaves"][var.leaf] if var.leaf is not None else env[var]


def key_of(eqns: list[Eqn], leaves: tuple[int, ...], results: list[Var]) -> tuple[str, bool, tuple]:
    """(a hash of what is computed: primitives, parameters, constants and order; whether that is all there is to it; the
    user's objects that it has by name alone)."""
    key = Key()
    numbers: dict[Var, int] = {}

    def use(var: Var) -> bytes:
        if var.known is not None:
            return key.array(np.asarray(var.known, var.dtype))
        if var.leaf is not None:
            return node("leaf", [key.of(leaves.index(var.leaf)), key.of(var.shape), key.dtype(var.dtype)])
        return node("use", [key.of(numbers[var])])

    parts = []
    for eqn in eqns:
        parts.append(node("eqn", [key.primitive(eqn.name, eqn.params), *map(use, eqn.inputs)]))
        for var in eqn.outputs:
            numbers[var] = len(numbers)
    made = node("computes", [*parts, *map(use, results)])
    return made.hex(), not key.held, tuple(v for v in key.held if not of_library(v))
