"""Sums, products, powers, quotients, absolute value and sign."""

import math

import numpy as np

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.plan.types import SECRET
from mpcrt.tracing import patterns
from mpcrt.tracing.graph import Eqn, Var
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import rule

MAX_FRACTION = 46  # what functions take untruncated: 2^62 is then a magnitude of 2^16


@rule("add", "add_any")
def add(low: Lowering, e: Eqn) -> Value:
    smooth = patterns.activation(low, e) if e.name == "add" else None
    if smooth is not None:
        return smooth
    x, y = e.inputs
    if x.known is not None:
        x, y = y, x
    a = low.value(x)
    return low.b.add(a, low.addend(y, a))


@rule("sub")
def sub(low: Lowering, e: Eqn) -> Value:
    x, y = e.inputs
    if x.known is not None:
        b = low.value(y)
        return low.b.sub(low.addend(x, b), b)
    a = low.value(x)
    return low.b.sub(a, low.addend(y, a))


@rule("neg")
def neg(low: Lowering, e: Eqn) -> Value:
    return low.b.neg(low.value(e.inputs[0]))


@rule("mul")
def mul(low: Lowering, e: Eqn) -> Value:
    """A product; with a 0/1 factor made from a bool, a selection."""
    smooth = patterns.activation(low, e)
    if smooth is not None:
        return smooth
    x, y = e.inputs
    for number, other in ((low.scalar(x), y), (low.scalar(y), x)):
        if number is not None:
            return times(low, other, number)
    for bit, other in ((patterns.source_bit(low, x), y), (patterns.source_bit(low, y), x)):
        if bit is not None and other.known is None:
            return low.b.select(*low.b.broadcasted(bit, low.value(other)))
    return early_first(low, e) or low.b.mul(low.factor(x), low.factor(y))


def early_first(low: Lowering, e: Eqn) -> Value | None:
    """(a late) c as (a c) late, where a and c are there rounds before: a c then costs no round of its own."""
    for p, c in (e.inputs, e.inputs[::-1]):
        made = patterns.made_by(p, "mul")
        if (
            made is None
            or p.visibility != SECRET
            or c.known is not None
            or any(u is not e for u in p.users if u in low.live)
        ):
            continue
        a, late = sorted(made.inputs, key=lambda v: patterns.rounds(low, low.factor(v)))
        if a.known is not None or late.known is not None or c.boolean:
            continue
        before = max(patterns.rounds(low, low.value(v)) for v in (a, c))
        if before + 2 <= patterns.rounds(low, low.value(late)):
            return low.b.mul(low.b.mul(low.value(a), low.value(c)), low.value(late))
    return None


def times(low: Lowering, x: Var, number: float) -> Value:
    if number == 0:
        return low.zeros(x.shape, x.dtype)
    if abs(number) == 1:
        return low.value(x) if number == 1 else low.b.neg(low.value(x))
    return scaled(low, low.value(x), float(number))


def scaled(low: Lowering, x: Value, number: float) -> Value:
    """x times a public number; a power of two below one only moves the point."""
    mantissa, exponent = math.frexp(number)
    if mantissa == 0.5 and exponent <= 0 and x.fraction + 1 - exponent <= MAX_FRACTION:
        return low.b.one("scale", x, fraction=x.fraction + 1 - exponent)
    return low.b.mul(low.b.factor(np.asarray(number)), x)


@rule("square")
def square(low: Lowering, e: Eqn) -> Value:
    x = low.value(e.inputs[0])
    return low.b.mul(x, x)


@rule("one_minus_square")
def one_minus_square(low: Lowering, e: Eqn) -> Value:
    """1 - x^2, which tanh's derivative is."""
    square = low.b.mul(x := low.value(e.inputs[0]), x)
    return low.b.sub(low.b.ring_constant(np.ones((), np.uint64)), square)


@rule("integer_pow")
def integer_pow(low: Lowering, e: Eqn) -> Value:
    exponent = e.params["y"]
    x = low.value(e.inputs[0])
    if exponent == 0:
        return low.b.add(low.zeros(x.shape, e.outputs[0].dtype), low.b.ring_constant(np.ones((), np.uint64)))
    result = positive_power(low, x, abs(exponent))
    return result if exponent > 0 else numerics.reciprocal(low.b, result)


def positive_power(low: Lowering, x: Value, exponent: int) -> Value:
    """By squaring, the fewest rounds: the bits' powers meet in a tree."""
    powers, square = [], x
    while exponent:
        if exponent & 1:
            powers.append(square)
        exponent >>= 1
        if exponent:
            square = low.b.mul(square, square)
    while len(powers) > 1:
        powers = [low.b.mul(powers[0], powers[1]), *powers[2:]]
    return powers[0]


