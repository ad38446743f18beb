"""e^x by dealer samples (ring/samples.py, Exp), and functions of it."""

from mpcrt.numerics.fuzzy import argument, at_least
from mpcrt.numerics.notes import note_exponential
from mpcrt.plan import Builder, Value

SPARE_BITS = 4
"""Fraction bits of exp_nonpositive beyond the usual, for the sake of long sums of it."""


def exp(b: Builder, x: Value) -> Value:
    """e^x for x < 13. Error at most 7e-5 absolute for x <= 0; 2e-5 relative + 2e-5 for x > 0.

    Below -10 the result becomes 0. From 13 on it is wrong: e^13 2^43 reaches the ring's bound.
    3 rounds from a wire: [x >= -10] to 1, opened, beside samples and truncation; 32 B of samples.
    """
    x = argument(b, x)
    sampled = b.samples(x, "exp", 43, (x.fraction, 13, 16))
    return b.select(at_least(b, x, -10.0, 0), b.truncate(sampled))


def exp_nonpositive(b: Builder, x: Value) -> Value:
    """e^x for x <= 0 (and below 1): absolute error at most 3e-6; 0 from -23 down. 3 rounds, 32 B of samples.

    The result has SPARE_BITS more fraction bits than ordinary reals.
    """
    given, x = x, argument(b, x)
    sampled = b.samples(x, "exp", 50, (x.fraction, 1, 20))
    result = b.one("select", at_least(b, x, -19.0, 2), b.truncate(sampled, b.fraction + SPARE_BITS))
    note_exponential(b, result, given)
    return result


def expm1(b: Builder, x: Value) -> Value:
    """e^x - 1 with exp's absolute error: near 0 that is not a small relative one."""
    return b.sub(exp(b, x), b.real(1.0))
