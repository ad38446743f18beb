"""Sampled functions by the native module, with the interface of mpcrt.ring.samples.

The parties' sums have the same bits as there; the dealer's samples, floating point of its own, may
differ in the last unit.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mpcrt.ring import _native, samples, tables
from mpcrt.ring.compiled_prg import NativePrg
from mpcrt.ring.reference import Drawing, drawn
from mpcrt.ring.samples import COEFFICIENT_BITS, Basis, Chebyshev, Exp, Series


def evaluate_samples(basis: Basis, d: np.ndarray, shares: np.ndarray | Drawing) -> np.ndarray:
    """sum_i phi_i(D_low) S_i[D_top] mod 2^64; see reference.evaluate_samples."""
    flat = np.ascontiguousarray(d).reshape(-1)
    place = None if isinstance(shares, np.ndarray) else _place(*shares, flat.size)
    if place is not None and not isinstance(basis, Chebyshev):
        memory = None
    else:
        memory, place = np.ascontiguousarray(drawn(basis, d, shares)).reshape(-1), None
    out = np.empty_like(flat)
    if isinstance(basis, Exp):
        origin = (basis.offset << basis.input_fraction) % 2**64
        bits = basis.input_fraction + 3
        table = tables.exponential()
        _native.exp_sum(flat, memory, place, origin, bits, basis.public_bits, table, tables.EXP_BITS, out)
    elif isinstance(basis, Series):
        sizes = basis.multiplier, basis.first, basis.step, len(basis.coefficients), basis.public_bits
        _native.series_sum(flat, memory, place, *sizes, *tables.trigonometric(), out)
    else:
        assert memory is not None
        sizes = basis.window_bits, basis.table_bits, basis.degree, basis.public_bits
        _native.chebyshev_sum(flat, memory, *sizes, out)
    return out.reshape(d.shape)


def deal_samples(basis: Basis, mask: np.ndarray, less: Sequence[Drawing] = ()) -> np.ndarray:
    """The samples of masks less the drawn words, uint64[words, n]; see reference.deal_samples."""
    flat = np.ascontiguousarray(mask).reshape(-1)
    places = [p for p in (_place(*drawing, flat.size) for drawing in less) if p is not None]
    if isinstance(basis, Chebyshev) or len(places) < len(less):
        out = basis.deal(mask) if isinstance(basis, Chebyshev) else deal_samples(basis, mask)
        for prg, stream, offset in less:
            prg.subtract(stream, out, offset)
        return out
    out = np.empty((samples.words(basis), flat.size), np.uint64)
    if isinstance(basis, Exp):
        table, steps = _exponentials(basis.offset, basis.fraction - basis.public_bits)
        unit = math.ldexp(1.0, -basis.input_fraction)
        _native.exp_deal(flat, basis.input_fraction + 3, unit, table, steps, places, out)
    else:
        scale = 2.0 ** (basis.fraction - basis.public_bits - COEFFICIENT_BITS)
        coefficients = np.array([a * scale for a in basis.coefficients])
        _native.series_deal(
            flat, basis.multiplier, basis.first, basis.step, basis.odd, coefficients, *_directions(), places, out
        )
    return out.reshape(-1, *mask.shape)


def _place(prg: Any, stream: int, offset: int, n: int) -> tuple[_native.Key, int, int, int] | None:
    """The stream's place for kernels that draw as they go, None where they cannot."""
    if not isinstance(prg, NativePrg) or n % 2 or offset % 2:
        return None
    return prg.key, stream >> 24, stream & 0xFFFFFF, offset


@cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi i / 2^TURN_BITS."""
    angles = np.arange(1 << tables.TURN_BITS) * (2 * math.pi / (1 << tables.TURN_BITS))
    return np.cos(angles), np.sin(angles)


@cache
def _exponentials(offset: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """e^(offset - i / 128) 2^scale for i < 1024, and e^(-8 k) for k < 4."""
    return np.ldexp(np.exp(offset - np.arange(1024) / 128), scale), np.exp(-8.0 * np.arange(4))
