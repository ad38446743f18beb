"""Fixed point in Z_2^64: a real number v with f fraction bits is the ring element round(v 2^f) mod 2^64.

Negative values are two's complement. Inputs are bounded so that the difference of any two still fits the
48-bit comparison and any product of two moderate values stays below 2^62, the range that truncation needs.
"""

import numpy as np

from mpcrt.errors import InputError

RING_BITS = 64
INPUT_BITS = 46  # |round(v 2^f)| < 2^46: |v| < 2^28 at 18 fraction bits
INTEGER_BITS = 62  # integers are exact while below 2^62 in magnitude


def limit(fraction: int) -> float:
    """The magnitude from which a value with `fraction` fraction bits is refused at input."""
    return 2.0 ** ((INPUT_BITS if fraction else INTEGER_BITS) - fraction)


def encode(values, fraction: int, what: str = "value") -> np.ndarray:
    """Floats (or integers with fraction 0) -> uint64, rounding half to even.

    Raises InputError, naming `what`, for NaN, infinity or a magnitude of `limit(fraction)` and above.
    """
    values = np.asarray(values)
    if values.dtype == np.uint64:
        if fraction == 0 and values.size and values.max() >= np.uint64(1 << INTEGER_BITS):
            raise InputError(f"{what}: an integer of 2^{INTEGER_BITS} or more cannot be shared exactly")
        if fraction == 0:
            return np.ascontiguousarray(values)
    if values.dtype.kind in "iub" and fraction == 0:
        whole = values.astype(np.int64)
        if whole.size and (whole.max() >= 1 << INTEGER_BITS or whole.min() <= -(1 << INTEGER_BITS)):
            raise InputError(f"{what}: an integer of 2^{INTEGER_BITS} or more cannot be shared exactly")
        return whole.view(np.uint64)
    real = values.astype(np.float64)
    if not np.isfinite(real).all():
        bad = "NaN" if np.isnan(real).any() else "infinity"
        raise InputError(f"{what}: contains {bad}, which fixed point cannot represent; clean or clip it first")
    bound = limit(fraction)
    if real.size and max(real.max(), -real.min()) >= bound:
        raise InputError(
            f"{what}: magnitude {bound:.3g} and above does not fit fixed point with {fraction} fraction bits; "
            "scale it down first"
        )
    return np.round(np.ldexp(real, fraction)).astype(np.int64).view(np.uint64)


def decode(words: np.ndarray, fraction: int, dtype=np.float64) -> np.ndarray:
    """uint64 -> `dtype`: signed integer value / 2^fraction. Integers wrap to `dtype` as NumPy does."""
    signed = words.view(np.int64)
    if np.dtype(dtype).kind in "iu":
        return signed.astype(dtype) if fraction == 0 else (signed >> np.int64(fraction)).astype(dtype)
    return np.ldexp(signed.astype(np.float64), -fraction).astype(dtype)
