"""Reductions and scans along an axis."""

import math
from collections.abc import Callable

import numpy as np

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.tracing import jaxprs
from mpcrt.tracing.graph import Eqn
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.patterns import width
from mpcrt.tracing.registry import RULES, rule
from mpcrt.tracing.rules.logic import fold_axes, reduce_and, reduce_or

MOST_TERMS = 1 << 16
RANKS = (
    "jnp.sort takes one array; to order y by n distinct keys x: r = (x[:, None] > x).sum(1) are the keys' ranks, and "
    "jax.nn.one_hot(r, n).T @ y is y in their order"
)


@rule("reduce_sum")
def reduce_sum(low: Lowering, e: Eqn) -> Value:
    """Of products untruncated, unless there are so many that their sum might reach 2^62."""
    x, axes = low.value(e.inputs[0]), e.params["axes"]
    if math.prod(x.shape[a] for a in axes) > MOST_TERMS:
        x = low.b.truncate(x)
    return low.b.sum(x, axes)


@rule("reduce_max", "reduce_min")
def reduce_extremum(low: Lowering, e: Eqn) -> Value:
    (var,), axes = e.inputs, tuple(int(a) for a in e.params["axes"])
    if var.boolean:
        return (reduce_or if e.name == "reduce_max" else reduce_and)(low, e)
    x = low.value(var)
    if all(var.shape[a] == 1 for a in axes):
        return low.b.reshape(x, e.outputs[0].shape)
    if any(n == 0 for n in var.shape):
        raise low.fail(e, "of no elements", "give it at least one")
    function = numerics.max_reduce if e.name == "reduce_max" else numerics.min_reduce
    return low.b.reshape(function(low.b, x, axes, width(var)), e.outputs[0].shape)


@rule("reduce_prod")
def reduce_prod(low: Lowering, e: Eqn) -> Value:
    if not e.inputs[0].size:
        raise low.fail(e, "of no elements", "give it at least one")
    return fold_axes(low, low.value(e.inputs[0]), e.params["axes"], low.b.mul)


@rule("reduce")
def reduce(low: Lowering, e: Eqn) -> Value:
    """lax.reduce with a reducer of one primitive."""
    name = jaxprs.monoid(e.params["jaxpr"])
    known = {
        "add": "reduce_sum",
        "max": "reduce_max",
        "min": "reduce_min",
        "mul": "reduce_prod",
        "and": "reduce_and",
        "or": "reduce_or",
    }
    if name not in known or len(e.inputs) != 2:
        raise low.fail(e, "with this reducer", "use lax.add, lax.mul, lax.max or lax.min")
    x, start = e.inputs
    inner = Eqn(known[name], (x,), e.outputs, {"axes": e.params["dimensions"]}, e.line, e.run)
    result = RULES[inner.name](low, inner)
    neutral = {"add": 0, "mul": 1}.get(name)
    number = low.scalar(start)
    if number is not None and (number == neutral or (neutral is None and not np.isfinite(float(number)))):
        return result
    if name == "add":
        return low.b.add(result, low.value(start))
    raise low.fail(e, "with this initial value", "start from the operation's neutral element")


@rule("argmax", "argmin")
def argmax(low: Lowering, e: Eqn) -> Value:
    (var,), (axis,) = e.inputs, e.params["axes"]
    x = low.b.to_ring(low.value(var)) if var.boolean else low.value(var)
    function = numerics.argmax if e.name == "argmax" else numerics.argmin
    return low.b.reshape(function(low.b, x, int(axis), 2 if var.boolean else width(var)), e.outputs[0].shape)


def scan_axis(low: Lowering, e: Eqn, combine: Callable[[Value, Value], Value]) -> Value:
    """Inclusive prefixes by doubling: log2(n) combinations of the axis with itself shifted."""
    axis, reverse = e.params["axis"], e.params["reverse"]
    x = low.value(e.inputs[0])
    n, shift = x.shape[axis], 1

    def part(v: Value, begin: int, end: int) -> Value:
        start, limit = [0] * len(v.shape), list(v.shape)
        start[axis], limit[axis] = begin, end
        return low.b.slice(v, start, limit)

    while shift < n:
        if reverse:
            x = low.b.concat([combine(part(x, 0, n - shift), part(x, shift, n)), part(x, n - shift, n)], axis)
        else:
            x = low.b.concat([part(x, 0, shift), combine(part(x, shift, n), part(x, 0, n - shift))], axis)
        shift *= 2
    return x


@rule("cumsum")
def cumsum(low: Lowering, e: Eqn) -> Value:
    return scan_axis(low, e, low.b.add)


@rule("cumprod")
def cumprod(low: Lowering, e: Eqn) -> Value:
    return scan_axis(low, e, low.b.mul)


@rule("cummax", "cummin")
def cummax(low: Lowering, e: Eqn) -> Value:
    function = numerics.maximum if e.name == "cummax" else numerics.minimum
    return scan_axis(low, e, lambda x, y: function(low.b, x, y, width(e.inputs[0])))


@rule("sort")
def sort(low: Lowering, e: Eqn) -> Value:
    if len(e.inputs) != 1 or e.inputs[0].boolean:
        what = "of bools" if len(e.inputs) == 1 else f"of {len(e.inputs)} operands"
        raise low.fail(e, what, "convert to numbers" if len(e.inputs) == 1 else RANKS)
    axis = e.params["dimension"] % len(e.inputs[0].shape)
    order = [i for i in range(len(e.inputs[0].shape)) if i != axis] + [axis]
    x = low.b.transpose(low.value(e.inputs[0]), order)
    return low.b.transpose(numerics.sort(low.b, x, width(e.inputs[0])), np.argsort(order).tolist())
