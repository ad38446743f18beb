"""Constant tables of the public bases, made once with integers alone, so that every CPU has the same bits.

Each table starts from a Taylor sum in 160-bit fixed point of Python integers and is rounded half up.
"""

from functools import cache

import numpy as np

TURN_BITS = 9
TRIG_BITS = 30
EXP_BITS = 22
_WORK = 160


def _rounded(value: int, bits: int) -> int:
    """`value` of _WORK fraction bits, rounded to `bits`."""
    return (value + (1 << (_WORK - bits - 1))) >> (_WORK - bits)


def _arctan_inverse(n: int) -> int:
    term, total, k = (1 << _WORK) // n, 0, 0
    while term:
        total += (-term if k % 2 else term) // (2 * k + 1)
        term, k = term // (n * n), k + 1
    return total


@cache
def trigonometric() -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi i / 2^TURN_BITS, int64 of TRIG_BITS fraction bits."""
    pi = 4 * (4 * _arctan_inverse(5) - _arctan_inverse(239))  # Machin
    one = 1 << _WORK
    step = 2 * pi >> TURN_BITS
    cos1, sin1, term, k = one, 0, one, 1
    while term:
        term = (term * step >> _WORK) // k
        signed = -term if k % 4 in (2, 3) else term
        if k % 2:
            sin1 += signed
        else:
            cos1 += signed
        k += 1
    cosines, sines, c, s = [], [], one, 0
    for _ in range(1 << TURN_BITS):
        cosines.append(_rounded(c, TRIG_BITS))
        sines.append(_rounded(s, TRIG_BITS))
        c, s = (c * cos1 - s * sin1) >> _WORK, (c * sin1 + s * cos1) >> _WORK
    return np.array(cosines, np.int64), np.array(sines, np.int64)


@cache
def exponential() -> np.ndarray:
    """e^(i / 128) for i < 1024, int64 of EXP_BITS fraction bits."""
    one = 1 << _WORK
    ratio, term, k = one, one, 1
    while term:
        term = (term >> 7) // k
        ratio, k = ratio + term, k + 1
    entries, value = [], one
    for _ in range(1024):
        entries.append(_rounded(value, EXP_BITS))
        value = value * ratio >> _WORK
    return np.array(entries, np.int64)
