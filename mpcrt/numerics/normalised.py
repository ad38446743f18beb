"""reciprocal, rsqrt, sqrt, log and their kin, without Newton: normalise, look the function up, scale back.

1. b_j = [x >= 2^j], each a comparison that drops low bits: certain from 2^j, possible from 7/8 of it.
2. The opened bits scale x to x' = x 2^-k in [7/16, 1) or, for octaves of two, [7/32, 1): a sum of selects.
3. g(x') by dealer samples (ring/samples.py, Chebyshev) and one truncation.
4. The same bits scale back: g(x) = g(x') 2^-k, 2^(k/2), ..., or for the logarithm + k log 2.
6 rounds from a wire: compare 2, open the bits 1, expose x' 1, truncate 1, and the result's own opening 1 (log: 5).
Arguments of more than 18 fraction bits reach as far as 2^(60 - fraction) allows.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mpcrt.numerics.exponential import exp
from mpcrt.numerics.fuzzy import affine, shifted
from mpcrt.plan import Builder, Value
from mpcrt.ring.samples import FACTOR_BITS

HIGH = 20
PUBLIC_BITS = 20
FINE = 44
KEPT = 20  # fraction bits of g(x') once truncated
TOGETHER = 1 << 16
"""Comparisons that are one step, all as wide as the widest; with more of them each drops the bits it can."""


class Table(NamedTuple):
    """How g is looked up: thresholds every `octave` powers of two from 2^low, windows of 2^-window, `degree`."""

    octave: int
    low: int
    window: int
    degree: int
    table_bits: int


TABLES = {
    "reciprocal": Table(1, -9, 2, 5, 2),
    "rsqrt": Table(2, -18, 3, 4, 3),
    "sqrt": Table(2, -14, 3, 4, 3),
    "log": Table(2, -12, 3, 5, 3),
}
SIGNED = Table(1, -9, 2, 6, 3)
SIGNED_TOP = 0.875


class Normalised(NamedTuple):
    """x' (fraction bits included), the opened bits [thresholds, *shape] lowest first, and the exponents k of the result
    below the first threshold and after each."""

    value: Value
    bits: Value | None
    exponents: list[int]


def normalised(b: Builder, x: Value, table: Table, low: int, high: int, signed: bool, zero: bool) -> Normalised:
    """Steps 1 and 2 for |x| in [2^low, 2^high); with `zero` one more threshold at 2^low, under which x' is 0."""
    first = low + table.octave
    thresholds = ([low] if zero else []) + list(range(first, high, table.octave))
    together = len(thresholds) * x.type.size <= TOGETHER
    groups = [thresholds] if together else [[j] for j in thresholds]
    bits = [reached(b, x, group, high, signed) for group in groups if group]
    exponents = list(range(first, high + 1, table.octave))
    steps = weights([1 << (high - k) for k in exponents], zero)
    stacked = b.concat(bits, 0) if bits else None
    return Normalised(b.one("scale", stepped(b, stacked, x, steps), fraction=x.fraction + high), stacked, exponents)


def reached(b: Builder, x: Value, thresholds: list[int], high: int, signed: bool) -> Value:
    """[thresholds, *shape]: the bits [x >= 2^j], or with `signed` [|x| >= 2^j], j from the lowest."""
    top = SIGNED_TOP if signed else 1.0
    drop = max(0, x.fraction + thresholds[0] - 4)
    width = min(64 - drop, max(2, x.fraction + high - drop + 2))
    column = np.array([top * 15 / 16 * 2.0**j for j in thresholds]).reshape(-1, *(1,) * len(x.shape))
    wide = b.broadcast(b.reshape(x, (1, *x.shape)), (len(thresholds), *x.shape))
    above = b.not_(b.negative(shifted(b, wide, -column), width, drop))
    return b.xor(above, b.negative(shifted(b, wide, column), width, drop)) if signed else above


def weights(factors: list[int], zero: bool) -> list[int]:
    """What the base and each threshold's bit add, so that the sum is the factor of the highest threshold reached."""
    steps = [0, *factors] if zero else list(factors)
    return [steps[0], *(int(after - before) for before, after in pairwise(steps))]


def stepped(b: Builder, bits: Value | None, x: Value, steps: list[int]) -> Value:
    """x steps[0] + sum_i [bits_i] x steps[i + 1], exact, fraction bits as x's: local once the bits are open."""
    parts = []
    if steps[0]:
        parts.append(b.one("mul", b.ring_constant(np.asarray(steps[0], np.uint64)), x))
    if bits is not None:
        wide = b.broadcast(b.reshape(x, (1, *x.shape)), bits.shape)
        parts.append(weighted(b, b.one("select", bits, wide), steps[1:]))
    return parts[0] if len(parts) == 1 else b.one("add", *parts)


def weighted(b: Builder, parts: Value, steps: list[int], fraction: int = 0) -> Value:
    """sum over axis 0 of parts[i] steps[i], the steps of `fraction` bits."""
    column = np.asarray(steps, np.int64).view(np.uint64).reshape(-1, *(1,) * (len(parts.shape) - 1))
    constant = b.broadcast(b.ring_constant(column, fraction), parts.shape)
    return b.sum(b.one("mul", constant, parts), (0,))


