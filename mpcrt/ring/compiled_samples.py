"""Sampled functions by the native module, with the interface of mpcrt.ring.samples.

The parties' sums have the same bits as there; the dealer's samples, floating point of its own, may
differ in the last unit.
"""

import math
from functools import cache

import numpy as np

from mpcrt.ring import _native, samples, tables
from mpcrt.ring.compiled_prg import drawable
from mpcrt.ring.reference_steps import placed
from mpcrt.ring.samples import COEFFICIENT_BITS, Basis, Chebyshev, Exp, Series
from mpcrt.ring.sources import Drawing, Source, drawn


def evaluate_samples(basis: Basis, d: np.ndarray, shares: Source, out: np.ndarray | None = None) -> np.ndarray:
    """sum_i phi_i(D_low) S_i[D_top] mod 2^64; see reference.evaluate_samples."""
    d = np.ascontiguousarray(d).reshape(-1)
    out = placed(out, d.size)
    if isinstance(basis, Exp):
        origin = (basis.offset << basis.input_fraction) % 2**64
        bits, table = basis.input_fraction + 3, tables.exponential()
        _native.exp_sum(d, shares, origin, bits, basis.public_bits, table, tables.EXP_BITS, out)
    elif isinstance(basis, Series):
        sizes = basis.multiplier, basis.first, basis.step, len(basis.coefficients), basis.public_bits
        _native.series_sum(d, shares, *sizes, *tables.trigonometric(), out)
    else:
        sizes = basis.window_bits, basis.table_bits, basis.degree, basis.public_bits
        _native.chebyshev_sum(d, np.ascontiguousarray(drawn(shares, samples.words(basis) * d.size)), *sizes, out)
    return out


def deal_samples(basis: Basis, mask: Source, n: int, less: tuple[Drawing, ...] = ()) -> np.ndarray:
    """The samples of n masks less what others draw of them, uint64[words, n]; see reference.deal_samples."""
    if isinstance(basis, Chebyshev) or not drawable(less):
        out = basis.deal(drawn(mask, n)) if isinstance(basis, Chebyshev) else deal_samples(basis, mask, n)
        for prg, stream, offset in less:
            prg.subtract(stream, out, offset)
        return out
    out = np.empty((samples.words(basis), n), np.uint64)
    if isinstance(basis, Exp):
        table, steps = _exponentials(basis.offset, basis.fraction - basis.public_bits)
        unit = math.ldexp(1.0, -basis.input_fraction)
        _native.exp_deal(mask, n, basis.input_fraction + 3, unit, table, steps, less, out)
    else:
        scaled = _scaled(basis.coefficients, basis.fraction - basis.public_bits - COEFFICIENT_BITS)
        sizes = n, basis.multiplier, basis.first, basis.step, basis.odd
        _native.series_deal(mask, *sizes, scaled, *_directions(), less, out)
    return out


@cache
def _scaled(coefficients: tuple[int, ...], scale: int) -> np.ndarray:
    """The coefficients times 2^scale."""
    return np.array([a * 2.0**scale for a in coefficients])


@cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi i / 2^TURN_BITS."""
    angles = np.arange(1 << tables.TURN_BITS) * (2 * math.pi / (1 << tables.TURN_BITS))
    return np.cos(angles), np.sin(angles)


@cache
def _exponentials(offset: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """e^(offset - i / 128) 2^scale for i < 1024, and e^(-8 k) for k < 4."""
    return np.ldexp(np.exp(offset - np.arange(1024) / 128), scale), np.exp(-8.0 * np.arange(4))
