"""Layout: no arithmetic, free on shares."""

import numpy as np

from mpcrt.plan import Value
from mpcrt.tracing.graph import Eqn, Var
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import rule


@rule("reshape", "squeeze")
def reshape(low: Lowering, e: Eqn) -> Value:
    x, order = low.value(e.inputs[0]), e.params.get("dimensions")
    if e.name == "reshape" and order is not None:
        x = low.b.transpose(x, order)
    return low.b.reshape(x, e.outputs[0].shape)


@rule("copy")
def copy(low: Lowering, e: Eqn) -> Value:
    return low.value(e.inputs[0])


@rule("transpose")
def transpose(low: Lowering, e: Eqn) -> Value:
    return low.b.transpose(low.value(e.inputs[0]), e.params["permutation"])


@rule("broadcast_in_dim")
def broadcast_in_dim(low: Lowering, e: Eqn) -> Value:
    return low.b.broadcast(low.value(e.inputs[0]), e.outputs[0].shape, e.params["broadcast_dimensions"])


@rule("slice")
def slice_(low: Lowering, e: Eqn) -> Value:
    return low.b.slice(
        low.value(e.inputs[0]), e.params["start_indices"], e.params["limit_indices"], e.params["strides"]
    )


@rule("split")
def split(low: Lowering, e: Eqn) -> list[Value]:
    x, axis = low.value(e.inputs[0]), int(e.params["axis"])
    ends = np.cumsum([int(n) for n in e.params["sizes"]]).tolist()
    pieces = []
    for begin, end in zip([0, *ends], ends, strict=False):
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = begin, end
        pieces.append(low.b.slice(x, start, limit))
    return pieces


@rule("rev")
def rev(low: Lowering, e: Eqn) -> Value:
    x = low.value(e.inputs[0])
    at = np.arange(e.inputs[0].size).reshape(x.shape)
    return low.b.take(x, np.flip(at, tuple(e.params["dimensions"])))


@rule("tile")
def tile(low: Lowering, e: Eqn) -> Value:
    x, reps = low.value(e.inputs[0]), e.params["reps"]
    shape = (1,) * (len(reps) - len(x.shape)) + x.shape
    inner = [n for pair in zip((1,) * len(shape), shape, strict=True) for n in pair]
    outer = [n for pair in zip(reps, shape, strict=True) for n in pair]
    return low.b.reshape(low.b.broadcast(low.b.reshape(x, inner), outer), e.outputs[0].shape)


@rule("concatenate")
def concatenate(low: Lowering, e: Eqn) -> Value:
    values = [low.saturated(v) for v in e.inputs if v.size or len(e.inputs) == 1]
    return (
        low.b.concat(values, int(e.params["dimension"]))
        if values
        else low.zeros(e.outputs[0].shape, e.outputs[0].dtype)
    )


@rule("stack")
def stack(low: Lowering, e: Eqn) -> Value:
    axis = int(e.params["axis"])
    shape = list(e.outputs[0].shape)
    shape[axis] = 1
    return low.b.concat([low.b.reshape(low.saturated(v), shape) for v in e.inputs], axis)


@rule("unstack")
def unstack(low: Lowering, e: Eqn) -> list[Value]:
    x, axis = low.value(e.inputs[0]), int(e.params["axis"])
    rows = []
    for i, out in enumerate(e.outputs):
        start, limit = [0] * len(x.shape), list(x.shape)
        start[axis], limit[axis] = i, i + 1
        rows.append(low.b.reshape(low.b.slice(x, start, limit), out.shape))
    return rows


@rule("pad")
def pad(low: Lowering, e: Eqn) -> Value:
    x, filling = e.inputs
    config = [tuple(int(i) for i in row) for row in e.params["padding_config"]]
    return padded(low, low.value(x), filling, config)


def padded(low: Lowering, x: Value, filling: Var | None, config: list) -> Value:
    """lax.pad: interior and edge padding, then cropping where negative; `filling` None is zero."""
    b = low.b
    low_edge, high_edge, interior = ([row[i] for row in config] for i in range(3))
    result = b.pad(x, [max(n, 0) for n in low_edge], [max(n, 0) for n in high_edge], interior)
    result = cropped(low, result, low_edge, high_edge)
    if filling is None or (filling.known is not None and not filling.stacked and not np.any(filling.known)):
        return result
    inside = np.ones(x.shape, bool)
    where = np.zeros(
        [n + max(n - 1, 0) * k + max(lo, 0) + max(hi, 0) for n, (lo, hi, k) in zip(x.shape, config, strict=True)], bool
    )
    at = tuple(
        slice(max(lo, 0), max(lo, 0) + n + max(n - 1, 0) * k, k + 1)
        for n, (lo, _, k) in zip(x.shape, config, strict=True)
    )
    where[at] = inside
    where = where[crop(where.shape, low_edge, high_edge)]
    filler = low.saturated(filling)
    if x.type.kind == "bit":
        return b.where(b.bit_constant(where.astype(np.uint8)), result, filler)
    return b.add(result, b.mul(low.mask(~where), b.broadcast(filler, where.shape)))


def crop(shape, low_edge, high_edge) -> tuple:
    return tuple(slice(max(-lo, 0), n - max(-hi, 0)) for n, lo, hi in zip(shape, low_edge, high_edge, strict=True))


def cropped(low: Lowering, x: Value, low_edge, high_edge) -> Value:
    """Without what negative edges cut off."""
    at = crop(x.shape, low_edge, high_edge)
    return low.b.slice(x, [s.start for s in at], [max(s.stop, s.start) for s in at])
