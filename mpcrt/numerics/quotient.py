"""Division, and what is known of a softmax's denominator.

In e^(x - max x) / sum e^(x - max x) the sum over n terms lies in [1, n], so its reciprocal needs no normalisation: one
series up to 32, from there a series for each power of four, selected by comparisons of few bits. Numerics see the
pattern in the graph: max_reduce, exp_nonpositive and the sum leave notes in the builder.
"""

import math
from collections.abc import Callable
from itertools import pairwise

from mpcrt.numerics.coefficients import RECIPROCAL
from mpcrt.numerics.exponential import exp_nonpositive
from mpcrt.numerics.extrema import max_reduce
from mpcrt.numerics.fuzzy import argument, below
from mpcrt.numerics.normalised import KEPT, reciprocal, weighted
from mpcrt.numerics.notes import STABILISED
from mpcrt.numerics.saturated import series
from mpcrt.plan import Builder, Value

MOST_TERMS = 1 << 12


def divide(b: Builder, x: Value, y: Value) -> Value:
    """x / y for 2^-9 <= |y| < 2^20; error at most 2e-5 |x / y| + 2^-16. 6 rounds.

    A denominator that was broadcast is inverted before; a softmax's takes 3 to 5 rounds.
    """
    inverse = through_layout(b, y, lambda v: inverted(b, v))
    if b.split(inverse) is not None:
        return b.truncate(b.mul(x, inverse))
    x, inverse = b.broadcasted(b.truncate(x), inverse)
    return b.truncate(b.one("mul", inverse, x))


def inverted(b: Builder, y: Value) -> Value:
    terms = softmax_terms(b, y)
    return reciprocal_from_one(b, y, terms) if terms else reciprocal(b, y)


def through_layout(b: Builder, x: Value, function: Callable[[Value], Value]) -> Value:
    """function(x), evaluated before the broadcasts and reshapes that made x."""
    node = b.node(x)
    if node.op == "broadcast":
        inner = through_layout(b, b.operands(x)[0], function)
        return b.broadcast(inner, node.attrs["shape"], node.attrs["dims"])
    if node.op == "reshape":
        return b.reshape(through_layout(b, b.operands(x)[0], function), node.attrs["shape"])
    return function(x)


def softmax_terms(b: Builder, y: Value) -> int:
    """n if y is a sum over n values e^(x - max x) that holds the largest's, e^0; else 0."""
    node = b.node(y)
    if node.op != "sum":
        return 0
    (e,) = b.operands(y)
    note = b.notes.get(e.number)
    if note is None or note[0] != STABILISED or not set(note[1]) <= set(node.attrs["axes"]):
        return 0
    within = math.prod(e.shape[a] for a in note[1])
    terms = math.prod(e.shape[a] for a in node.attrs["axes"])
    return terms if terms == within and 1 <= terms <= MOST_TERMS else 0


def reciprocal_from_one(b: Builder, x: Value, high: int) -> Value:
    """1 / x for 1 <= x <= high (3% below and 1% above allowed); absolute error at most 1.5e-5, of KEPT bits or more.

    2 rounds up to 32: open, truncate. Beyond: 4, a 17-bit comparison and its bit's opening beside the truncation.
    """
    log = max(1, math.ceil(math.log2(high)))
    if log in RECIPROCAL:
        return b.truncate(series(b, x, RECIPROCAL[log], False), KEPT)
    x = argument(b, x)
    pieces = range((log + 1) // 2)
    parts = [b.reshape(series(b, x, RECIPROCAL[2], False, scale=4.0**j), (1, *x.shape)) for j in pieces]
    sampled = b.truncate(b.one("concat", *parts, axis=0), KEPT)
    width = x.fraction + log + 2
    reached = [b.reshape(b.not_(below(b, x, 4.0**j, 2 * j - 6, width)), (1, *x.shape)) for j in pieces[1:]]
    first = b.not_(reached[0])
    within = [first, *(b.xor(p, q) for p, q in pairwise(reached)), reached[-1]]
    chosen = b.one("select", b.concat(within, 0), sampled)
    last = 2 * (len(pieces) - 1)
    value = weighted(b, chosen, [1 << (last - 2 * j) for j in pieces])
    return b.one("scale", value, fraction=KEPT + last)


def softmax(b: Builder, x: Value, axis: int) -> Value:
    """e^x / sum e^x along an axis: absolute error at most 5e-5. 18 rounds for 17 to 32 terms, 20 up to 256."""
    axis %= len(x.shape)
    shape = tuple(1 if i == axis else n for i, n in enumerate(x.shape))
    top = b.reshape(max_reduce(b, x, (axis,)), shape)
    e = exp_nonpositive(b, b.sub(x, top))
    return divide(b, e, b.broadcast(b.reshape(b.sum(e, (axis,)), shape), x.shape))
