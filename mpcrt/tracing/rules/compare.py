"""Comparisons, selection, max, min and clamp."""

import numpy as np

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.ring.codec import limit
from mpcrt.tracing.graph import Eqn, Var
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.patterns import nonnegative, width
from mpcrt.tracing.registry import rule


def less(low: Lowering, e: Eqn, x: Var, y: Var) -> Value:
    """[x < y]; bools as 0 < 1."""
    b = low.b
    if x.boolean:
        return b.and_(b.not_(low.value(x)), low.value(y))
    for var, sign in ((y, 1.0), (x, -1.0)):
        number = low.scalar(var)
        if number is not None and var.floating and abs(number) >= limit(low.fraction):
            return b.broadcast(b.bit_constant(np.full((), number * sign > 0, np.uint8)), e.outputs[0].shape)
    top = limit(low.fraction) * (1 - 2.0**-20)
    left = low.saturated(x, top)
    return b.less(left, low.saturated(y, top), width(x))


@rule("lt", "lt_to")
def lt(low: Lowering, e: Eqn) -> Value:
    return less(low, e, *e.inputs)


@rule("gt")
def gt(low: Lowering, e: Eqn) -> Value:
    return less(low, e, *e.inputs[::-1])


@rule("ge")
def ge(low: Lowering, e: Eqn) -> Value:
    return low.b.not_(less(low, e, *e.inputs))


@rule("le", "le_to")
def le(low: Lowering, e: Eqn) -> Value:
    return low.b.not_(less(low, e, *e.inputs[::-1]))


@rule("eq")
def eq(low: Lowering, e: Eqn) -> Value:
    """Of reals: of their truncations to the plan's fraction bits."""
    b = low.b
    x, y = e.inputs
    if x is y:
        return b.broadcast(b.bit_constant(np.ones((), np.uint8)), e.outputs[0].shape)
    if x.boolean:
        return b.not_(b.xor(low.value(x), low.value(y)))
    if not x.floating:
        return b.equal(low.value(x), low.value(y), width(x) or 64)
    top = limit(low.fraction) * (1 - 2.0**-20)
    left, right = (b.truncate(low.saturated(v, top)) for v in (x, y))
    return b.equal(left, right, 48)


@rule("ne")
def ne(low: Lowering, e: Eqn) -> Value:
    return low.b.not_(eq(low, e))


def reads_sign(low: Lowering, var: Var) -> Eqn | None:
    """A live `var > 0`: its bit serves max(var, 0) too."""
    for user in var.users:
        if user.name == "gt" and user in low.live and user.inputs[0] is var and low.scalar(user.inputs[1]) == 0:
            return user
    return None


def rectified(low: Lowering, var: Var) -> Value:
    """max(x, 0): one comparison and one selection; the identity where x cannot be negative."""
    x = low.value(var)
    if nonnegative(var):
        return x
    shared = reads_sign(low, var)
    if shared is not None:
        return low.b.select(low.b.negative(low.b.neg(x), width(var)), x)
    return low.b.select(low.b.not_(low.b.negative(x, width(var))), x)


@rule("max", "min")
def extremum(low: Lowering, e: Eqn) -> Value:
    b, largest = low.b, e.name == "max"
    if e.outputs[0].boolean:
        return (b.or_ if largest else b.and_)(*map(low.value, e.inputs))
    for var, other in (e.inputs, e.inputs[::-1]):
        number = low.scalar(var)
        if number is None:
            continue
        if number == 0:
            if largest:
                return rectified(low, other)
            x = low.value(other)
            return b.select(b.negative(x, width(other)), x)
        if other.floating and abs(number) >= limit(low.fraction):
            if (number < 0) == largest:
                return low.value(other)
            return b.broadcast(low.saturated(var), e.outputs[0].shape)
    x, y = (low.saturated(v, limit(low.fraction) * (1 - 2.0**-20)) for v in e.inputs)
    function = numerics.maximum if largest else numerics.minimum
    x, y = b.broadcasted(x, y)
    return function(b, x, y, width(e.inputs[0]))


@rule("clamp")
def clamp(low: Lowering, e: Eqn) -> Value:
    """Both comparisons at once: x + [x < low] (low - x) + [high < x] (high - x)."""
    b = low.b
    floor, var, ceiling = e.inputs
    x = low.value(var)
    top = limit(low.fraction) * (1 - 2.0**-20)
    x = b.truncate(x)
    result = x
    for bound, below in ((floor, True), (ceiling, False)):
        number = low.scalar(bound)
        if number is not None and bound.floating and abs(number) >= limit(low.fraction):
            continue
        edge = b.broadcast(low.saturated(bound, top), x.shape)
        outside = b.less(x, edge, width(var)) if below else b.less(edge, x, width(var))
        result = b.add(result, b.select(outside, b.sub(edge, x)))
    return result


@rule("select_n")
def select_n(low: Lowering, e: Eqn) -> Value:
    """Known predicates are 0/1 factors, so that what is not selected is never encoded."""
    which, *cases = e.inputs
    if which.constant:
        return chosen(low, np.broadcast_to(which.known, e.outputs[0].shape), cases, e)  # type: ignore[arg-type]
    if which.boolean:
        if cases[0] is cases[1]:
            return low.value(cases[0])
        bit = low.b.broadcast(low.value(which), e.outputs[0].shape)
        zero, one = (low.saturated(v) for v in cases)
        return low.b.where(bit, one, zero)
    index = low.value(which)
    result = low.saturated(cases[0])
    for i, case in enumerate(cases[1:], 1):
        is_it = low.b.equal(index, low.b.integer(i), width(which) or 64)
        result = low.b.where(low.b.broadcast(is_it, e.outputs[0].shape), low.saturated(case), result)
    return result


def chosen(low: Lowering, which: np.ndarray, cases: list[Var], e: Eqn) -> Value:
    b = low.b
    used = [i for i in range(len(cases)) if (which == i).any()]
    if not used:
        return low.zeros(e.outputs[0].shape, e.outputs[0].dtype)
    if len(used) == 1:
        return low.saturated(cases[used[0]])
    if e.outputs[0].boolean:
        result = low.value(cases[used[0]])
        for i in used[1:]:
            result = b.where(b.bit_constant((which == i).astype(np.uint8)), low.value(cases[i]), result)
        return result
    parts = []
    for i in used:
        keep, case = which == i, cases[i]
        if case.constant:
            values = Var(case.shape, case.dtype, known=np.where(keep, np.broadcast_to(case.known, keep.shape), 0))  # type: ignore[arg-type]
            parts.append(low.saturated(values))
        else:
            parts.append(b.mul(low.mask(keep), low.value(case)))
    result = parts[0]
    for part in parts[1:]:
        result = b.add(result, part)
    return result
