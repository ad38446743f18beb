"""Sampled functions by the native module, with the interface of mpcrt.ring.samples.

The parties' sums have the same bits as there; the dealer's samples, floating point of its own, may
differ in the last unit.
"""

import math
from functools import cache

import numpy as np

from mpcrt.ring import _native, samples, tables
from mpcrt.ring.samples import COEFFICIENT_BITS, Basis, Chebyshev, Exp, Series


def evaluate_samples(basis: Basis, d: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """sum_i phi_i(D_low) S_i[D_top] mod 2^64; see samples.evaluate."""
    flat = np.ascontiguousarray(d).reshape(-1)
    shares = np.ascontiguousarray(shares).reshape(-1)
    out = np.empty_like(flat)
    if isinstance(basis, Exp):
        origin = (basis.offset << basis.input_fraction) % 2**64
        bits = basis.input_fraction + 3
        table = tables.exponential()
        _native.exp_sum(flat, shares, origin, bits, basis.public_bits, table, tables.EXP_BITS, out)
    elif isinstance(basis, Series):
        turns = tables.trigonometric()
        harmonics = len(basis.coefficients)
        _native.series_sum(
            flat, shares, basis.multiplier, basis.first, basis.step, harmonics, basis.public_bits, *turns, out
        )
    else:
        assert isinstance(basis, Chebyshev)
        sizes = basis.window_bits, basis.table_bits, basis.degree, basis.public_bits
        _native.chebyshev_sum(flat, shares, *sizes, out)
    return out.reshape(d.shape)


def deal_samples(basis: Basis, mask: np.ndarray) -> np.ndarray:
    """The samples of masks, in the clear, uint64[words, n]; see samples.Exp.deal and samples.Series.deal."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    out = np.empty((samples.words(basis), flat.size), np.uint64)
    if isinstance(basis, Exp):
        table, steps = _exponentials(basis.offset, basis.fraction - basis.public_bits)
        _native.exp_deal(flat, basis.input_fraction + 3, math.ldexp(1.0, -basis.input_fraction), table, steps, out)
    elif isinstance(basis, Series):
        scale = 2.0 ** (basis.fraction - basis.public_bits - COEFFICIENT_BITS)
        coefficients = np.array([a * scale for a in basis.coefficients])
        _native.series_deal(
            flat, basis.multiplier, basis.first, basis.step, basis.odd, coefficients, *_directions(), out
        )
    else:
        return basis.deal(mask)
    return out.reshape(-1, *mask.shape)


@cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi i / 2^TURN_BITS."""
    angles = np.arange(1 << tables.TURN_BITS) * (2 * math.pi / (1 << tables.TURN_BITS))
    return np.cos(angles), np.sin(angles)


@cache
def _exponentials(offset: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """e^(offset - i / 128) 2^scale for i < 1024, and e^(-8 k) for k < 4."""
    return np.ldexp(np.exp(offset - np.arange(1024) / 128), scale), np.exp(-8.0 * np.arange(4))
