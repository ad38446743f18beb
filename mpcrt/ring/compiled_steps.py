"""Elementwise protocol steps by the native module, with the interface of mpcrt.ring.reference_steps."""

from collections.abc import Sequence

import numpy as np

from mpcrt.ring import _native, reference_steps


def cross(dx: np.ndarray, dy: np.ndarray, lx: np.ndarray | None, ly: np.ndarray | None, lead: bool) -> np.ndarray:
    """lead dx dy - dx ly - lx dy; see reference_steps.cross."""
    dx, dy = np.ascontiguousarray(dx).reshape(-1), np.ascontiguousarray(dy).reshape(-1)
    out = np.empty(dx.size, np.uint64)
    _native.cross(dx, dy, lx, ly, lead, out)
    return out


def settle(opened: np.ndarray, bits: int, sign: np.ndarray, lead: bool) -> np.ndarray:
    """lead P + q 2^(64-k) m; see reference_steps.settle."""
    if not 0 < bits < 64:
        return reference_steps.settle(opened, bits, sign, lead)
    opened = np.ascontiguousarray(opened).reshape(-1)
    out = np.empty(opened.size, np.uint64)
    _native.settle(opened, bits, np.ascontiguousarray(sign), lead, out)
    return out


def select(
    bits: np.ndarray,
    beta: np.ndarray,
    lead: bool,
    factor: np.ndarray | None,
    terms: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = (),
) -> np.ndarray:
    """A (c + g beta) + sum of c_j (c a_j + g beta a_j); see reference_steps.select."""
    out = np.empty(beta.size, np.uint64)
    factor = None if factor is None else np.ascontiguousarray(factor).reshape(-1)
    _native.select(bits, beta, factor, list(terms), lead, out)
    return out
