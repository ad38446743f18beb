"""Smooth functions: one call of mpcrt.numerics each."""

import math

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.tracing import patterns
from mpcrt.tracing.graph import Eqn
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.patterns import nonpositive
from mpcrt.tracing.registry import rule
from mpcrt.tracing.rules.arithmetic import scaled


@rule("exp")
def exp(low: Lowering, e: Eqn) -> Value:
    x = low.value(e.inputs[0])
    return numerics.exp_nonpositive(low.b, x) if nonpositive(e.inputs[0]) else numerics.exp(low.b, x)


@rule("exp2")
def exp2(low: Lowering, e: Eqn) -> Value:
    x = scaled(low, low.value(e.inputs[0]), math.log(2))
    return numerics.exp_nonpositive(low.b, x) if nonpositive(e.inputs[0]) else numerics.exp(low.b, x)


@rule("log", "log1p")
def log(low: Lowering, e: Eqn) -> Value:
    softplus = patterns.activation(low, e)
    return softplus if softplus is not None else named(low, e)


@rule("log2")
def log2(low: Lowering, e: Eqn) -> Value:
    return scaled(low, numerics.log(low.b, low.value(e.inputs[0])), 1 / math.log(2))


@rule("sinh", "cosh")
def sinh(low: Lowering, e: Eqn) -> Value:
    """(e^x -+ e^-x) / 2."""
    x = low.value(e.inputs[0])
    up, down = numerics.exp(low.b, x), numerics.exp(low.b, low.b.neg(x))
    return scaled(low, low.b.sub(up, down) if e.name == "sinh" else low.b.add(up, down), 0.5)


@rule("expm1", "tanh", "erf", "erfc", "sqrt", "rsqrt")
def named(low: Lowering, e: Eqn) -> Value:
    return getattr(numerics, e.name)(low.b, low.value(e.inputs[0]))


@rule("logistic")
def logistic(low: Lowering, e: Eqn) -> Value:
    return numerics.sigmoid(low.b, low.value(e.inputs[0]))
