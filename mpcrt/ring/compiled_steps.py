"""Elementwise protocol steps by the native module, with the interface of mpcrt.ring.reference_steps."""

from collections.abc import Sequence

import numpy as np

from mpcrt.ring import _native, reference_steps
from mpcrt.ring.compiled_prg import drawable
from mpcrt.ring.reference_steps import Factor, Row, TermProduct, placed
from mpcrt.ring.sources import Source


def cross(
    dx: np.ndarray, dy: np.ndarray, lx: Source, ly: Source, mask: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead dx dy - dx ly - lx dy + mask; see reference_steps.cross."""
    out = placed(out, dx.size)
    _native.cross(np.ascontiguousarray(dx), np.ascontiguousarray(dy), lx, ly, mask, lead, out)
    return out


def absorb(lx: Source, ly: Source, mask: Source, out: np.ndarray) -> np.ndarray:
    """mask - lx ly; see reference_steps.absorb."""
    _native.absorb(lx, ly, mask, out)
    return out


def settle(
    opened: np.ndarray, bits: int, sign: Source, top: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead P + q 2^(64-k) m - R; see reference_steps.settle."""
    out = placed(out, opened.size)
    _native.settle(np.ascontiguousarray(opened), bits, sign, bits <= 32, top, lead, out)
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
    out = placed(out, opened.size)
    _native.select(bits, beta, lead, np.ascontiguousarray(opened), drop, terms, out)
    return out


def multiply(
    x: Factor, y: Factor, products: Sequence[TermProduct], lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """My share of the product of two factors but the dealer's term; see reference_steps.multiply."""
    out = placed(out, x[0].size)
    _native.multiply(x, y, products, lead, out)
    return out


def deal(n: int, mask: Source, bits: np.ndarray | None, rows: Sequence[Row]) -> np.ndarray:
    """The dealer's vectors less what others draw; see reference_steps.deal."""
    if not all([drawable(less) for _, _, less in rows]):
        return reference_steps.deal(n, mask, bits, rows)
    out = np.empty(sum([(n + 1) // 2 if narrow else n for _, narrow, _ in rows]), np.uint64)
    _native.deal(n, mask, bits, rows, out)
    return out
