"""Elementwise protocol steps by the native module, with the interface of mpcrt.ring.reference_steps."""

from collections.abc import Sequence

import numpy as np

from mpcrt.ring import _native, reference_steps
from mpcrt.ring.compiled_sources import given
from mpcrt.ring.reference_steps import Row, placed
from mpcrt.ring.sources import Source


def cross(
    dx: np.ndarray, dy: np.ndarray, lx: Source, ly: Source, mask: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead dx dy - dx ly - lx dy + mask; see reference_steps.cross."""
    dx, dy = np.ascontiguousarray(dx).reshape(-1), np.ascontiguousarray(dy).reshape(-1)
    n, out = dx.size, placed(out, dx.size)
    _native.cross(dx, dy, given(lx, n), given(ly, n), given(mask, n), lead, out)
    return out


def absorb(lx: Source, ly: Source, mask: Source, out: np.ndarray) -> np.ndarray:
    """mask - lx ly; see reference_steps.absorb."""
    _native.absorb(given(lx, out.size), given(ly, out.size), given(mask, out.size), out)
    return out


def settle(
    opened: np.ndarray, bits: int, sign: Source, top: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead P + q 2^(64-k) m - R; see reference_steps.settle."""
    opened = np.ascontiguousarray(opened).reshape(-1)
    n, out, narrow = opened.size, placed(out, opened.size), bits <= 32
    _native.settle(opened, bits, given(sign, n, narrow=narrow), narrow, given(top, n), lead, out)
    return out


def select(
    bits: np.ndarray,
    beta: Source,
    lead: bool,
    opened: np.ndarray,
    drop: int = 0,
    terms: Sequence[tuple[Source, Source]] = (),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A (c + g beta) + sum of c_j (c a_j + g beta a_j); see reference_steps.select."""
    opened = np.ascontiguousarray(opened).reshape(-1)
    n, out, narrow = opened.size, placed(out, opened.size), drop <= 32
    parts = [
        (given(share, n, narrow=j > 0 and narrow), given(crossed, n, narrow=j > 0 and narrow))
        for j, (share, crossed) in enumerate(terms)
    ]
    _native.select(bits, given(beta, n), lead, opened, drop, narrow, parts, out)
    return out


def deal(n: int, mask: Source, bits: np.ndarray | None, rows: Sequence[Row]) -> np.ndarray:
    """The dealer's vectors less what others draw; see reference_steps.deal."""
    less = [given(drawings, (n + 1) // 2 if narrow else n) for _, narrow, drawings in rows]
    if any(array is not None for array, _ in less):
        return reference_steps.deal(n, mask, bits, rows)
    out = np.empty(sum((n + 1) // 2 if narrow else n for _, narrow, _ in rows), np.uint64)
    native = [(shift, narrow, others) for (shift, narrow, _), others in zip(rows, less, strict=True)]
    _native.deal(n, given(mask, n), bits, native, out)
    return out
