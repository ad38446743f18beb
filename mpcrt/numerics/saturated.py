"""Functions that saturate: a trigonometric series inside (-T, T), constants or x itself outside.

F is the odd or even part of the function; the series of period P is evaluated by dealer samples, local from a public D,
while two comparisons that drop low bits find the side: lo = [x >= -T + 1/4], hi = [x >= T], each up to 1/4 less.
Their opened bits select the truncated series. 3 rounds from a wire: compare 2, open 1; the truncation runs beside.
"""

import math

from mpcrt.numerics.coefficients import SATURATED, Fit
from mpcrt.numerics.fuzzy import argument, at_least
from mpcrt.plan import Builder, Value

PUBLIC_BITS = 20
FINE = 50  # 32 bits over the result's 18: the truncation then deals 4 B for its sign, not 8


def series(b: Builder, x: Value, fit: Fit, odd: bool, constant: float = 0.0, scale: float = 1.0) -> Value:
    """constant + the fit's series in x / scale (scale a power of two), of FINE fraction bits; shares, no round."""
    multiplier = round(2.0**64 / (fit.period * scale * 2.0**x.fraction))
    whole = round(math.ldexp(constant, FINE))
    parameters = (x.fraction, odd, multiplier, fit.first, fit.step, PUBLIC_BITS, whole, fit.coefficients)
    return b.samples(x, "series", FINE, parameters)


def sides(b: Builder, x: Value, limit: float) -> tuple[Value, Value]:
    """lo = [x >= 1/4 - limit] and hi = [x >= limit], each up to 1/4 less."""
    return at_least(b, x, 0.25 - limit, -2), at_least(b, x, limit, -2)


def sigmoid(b: Builder, x: Value) -> Value:
    """1 / (1 + e^-x) everywhere; error at most 5e-5. 3 rounds, 160 B of samples."""
    x = argument(b, x)
    fit = SATURATED["sigmoid"]
    inside = b.truncate(series(b, x, fit, True, 0.5))
    lo, hi = sides(b, x, fit.limit)
    return b.add(b.select(b.xor(lo, hi), inside), b.to_ring(hi))


def _odd(b: Builder, x: Value, name: str) -> Value:
    """inside F, and +-1: select(lo ^ hi, F) + hi + lo - 1."""
    x = argument(b, x)
    fit = SATURATED[name]
    inside = b.truncate(series(b, x, fit, True))
    lo, hi = sides(b, x, fit.limit)
    ends = b.add(b.add(b.to_ring(hi), b.to_ring(lo)), b.integer(-1))
    return b.add(b.select(b.xor(lo, hi), inside), ends)


def tanh(b: Builder, x: Value) -> Value:
    """tanh x everywhere; error at most 7e-5. 3 rounds, 192 B of samples."""
    return _odd(b, x, "tanh")


def erf(b: Builder, x: Value) -> Value:
    """erf x everywhere; error at most 4e-5. 3 rounds, 96 B of samples."""
    return _odd(b, x, "erf")


def erfc(b: Builder, x: Value) -> Value:
    """1 - erf x, with erf's absolute error."""
    return b.sub(b.real(1.0), erf(b, x))


def _even(b: Builder, x: Value, name: str) -> Value:
    """F + x/2 inside, x above, 0 below; x/2 joins the series before its truncation."""
    x = argument(b, x)
    fit = SATURATED[name]
    half = b.one("scale", x, fraction=x.fraction + 1)
    inside = b.truncate(b.one("add", series(b, x, fit, False), b.one("shift", half, bits=FINE - half.fraction)))
    lo, hi = sides(b, x, fit.limit)
    return b.add(b.select(b.xor(lo, hi), inside), b.select(hi, x))


def gelu(b: Builder, x: Value, approximate: bool = True) -> Value:
    """x Phi(x), or its tanh form; error at most 6e-5. 3 rounds, 144 B of samples."""
    return _even(b, x, "gelu_tanh" if approximate else "gelu")


def silu(b: Builder, x: Value) -> Value:
    """x sigmoid(x) everywhere; error at most 1e-4. 3 rounds, 256 B of samples."""
    return _even(b, x, "silu")


def softplus(b: Builder, x: Value) -> Value:
    """log(1 + e^x) everywhere; error at most 6e-5. 3 rounds, 208 B of samples."""
    return _even(b, x, "softplus")