def looked_up(
    b: Builder, n: Normalised, function: str, table: Table, signed: bool = False, factor: float = 1.0
) -> Value:
    """factor g(x') of FINE fraction bits; shares, no round."""
    unit = n.value.fraction
    top = SIGNED_TOP if signed else 1.0
    edge = round(7 / 8 * 2.0**-table.octave * top * 2**unit)
    low = -round(top * 2**unit) if signed else edge
    parameters = (unit, function, unit - table.window, table.table_bits, table.degree, low, edge, PUBLIC_BITS)
    if factor != 1.0:
        parameters += (round(factor * 2.0**FACTOR_BITS),)
    return b.samples(n.value, "chebyshev", FINE, parameters)


def scaled_back(b: Builder, n: Normalised, sampled: Value, powers: list[int], zero: bool) -> Value:
    """The sampled g(x'), truncated, times 2^power by the interval of x: exact, of up to KEPT - min(powers) bits."""
    t = b.truncate(sampled, KEPT)
    least = min(powers)
    steps = weights([1 << (p - least) for p in powers], zero)
    result = b.truncate(b.one("scale", stepped(b, n.bits, t, steps), fraction=KEPT - least))
    if n.bits is not None:
        scale = b.add(weighted(b, b.to_ring(n.bits), steps[1:]), b.integer(steps[0]))
        b.splits[result.number] = t, b.one("scale", scale, fraction=-least)
    return result


def reach(x: Value, table: Table) -> int:
    """The power of two up to which x is looked up: 2^20, less where the ring holds less of so fine an argument."""
    high = min(HIGH, 60 - x.fraction)
    return high - (high - table.low) % table.octave


def normalised_argument(b: Builder, x: Value, d: float, table: Table, signed: bool, zero: bool) -> Normalised:
    return normalised(b, shifted(b, x, d) if d else x, table, table.low, reach(x, table), signed, zero)


def reciprocal(b: Builder, x: Value, signed: bool = True) -> Value:
    """1 / x for 2^-9 <= |x| < 2^20; error at most 2e-5 |1/x| + 2^-17. Nearer to 0 it is wrong but below 2^14; beyond
    2^20, wrong and near 0. 6 rounds, 56 thresholds and 448 B of samples."""
    x, c, d = affine(b, x)
    table = SIGNED if signed else TABLES["reciprocal"]
    n = normalised_argument(b, x, d, table, signed, False)
    sampled = looked_up(b, n, "reciprocal", table, signed, 1 / c)
    return scaled_back(b, n, sampled, [-k for k in n.exponents], False)


def reciprocal_positive(b: Builder, x: Value) -> Value:
    """1 / x for 2^-9 <= x < 2^20, at about half of reciprocal's traffic; of other x, nothing useful."""
    return reciprocal(b, x, signed=False)


def rsqrt(b: Builder, x: Value) -> Value:
    """x^-1/2 for 2^-18 <= x < 2^20; error at most 4e-5 |y| + 2^-17. Of other x, nothing useful. 6 rounds, of which one
    is saved where something is multiplied by the result."""
    x, c, d = affine(b, x)
    table = TABLES["rsqrt"]
    n = normalised_argument(b, x, d, table, False, False)
    sampled = looked_up(b, n, "rsqrt", table, factor=c**-0.5)
    return scaled_back(b, n, sampled, [-k // 2 for k in n.exponents], False)


def sqrt(b: Builder, x: Value) -> Value:
    """x^1/2 for 0 <= x < 2^20; error at most 4e-5 y + 2^-17 from 2^-14 on; below, the result is 0 (error under 2^-7).
    6 rounds."""
    x, c, d = affine(b, x)
    table = TABLES["sqrt"]
    n = normalised_argument(b, x, d, table, False, True)
    sampled = looked_up(b, n, "sqrt", table, factor=c**0.5)
    return scaled_back(b, n, sampled, [k // 2 for k in n.exponents], True)


def log(b: Builder, x: Value) -> Value:
    """log x for 2^-12 <= x < 2^20; error at most 8e-6. Of other x, nothing useful. 5 rounds; the result has two more
    fraction bits than ordinary reals."""
    x, c, d = affine(b, x)
    table = TABLES["log"]
    n = normalised_argument(b, x, d, table, False, False)
    y = looked_up(b, n, "log", table)
    octave = math.log(2) * table.octave * 2.0**FINE
    base = round(n.exponents[0] // table.octave * octave + math.log(c) * 2.0**FINE)
    y = b.add(y, b.ring_constant(np.asarray(base % 2**64, np.uint64), FINE))
    if n.bits is not None:
        steps = [round(octave)] * (len(n.exponents) - 1)
        y = b.one("add", y, weighted(b, b.to_ring(n.bits), steps, FINE))
    return b.truncate(y, b.fraction + 2)


def log1p(b: Builder, x: Value) -> Value:
    """log(1 + x) with log's absolute error, for 1 + x in log's range."""
    return log(b, b.add(x, b.real(1.0)))


def power(b: Builder, x: Value, exponent: float) -> Value:
    """x^exponent = e^(exponent log x) for x in log's range and results below e^13 = 4.4e5.

    Error: exp's, plus a relative 1e-5 |exponent|. 8 rounds or 9.
    """
    y = b.mul(b.factor(np.asarray(exponent)), log(b, x))
    return exp(b, y)
