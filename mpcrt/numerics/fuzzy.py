"""Comparisons that may be off by a grain, and arguments as the functions want them.

A threshold that a function only needs roughly drops the low bits of the compared difference: fewer blocks, fewer bytes.
"""

import math

import numpy as np

from mpcrt.plan import Builder, Value
from mpcrt.ring.codec import encode

REAL_BITS = 48
MAX_ARGUMENT_FRACTION = 46


def argument(b: Builder, x: Value) -> Value:
    """x as a function's argument: reals, untruncated where possible, since the opening of the truncation serves."""
    if x.fraction < b.fraction:
        return b.align(x, b.fraction)
    if x.fraction > MAX_ARGUMENT_FRACTION:
        return b.truncate(x)
    node = b.node(x)
    if node.op == "truncate":
        (finer,) = b.operands(x)
        if finer.fraction <= MAX_ARGUMENT_FRACTION:
            return finer
    return x


def affine(b: Builder, x: Value) -> tuple[Value, float, float]:
    """(v, c, d) with x = c (v + d), 1/2 < c <= 1, v free of public factors, sums and truncations as far as can be seen.

    A function that scales with a power of its argument takes v + d directly: its truncations' rounds are saved.
    """
    v, c, d = x, 1.0, 0.0
    while True:
        node = b.node(v)
        operands = b.operands(v)
        same = node.op in ("reshape", "broadcast") and operands[0].type.size == v.type.size
        if same or node.op in ("truncate", "shift"):
            (v,) = operands
        elif node.op == "scale":
            c *= 2.0 ** (operands[0].fraction - v.fraction)
            d *= 2.0 ** (v.fraction - operands[0].fraction)
            (v,) = operands
        elif node.op in ("mul", "add"):
            number, inner = b.number(operands[0]), operands[1]
            if number is None:
                number, inner = b.number(operands[1]), operands[0]
            if number is None or inner.shape != v.shape or (node.op == "mul" and number <= 0):
                break
            if node.op == "mul":
                c, d = c * number, d / number
            else:
                d += number
            v = inner
        else:
            break
    mantissa, exponent = math.frexp(c)
    if mantissa == 0.5:
        mantissa, exponent = 1.0, exponent - 1
    fraction = v.fraction - exponent
    d = math.ldexp(d, exponent)
    inside = b.fraction <= fraction <= MAX_ARGUMENT_FRACTION and abs(d) < 2.0 ** (60 - fraction)
    if v.type.public or not inside:
        return argument(b, x), 1.0, 0.0
    v = b.one("scale", v, fraction=fraction) if exponent else v
    return b.reshape(v, x.shape), mantissa, d


def window(b: Builder, x: Value) -> int:
    """Bits that hold x and its sign: 48 at the usual fraction; up to 63 for an untruncated product."""
    return min(REAL_BITS + x.fraction - b.fraction, 63)


def shifted(b: Builder, x: Value, offset: float | np.ndarray) -> Value:
    """x + offset, the offset rounded to x's fraction bits."""
    word = encode(np.ldexp(np.asarray(offset, np.float64), x.fraction), 0, "a threshold")
    return b.add(x, b.ring_constant(np.asarray(word, np.uint64), x.fraction))


def below(b: Builder, x: Value, threshold: float, grain: int, bits: int | None = None) -> Value:
    """[x < threshold], certain where x >= threshold or x < threshold - 2^grain; a public coin in between.

    Precondition: |x| < 2^(bits - 1 - x.fraction), by default what `window` says. Two rounds, one up to 17 bits.
    """
    drop = max(0, x.fraction + grain)
    total = window(b, x) if bits is None else bits
    return b.negative(shifted(b, x, -threshold), max(total - drop, 2), drop)


def at_least(b: Builder, x: Value, threshold: float, grain: int, bits: int | None = None) -> Value:
    """[x >= threshold], up to 2^grain below the threshold."""
    return b.not_(below(b, x, threshold, grain, bits))