@rule("pow")
def pow_(low: Lowering, e: Eqn) -> Value:
    x, y = e.inputs
    exponent = low.scalar(y)
    if exponent is None:
        base = low.scalar(x)
        if y.known is not None:
            raise low.fail(
                e, "with exponents that differ", "take a power for each exponent and stack them; "
                "or write jnp.exp(y * jnp.log(x)), for positive x",
            )  # fmt: skip
        if base is None or base <= 0:
            which = "a secret exponent" if y.visibility == SECRET else "an exponent that is not known while tracing"
            how = "a base that is not positive" if base is not None else "a base that is no constant"
            raise low.fail(
                e, f"with {which} of {how}",
                "write jnp.exp(y * jnp.log(x)), for positive x; or make the exponent a constant or a static argument",
            )  # fmt: skip
        return numerics.exp(low.b, scaled(low, low.value(y), math.log(base)))
    value = low.value(x)
    if float(exponent).is_integer() and abs(exponent) <= 64:
        if exponent == 0:
            return low.b.add(low.zeros(x.shape, x.dtype), low.b.ring_constant(np.ones((), np.uint64)))
        result = positive_power(low, value, int(abs(exponent)))
        return result if exponent > 0 else numerics.reciprocal(low.b, result)
    if exponent == 0.5:
        return numerics.sqrt(low.b, value)
    if exponent == -0.5:
        return numerics.rsqrt(low.b, value)
    return numerics.power(low.b, value, float(exponent))


@rule("div")
def div(low: Lowering, e: Eqn) -> Value:
    x, y = e.inputs
    if not e.outputs[0].floating:
        raise low.fail(
            e, "of integers", "convert to float and divide, or divide in a party function before sharing; "
            'jnp.searchsorted and jnp.digitize take method="compare_all"; jnp.interp is y[0] + (jnp.clip(x[:, None], '
            "xp[:-1], xp[1:]) - xp[:-1]) @ (jnp.diff(y) / jnp.diff(xp)); for jnp.histogram compare with the edges: "
            "jnp.sum((x[:, None] >= edges[:-1]) & (x[:, None] < edges[1:]), 0)",
        )  # fmt: skip
    if y.known is not None:
        if not np.all(y.known):
            raise low.fail(e, "by zero", "divide by something else")
        number = low.scalar(y)
        if number is not None:
            return times(low, x, 1.0 / float(number))
        return low.b.mul(low.encoded(y, lambda b, a: b.factor(1.0 / np.asarray(a, np.float64))), low.value(x))
    root, views = patterns.behind_views(y, "sqrt")
    if root is not None and root.inputs[0].visibility == SECRET:
        inverse = numerics.rsqrt(low.b, low.value(root.inputs[0]))
        return low.b.broadcast(product(low, x, patterns.viewed(low, inverse, views)), e.outputs[0].shape)
    if low.scalar(x) is not None:
        return low.b.broadcast(product(low, x, numerics.reciprocal(low.b, low.value(y))), e.outputs[0].shape)
    return numerics.divide(low.b, low.value(x), low.value(y))


def product(low: Lowering, x: Var, y: Value) -> Value:
    number = low.scalar(x)
    if number is None:
        return low.b.mul(low.factor(x), y)
    return y if number == 1 else scaled(low, y, float(number))


@rule("abs")
def abs_(low: Lowering, e: Eqn) -> Value:
    """x - 2 [x < 0] x."""
    (var,) = e.inputs
    x = low.value(var)
    if patterns.nonnegative(var):
        return x
    below = low.b.negative(x, patterns.width(var))
    return low.b.sub(x, low.b.mul(low.b.ring_constant(np.full((), 2, np.uint64)), low.b.select(below, x)))


@rule("sign")
def sign(low: Lowering, e: Eqn) -> Value:
    """[x > 0] - [x < 0]."""
    (var,) = e.inputs
    x, bits = low.value(var), patterns.width(var)
    above = low.b.to_ring(low.b.negative(low.b.neg(x), bits))
    return low.b.sub(above, low.b.to_ring(low.b.negative(x, bits)))


@rule("is_finite")
def is_finite(low: Lowering, e: Eqn) -> Value:
    """Fixed point has neither NaN nor infinity."""
    return low.b.not_(low.zeros(e.outputs[0].shape, np.dtype(bool)))
