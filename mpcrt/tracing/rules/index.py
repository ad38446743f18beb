"""Gather, scatter and dynamic slices. At constant indices they are layout; at others, products with one-hot rows."""

import jax
import numpy as np

from mpcrt.plan import Builder, Value
from mpcrt.plan.types import SECRET
from mpcrt.tracing import indexing
from mpcrt.tracing.graph import Eqn, Graph, Var
from mpcrt.tracing.loops import reshape
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import NeedsUnrolling, rule

MOST_ROTATED = 4096  # entries of the one-hot of a secret index
GATHER = (
    "take one axis of a flat array, x.ravel()[i * n + j]; or sum with a one-hot, (x * jax.nn.one_hot(i, n)).sum(-1)"
)
SCATTER = "add with x + jax.nn.one_hot(i, n).T @ y; set one row with jnp.where(jnp.arange(n)[:, None] == i, y, x)"


def positions(low: Lowering, e: Eqn, indices: tuple[Var, ...], compute) -> list[np.ndarray]:
    """compute(*indices) for the constant indices, once, or once a trip where they differ by trip."""
    for var in indices:
        if var.known is None:
            which = "a secret index" if var.visibility == SECRET else "an index that is not a constant"
            raise low.fail(e, f"with {which}", GATHER if e.name in ("gather", "dynamic_slice") else SCATTER)
    if not any(v.stacked for v in indices):
        return [compute(*(v.known for v in indices))]
    trips = low.graph.trips or 0
    return [compute(*(v.at(t) for v in indices)) for t in range(trips)]


def take(low: Lowering, x: Value, at: list[np.ndarray]) -> Value:
    """x.ravel()[at], zero where negative; with several, those of the loop's trips."""
    if len(at) == 1:
        return low.b.take(x, at[0])
    rows = np.stack(at)
    return low.b.take(x, low.encoded(Var(rows.shape[1:], rows.dtype, known=rows, stacked=True), Builder.integer))


