"""reduce_window with sum, max and min, and the gradients of pooling; windows as strided slices, axis by axis."""

from collections.abc import Callable
from itertools import product

import numpy as np

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.tracing import jaxprs
from mpcrt.tracing.graph import Eqn, constant
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.patterns import width
from mpcrt.tracing.registry import rule
from mpcrt.tracing.rules.layout import padded


def tree(values: list[Value], combine: Callable[[Value, Value], Value]) -> Value:
    """All combined, in log2 rounds."""
    while len(values) > 1:
        odd = values[-1:] if len(values) % 2 else []
        values = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)] + odd
    return values[0]


def windows(low: Lowering, x: Value, p: dict, filling: float, combine: Callable[[Value, Value], Value]) -> Value:
    """Reduces every window; separable, so each axis in turn."""
    rank = len(x.shape)
    base = p.get("base_dilation") or (1,) * rank
    config = [(int(lo), int(hi), int(d) - 1) for (lo, hi), d in zip(p["padding"], base, strict=True)]
    x = padded(low, x, constant(np.float32(filling)), config)
    dilation = p.get("window_dilation") or (1,) * rank
    for axis in range(rank):
        size, stride, spread = int(p["window_dimensions"][axis]), int(p["window_strides"][axis]), int(dilation[axis])
        reach = (size - 1) * spread + 1
        count = max(0, (x.shape[axis] - reach) // stride + 1)
        if size == 1 and stride == 1:
            continue
        slices = []
        for k in range(size):
            start, limit, step = [0] * rank, list(x.shape), [1] * rank
            start[axis], step[axis] = min(k * spread, x.shape[axis]), stride
            limit[axis] = start[axis] + (count - 1) * stride + 1 if count else start[axis]
            slices.append(low.b.slice(x, start, limit, step))
        x = tree(slices, combine)
    return x


@rule("reduce_window_sum")
def reduce_window_sum(low: Lowering, e: Eqn) -> Value:
    return windows(low, low.value(e.inputs[0]), e.params, 0.0, low.b.add)


@rule("reduce_window_max", "reduce_window_min")
def reduce_window_max(low: Lowering, e: Eqn) -> Value:
    return extremum(low, e, e.name == "reduce_window_max")


def extremum(low: Lowering, e: Eqn, largest: bool) -> Value:
    var = e.inputs[0]
    function = numerics.maximum if largest else numerics.minimum
    filling = (-1 if largest else 1) * (np.inf if var.floating else 2.0 ** (8 * np.dtype(var.dtype).itemsize - 1))
    return windows(low, low.value(var), e.params, filling, lambda x, y: function(low.b, x, y, width(var)))


@rule("reduce_window")
def reduce_window(low: Lowering, e: Eqn) -> Value:
    """The generic form, with a reducer of one primitive and its neutral element."""
    name = jaxprs.monoid(e.params["jaxpr"])
    if name not in ("add", "max", "min") or len(e.inputs) != 2:
        raise low.fail(e, "with this reducer", "use lax.add, lax.max or lax.min")
    if name == "add":
        if low.scalar(e.inputs[1]) != 0:
            raise low.fail(e, "with this initial value", "start sums from 0")
        return reduce_window_sum(low, e)
    start = low.scalar(e.inputs[1])
    if start is None or (np.isfinite(float(start)) and e.inputs[0].floating):
        raise low.fail(e, "with this initial value", "start from -inf (max) or inf (min)")
    return extremum(low, e, name == "max")


@rule("select_and_scatter_add")
def select_and_scatter_add(low: Lowering, e: Eqn) -> Value:
    """The gradient of max (or min) pooling: each window's gradient goes to the first of its largest elements."""
    gradient, var = (low.value(v) for v in e.inputs)
    p, shape = e.params, e.inputs[1].shape
    places, chosen = winners(low, e, var)
    parts = [low.b.select(bit, gradient) for bit in chosen]
    return scattered(low, parts, places, shape, p)


def winners(low: Lowering, e: Eqn, x: Value) -> tuple[list[tuple[int, ...]], list[Value]]:
    """The offsets in a window, and for each the bit (a window) that its element is the one selected: the first that
    equals the extremum."""
    p, b = e.params, low.b
    operand = e.inputs[1]
    name = str(p["select_prim"])
    largest = name in ("ge", "ge_p", "gt")
    x = b.truncate(x)
    filling = constant(np.float32(-np.inf if largest else np.inf))
    config = [(int(lo), int(hi), 0) for lo, hi in p["padding"]]
    wide = padded(low, x, filling, config)
    places = list(product(*(range(int(n)) for n in p["window_dimensions"])))
    slices = [place(low, wide, at, p) for at in places]
    function = numerics.maximum if largest else numerics.minimum
    top = tree(slices, lambda x, y: function(b, x, y, width(operand)))
    equal = [b.equal(s, top, width(operand) or 48) for s in slices]
    chosen, seen = [], None
    for bit in equal:
        chosen.append(bit if seen is None else b.and_(bit, b.not_(seen)))
        seen = bit if seen is None else b.or_(seen, bit)
    return places, chosen


def place(low: Lowering, wide: Value, at: tuple[int, ...], p: dict) -> Value:
    limits = []
    for n, size, stride, k in zip(wide.shape, p["window_dimensions"], p["window_strides"], at, strict=True):
        limits.append(k + (n - int(size)) // int(stride) * int(stride) + 1)
    return low.b.slice(wide, at, limits, tuple(int(s) for s in p["window_strides"]))


def scattered(low: Lowering, parts: list[Value], places: list, shape: tuple[int, ...], p: dict) -> Value:
    """Each part put back at its offset in every window, and summed."""
    total = None
    for part, at in zip(parts, places, strict=True):
        config = []
        for n, (lo, _), stride, k, count in zip(shape, p["padding"], p["window_strides"], at, part.shape, strict=True):
            spread = count + (count - 1) * (int(stride) - 1)
            config.append((k - int(lo), n + int(lo) - k - spread, int(stride) - 1))
        piece = padded(low, part, None, config)
        total = piece if total is None else low.b.add(total, piece)
    assert total is not None
    return total


@rule("select_and_gather_add")
def select_and_gather_add(low: Lowering, e: Eqn) -> Value:
    """The tangent of pooling: from each window, the tangent at its selected element."""
    tangent = low.value(e.inputs[0])
    p = e.params
    if any(int(d) != 1 for key in ("base_dilation", "window_dilation") for d in p.get(key) or ()):
        raise low.fail(e, "with dilation", "use windows without dilation")
    places, chosen = winners(low, e, low.value(e.inputs[1]))
    wide = padded(low, tangent, None, [(int(lo), int(hi), 0) for lo, hi in p["padding"]])
    return tree([low.b.select(bit, place(low, wide, at, p)) for bit, at in zip(chosen, places, strict=True)], low.b.add)
