"""Gather, scatter and dynamic slices at public indices: layout, since every position is known."""

import numpy as np

from mpcrt.plan import Builder, Value
from mpcrt.tracing import indexing
from mpcrt.tracing.graph import Eqn, Var
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import NeedsUnrolling, rule

REMEDY = "index with constants; for a secret index multiply by a one-hot made in a party function (jax.nn.one_hot)"


def positions(low: Lowering, e: Eqn, indices: tuple[Var, ...], compute) -> list[np.ndarray]:
    """compute(*indices) for the constant indices, once, or once a trip where they differ by trip."""
    for var in indices:
        if var.known is None:
            raise low.fail(
                e, f"with {'an' if var.visibility != 'secret' else 'a secret'} index that is not a constant", REMEDY
            )
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


@rule("dynamic_slice")
def dynamic_slice(low: Lowering, e: Eqn) -> Value:
    x, *starts = e.inputs
    sizes = e.params["slice_sizes"]
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
    at = positions(low, e, (indices,), lambda i: indexing.gather(x.shape, i, e.params))
    filled = e.params.get("fill_value")
    if any((a < 0).any() for a in at) and (filled not in (None, 0) or (filled is None and x.floating)):
        raise low.fail(e, "out of bounds (NaN in plain JAX)", 'keep indices in range, or use mode="clip"')
    return take(low, low.value(x), at)


@rule("scatter-add", "scatter_add")
def scatter_add(low: Lowering, e: Eqn) -> Value:
    """Updates to one element are gathered side by side, and summed."""
    x, indices, updates = e.inputs
    if indices.stacked:
        raise NeedsUnrolling
    (at,) = positions(low, e, (indices,), lambda i: indexing.scatter(x.shape, i, updates.shape, e.params))
    b, base, update = low.b, low.value(x), low.value(updates)
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

    def sources(i) -> np.ndarray:
        at = indexing.scatter(x.shape, i, updates.shape, e.params).reshape(-1)
        result = np.full(x.size, -1, np.int64)
        inside = at >= 0
        result[at[inside]] = np.flatnonzero(inside)
        return result.reshape(x.shape)

    if updates.size == 0:
        return low.value(x)
    return overwrite(low, low.saturated(x), low.saturated(updates), positions(low, e, (indices,), sources))
