"""The one place from which the other rooms import kernels.

The native module `mpcrt.ring._native` is used where it was built; otherwise `mpcrt.ring.reference`, with one warning.
Both give the same bits.
"""

import importlib
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from mpcrt.ring import reference
from mpcrt.ring.blocks import CompareSpec, Level
from mpcrt.ring.reference_steps import Factor, Row, TermProduct
from mpcrt.ring.samples import Basis
from mpcrt.ring.sources import Drawing, Source

_MODULES = {"reference": "mpcrt.ring.reference", "native": "mpcrt.ring.compiled"}


def available() -> tuple[str, ...]:
    """The kernel sets that this installation has, the fastest first."""
    try:
        importlib.import_module(_MODULES["native"])
    except ImportError:
        return ("reference",)
    return ("native", "reference")


def _fastest() -> ModuleType:
    name = available()[0]
    if name == "reference":
        warnings.warn(
            "mpcrt runs without its native kernels (slower); install a C++ compiler and reinstall mpcrt",
            RuntimeWarning,
            stacklevel=3,
        )
    return importlib.import_module(_MODULES[name])


_active: Any = _fastest()


def use(name: str) -> None:
    """Select "native" or "reference" for this process; Prg objects made before keep theirs.

    Raises:
        ValueError: another name.
        ImportError: the native module was not built.
    """
    global _active
    if name not in _MODULES:
        raise ValueError(f"kernels are 'native' or 'reference', not {name!r}")
    _active = importlib.import_module(_MODULES[name])


def active() -> str:
    """Which kernels run: "native" or "reference"."""
    return "reference" if _active is reference else "native"


def keep_memory() -> None:
    """Make the heap a pool in huge pages: a page's first touch costs more than most kernels' work on it."""
    keep = getattr(_active, "keep_memory", None)
    if keep is not None:
        keep()


def Prg(key: bytes) -> Any:
    """The pseudo-random generator of a 16-byte key; see reference.Prg."""
    return _active.Prg(key)


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a[B, M, K] @ b[B, K, N] mod 2^64; see reference.matmul."""
    return _active.matmul(a, b, out)


def conv(
    x: np.ndarray,
    k: np.ndarray,
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """x[N, *spatial, C] with k[*spatial, C / groups, O] to [N, *out, O] mod 2^64; see reference.conv."""
    return _active.conv(
        x, k, strides=strides, padding=padding, lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation, groups=groups
    )


def pack(bits: np.ndarray) -> np.ndarray:
    """uint8[n] of zeros and ones to uint64[ceil(n / 64)]; see reference.pack."""
    return _active.pack(bits)


def unpack(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of packed words, as uint8[n]; see reference.unpack."""
    return _active.unpack(words, n)


def deal_tables(
    mask: Source, n: int, spec: CompareSpec, less: tuple[Drawing, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The comparison tables of n masks less what others draw, and the masks' signs; see blocks.deal_tables."""
    return _active.deal_tables(mask, n, spec, less)


def look_up(
    opened: np.ndarray, tables: Source, spec: CompareSpec, lead: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes, and D's signs; see blocks.look_up."""
    return _active.look_up(opened, tables, spec, lead)


def gather(level: Level, lt: np.ndarray, eq: np.ndarray, mask: Source) -> np.ndarray:
    """The planes that a level of the tree opens, masked; see blocks.gather."""
    return _active.gather(level, lt, eq, mask)


def deal_products(
    level: Level, superblocks: int, width: int, masks: Source, less: tuple[Drawing, ...] = ()
) -> np.ndarray:
    """The products of a level's masks less what others draw of them; see blocks.deal_products."""
    return _active.deal_products(level, superblocks, width, masks, less)


def evaluate(
    level: Level,
    opened: np.ndarray,
    masks: Source,
    products: Source,
    lt: np.ndarray,
    eq: np.ndarray,
    lead: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each node's lt' and eq'; see blocks.evaluate."""
    return _active.evaluate(level, opened, masks, products, lt, eq, lead)


def evaluate_samples(basis: Basis, d: np.ndarray, shares: Source, out: np.ndarray | None = None) -> np.ndarray:
    """A party's share of a sampled function, from D and its samples' shares; see reference.evaluate_samples."""
    return _active.evaluate_samples(basis, d, shares, out)


def deal_samples(basis: Basis, mask: Source, n: int, less: tuple[Drawing, ...] = ()) -> np.ndarray:
    """The samples of n masks less the drawn words; the dealer's, in floating point; see reference.deal_samples."""
    return _active.deal_samples(basis, mask, n, less)


def cross(
    dx: np.ndarray, dy: np.ndarray, lx: Source, ly: Source, mask: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead dx dy - dx ly - lx dy + mask: a party's share of a product; see reference_steps.cross."""
    return _active.cross(dx, dy, lx, ly, mask, lead, out)


def absorb(lx: Source, ly: Source, mask: Source, out: np.ndarray) -> np.ndarray:
    """mask - lx ly: the mask of an opened product; see reference_steps.absorb."""
    return _active.absorb(lx, ly, mask, out)


def settle(
    opened: np.ndarray, bits: int, sign: Source, top: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead P + q 2^(64-k) m - R: a party's share of what is truncated; see reference_steps.settle."""
    return _active.settle(opened, bits, sign, top, lead, out)


def select(
    bits: np.ndarray,
    beta: Source,
    lead: bool,
    opened: np.ndarray,
    drop: int = 0,
    terms: Sequence[tuple[Source, Source]] = (),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """My share of a selected value, from the public bits and the dealt shares; see reference_steps.select."""
    return _active.select(bits, beta, lead, opened, drop, terms, out)


def multiply(
    x: Factor, y: Factor, products: Sequence[TermProduct], lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """My share of the product of two factors but the dealer's term; see reference_steps.multiply."""
    return _active.multiply(x, y, products, lead, out)


def deal(n: int, mask: Source, bits: np.ndarray | None, rows: Sequence[Row]) -> np.ndarray:
    """The dealer's vectors, each the (selected) mask shifted, less what others draw; see reference_steps.deal."""
    return _active.deal(n, mask, bits, rows)