def rows(low: Lowering, e: Eqn, x: Value, axis: int, index: Var) -> Value:
    """x's entries along `axis` at an index that is not constant, [*index.shape, *the rest of x]: a product with its
    one-hot rows, made by the index's owner, or from its mask's where the index is secret."""
    n = x.shape[axis]
    rest = [i for i in range(len(x.shape)) if i != axis]
    if index.visibility == SECRET:
        if n > MOST_ROTATED:
            raise low.fail(
                e,
                f"with a secret index into {n} entries",
                "pass jax.nn.one_hot(i, n), made in a party function, and multiply by it",
            )
        hot = low.b.one("onehot", low.value(index), depth=n)
    else:
        hot = low.value(low.inserted(lambda graph: [one_hot(graph, index, n, e.line)])[0])
    b, count = low.b, index.size
    table = b.reshape(b.transpose(x, (axis, *rest)), (1, n, x.type.size // n))
    product = b.dot(b.reshape(hot, (1, count, n)), table, picks=n > 0)
    return b.reshape(product, (*index.shape, *(x.shape[i] for i in rest)))


def one_hot(graph: Graph, index: Var, n: int, line: str) -> Var:
    """In plaintext, by the owner of the index: integers, so that the product needs no truncation."""
    avals = [((*index.shape, n), np.dtype(np.int32))]
    return graph.apply("one_hot", [index], avals, {"n": n}, line, lambda i: [jax.nn.one_hot(i, n, dtype=np.int32)])[0]


@rule("dynamic_slice")
def dynamic_slice(low: Lowering, e: Eqn) -> Value:
    x, *starts = e.inputs
    sizes = e.params["slice_sizes"]
    moving = [i for i, v in enumerate(starts) if v.known is None]
    if len(moving) == 1 and sizes[moving[0]] == 1 and not any(v.stacked for v in starts):
        (axis,) = moving
        known = [np.int64(0) if i == axis else v.at(0) for i, v in enumerate(starts)]
        wide = tuple(x.shape[i] if i == axis else n for i, n in enumerate(sizes))
        begin = indexing.clamped(known, x.shape, wide)
        table = low.b.slice(low.value(x), begin, [s + n for s, n in zip(begin, wide, strict=True)])
        return low.b.reshape(rows(low, e, table, axis, starts[axis]), e.outputs[0].shape)
    value = low.value(x)

    def at(*numbers) -> np.ndarray:
        begin = indexing.clamped(numbers, x.shape, sizes)
        return indexing.flat(x.shape)[tuple(slice(s, s + n) for s, n in zip(begin, sizes, strict=True))]

    if all(v.constant for v in starts):
        begin = indexing.clamped([v.known for v in starts], x.shape, sizes)
        return low.b.slice(value, begin, [s + n for s, n in zip(begin, sizes, strict=True)])
    return take(low, value, positions(low, e, tuple(starts), at))


def overwrite(low: Lowering, x: Value, update: Value, sources: list[np.ndarray]) -> Value:
    """x with element i replaced by update.ravel()[sources[i]] where that is not negative."""
    b, size = low.b, int(np.prod(x.shape, dtype=np.int64))
    both = b.concat([b.reshape(x, (size,)), b.reshape(update, (int(np.prod(update.shape, dtype=np.int64)),))], 0)
    return take(low, both, [np.where(s < 0, indexing.flat(x.shape), s.reshape(x.shape) + size) for s in sources])


@rule("dynamic_update_slice")
def dynamic_update_slice(low: Lowering, e: Eqn) -> Value:
    x, update, *starts = e.inputs

    def sources(*numbers) -> np.ndarray:
        begin = indexing.clamped(numbers, x.shape, update.shape)
        at = np.full(x.shape, -1, np.int64)
        at[tuple(slice(s, s + n) for s, n in zip(begin, update.shape, strict=True))] = indexing.flat(update.shape)
        return at

    if update.size == 0:
        return low.value(x)
    return overwrite(low, low.value(x), low.value(update), positions(low, e, tuple(starts), sources))


@rule("gather")
def gather(low: Lowering, e: Eqn) -> Value:
    x, indices = e.inputs
    if indices.known is None:
        return gather_rows(low, e, x, indices)
    at = positions(low, e, (indices,), lambda i: indexing.gather(x.shape, i, e.params))
    filled = e.params.get("fill_value")
    if any((a < 0).any() for a in at) and (filled not in (None, 0) or (filled is None and x.floating)):
        raise low.fail(e, "out of bounds (NaN in plain JAX)", 'keep indices in range, or use mode="clip"')
    return take(low, low.value(x), at)


def gather_rows(low: Lowering, e: Eqn, x: Var, indices: Var) -> Value:
    """x[..., indices, ...] along one axis; an index out of bounds gives zeros."""
    d, sizes = e.params["dimension_numbers"], e.params["slice_sizes"]
    whole = all(n == x.shape[i] for i, n in enumerate(sizes) if i not in d.start_index_map)
    if len(d.start_index_map) != 1 or d.collapsed_slice_dims != d.start_index_map or not whole:
        raise low.fail(e, "with indices that are not constants, along several axes", GATHER)
    if getattr(d, "operand_batching_dims", ()):
        raise low.fail(e, "with indices that are not constants, in batches", GATHER)
    (axis,) = d.start_index_map
    (flat,) = low.inserted(lambda graph: [reshape(graph, indices, indices.shape[:-1], e.line)])
    result = rows(low, e, low.value(x), axis, flat)
    batch = [i for i in range(len(result.shape)) if i not in d.offset_dims]
    return low.b.transpose(result, np.argsort([*batch, *d.offset_dims]).tolist())


@rule("scatter-add", "scatter-sub")
def scatter_add(low: Lowering, e: Eqn) -> Value:
    """Updates to one element are gathered side by side, and summed."""
    x, indices, updates = e.inputs
    if indices.stacked:
        raise NeedsUnrolling
    (at,) = positions(low, e, (indices,), lambda i: indexing.scatter(x.shape, i, updates.shape, e.params))
    b, base, update = low.b, low.value(x), low.value(updates)
    update = b.neg(update) if e.name == "scatter-sub" else update
    sources, most = indexing.grouped(at, x.size)
    if most == 0:
        return base
    hit = np.flatnonzero(sources[:, 0] >= 0)
    sums = b.sum(b.take(update, sources[hit]), (1,)) if most > 1 else b.take(update, sources[hit, 0])
    back = np.full(x.size, -1, np.int64)
    back[hit] = np.arange(len(hit))
    return b.add(base, b.take(sums, back.reshape(x.shape)))


@rule("scatter")
def scatter(low: Lowering, e: Eqn) -> Value:
    """The last of several updates of one element stays."""
    x, indices, updates = e.inputs
    if e.params.get("update_jaxpr") is not None:
        raise low.fail(e, "with a function (.at[i].apply)", "write x.at[i].set(f(x[i])) with distinct constant i")

    def sources(i) -> np.ndarray:
        at = indexing.scatter(x.shape, i, updates.shape, e.params).reshape(-1)
        result = np.full(x.size, -1, np.int64)
        inside = at >= 0
        result[at[inside]] = np.flatnonzero(inside)
        return result.reshape(x.shape)

    if updates.size == 0:
        return low.value(x)
    return overwrite(low, low.saturated(x), low.saturated(updates), positions(low, e, (indices,), sources))
