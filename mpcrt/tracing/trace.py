"""trace: a JAX function to a plan, its inputs' sources, and what owners compute beforehand."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mpcrt.errors import InputError, TraceError
from mpcrt.plan import Builder, Value
from mpcrt.plan.types import PUBLIC, SECRET
from mpcrt.tracing import cures, hoist, jaxprs, rules  # noqa: F401  (rules register themselves)
from mpcrt.tracing.graph import Closures, Graph, Var
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.types import Abstract, Public, Traced, is_public


def trace(
    function: Callable,
    args: Any,
    *,
    fraction: int = 18,
    parties: tuple[str, ...],
    static_argnums: Sequence[int] = (),
    mode: str = "owned",
) -> Traced:
    """The plan of `function(*args)` under plain JAX's semantics.

    `args`: a sequence of pytrees whose leaves are `Abstract`, `Public(array)`, or concrete arrays and scalars that
    every party has (constants). Arguments in `static_argnums` go to the function as they are. `mode="secret"` makes
    every abstract leaf secret. Raises TraceError for what has no plan, naming primitive and line; InputError for a leaf
    that JAX would cut.
    """
    static = {i % max(len(args), 1): args[i] for i in static_argnums}
    given = [a for i, a in enumerate(args) if i not in static]
    leaves, tree = jax.tree_util.tree_flatten(given, is_leaf=lambda x: isinstance(x, (Abstract, Public)))
    known = [np.asarray(x) for x in leaves if not isinstance(x, (Abstract, Public))]
    leaves = [x.value if isinstance(x, Public) else x for x in leaves]

    def flat(*values):
        rest = iter(jax.tree_util.tree_unflatten(tree, values))
        return function(*(static[i] if i in static else next(rest) for i in range(len(args))))

    try:
        jaxpr, shapes = jaxprs.make_jaxpr(flat, *[shape_of(x, i) for i, x in enumerate(leaves)])
    except Exception as error:
        cure = cures.cured(error, function)
        if cure is None:
            raise
        raise cure from error
    here = cures.defined(function)
    body, consts = jaxprs.closed(jaxprs.owned(jaxpr, copier()))
    closures = Closures(frozenset(map(id, leaves)), sum(a.nbytes for a in known if not is_public(a)))
    graph = Graph(tuple(parties), closures)
    params, wires = parameters(body, leaves, mode)
    outputs = graph.inline(body, [graph.closure(c, here) for c in consts], params, near=here)
    low = Lowering(Builder(fraction), graph, wires)
    low.run(outputs)
    results = [result(low, v, here) for v in outputs]
    plan = low.b.finish(*results)
    out_leaves, out_tree = jax.tree_util.tree_flatten(shapes)
    avals = tuple((tuple(s.shape), np.dtype(s.dtype)) for s in out_leaves)
    inputs, hoisted = hoist.calls([v for v, _ in low.frontier], graph)
    return Traced(plan, inputs, hoisted, out_tree, avals, tuple(dict.fromkeys(low.warnings)))


def copier() -> Callable[[Any], Any]:
    """Copies constants, each once: JAX's refer to NumPy's memory, which the user may change once the function is
    traced. Not those marked as public, which may be large."""
    copies: dict[int, tuple[Any, Any]] = {}

    def own(value: Any) -> Any:
        if isinstance(value, jax.Array) or is_public(value):
            return value
        if id(value) not in copies:
            copies[id(value)] = value, jax.numpy.array(np.asarray(value))
        return copies[id(value)][1]

    return own


def shape_of(leaf: Any, index: int) -> Any:
    """What JAX traces a leaf as; a constant keeps its weak type."""
    if not isinstance(leaf, Abstract):
        return leaf
    dtype = np.dtype(leaf.dtype)
    kept = jax.dtypes.canonicalize_dtype(dtype)
    if dtype.kind in "iu" and kept != dtype:
        raise InputError(f"argument leaf {index}: {dtype} would be cut to {kept}; convert it, or set jax_enable_x64")
    return jax.ShapeDtypeStruct(tuple(leaf.shape), kept)


def parameters(body: Any, leaves: list, mode: str) -> tuple[list[Var], dict[Var, str]]:
    params, wires = [], {}
    for i, (var, leaf) in enumerate(zip(body.invars, leaves, strict=True)):
        shape, dtype = jaxprs.aval(var)
        if not isinstance(leaf, Abstract):
            params.append(Var(shape, dtype, known=np.asarray(leaf, dtype)))
            continue
        visibility = SECRET if mode == "secret" else leaf.visibility
        params.append(Var(shape, dtype, visibility, leaf=i, leaves=frozenset({i})))
        if leaf.wire and (leaf.wire == "public") == (visibility == PUBLIC):
            wires[params[-1]] = leaf.wire
    return params, wires


def result(low: Lowering, var: Var, here: str) -> Value:
    """An output: floats with exactly the plan's fraction bits. `here`: where the function is."""
    line = (var.made.line if var.made else "") or here
    if not isinstance(var.dtype, np.dtype):
        raise TraceError(f"{line}: an output is a random key; return jax.random.key_data of it, or draw from it here")
    try:
        return low.settled(var, var.dtype)
    except InputError as error:
        raise TraceError(f"{line}: an output: {error}") from error
