"""Bools: and, or, not, xor, and reductions by them."""

from collections.abc import Callable

from mpcrt.plan import Value
from mpcrt.tracing.graph import Eqn
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import rule

REMEDY = (
    "keep flags as bools; bits of secret integers are not available; a power of a whole base is 2.0 ** i.astype(float)"
)


def bits(low: Lowering, e: Eqn) -> list[Value]:
    if not all(v.boolean for v in e.inputs):
        raise low.fail(e, "of integers", REMEDY)
    return [low.value(v) for v in e.inputs]


@rule("and")
def and_(low: Lowering, e: Eqn) -> Value:
    return low.b.and_(*bits(low, e))


@rule("or")
def or_(low: Lowering, e: Eqn) -> Value:
    return low.b.or_(*bits(low, e))


@rule("xor")
def xor(low: Lowering, e: Eqn) -> Value:
    return low.b.xor(*bits(low, e))


@rule("not")
def not_(low: Lowering, e: Eqn) -> Value:
    return low.b.not_(*bits(low, e))


@rule("reduce_and")
def reduce_and(low: Lowering, e: Eqn) -> Value:
    return fold_axes(low, bits(low, e)[0], e.params["axes"], low.b.and_)


@rule("reduce_or")
def reduce_or(low: Lowering, e: Eqn) -> Value:
    flipped = low.b.not_(bits(low, e)[0])
    return low.b.not_(fold_axes(low, flipped, e.params["axes"], low.b.and_))


@rule("reduce_xor")
def reduce_xor(low: Lowering, e: Eqn) -> Value:
    return fold_axes(low, bits(low, e)[0], e.params["axes"], low.b.xor)


def fold_axes(low: Lowering, x: Value, axes, combine: Callable[[Value, Value], Value]) -> Value:
    """A balanced tree over the axes; not for empty ones."""
    axes = sorted(int(a) for a in axes)
    rest = [i for i in range(len(x.shape)) if i not in axes]
    shape = tuple(x.shape[i] for i in rest)
    x = low.b.transpose(x, (*axes, *rest))
    count = 1
    for n in x.shape[: len(axes)]:
        count *= n
    x = low.b.reshape(x, (count, *shape))
    while count > 1:
        half = count // 2
        rest_of = [0] * len(shape)
        first, second = (low.b.slice(x, (i, *rest_of), (i + half, *shape)) for i in (0, half))
        joined = combine(first, second)
        if count % 2:
            joined = low.b.concat([joined, low.b.slice(x, (count - 1, *rest_of), (count, *shape))], 0)
        x, count = joined, count - half
    return low.b.reshape(x, shape)
