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
from mpcrt.ring.samples import Basis

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
    """Have the allocator keep freed memory: a page's first touch costs more than most kernels' work on it."""
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


def bit_plane(values: np.ndarray, position: int) -> np.ndarray:
    """Bit `position` of each value, packed 64 a word; see reference.bit_plane."""
    return _active.bit_plane(values, position)


def deal_tables(mask: np.ndarray, spec: CompareSpec) -> np.ndarray:
    """The comparison tables of masks, in the clear; see blocks.deal_tables."""
    return _active.deal_tables(mask, spec)


def look_up(opened: np.ndarray, tables: np.ndarray, spec: CompareSpec, lead: bool) -> tuple[np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes; see blocks.look_up."""
    return _active.look_up(opened, tables, spec, lead)


def gather(level: Level, lt: np.ndarray, eq: np.ndarray) -> np.ndarray:
    """The planes that a level of the tree opens; see blocks.gather."""
    return _active.gather(level, lt, eq)


def deal_products(level: Level, masks: np.ndarray) -> np.ndarray:
    """The products of a level's masks, in the clear; see blocks.deal_products."""
    return _active.deal_products(level, masks)


def evaluate(
    level: Level,
    opened: np.ndarray,
    masks: np.ndarray,
    products: np.ndarray,
    lt: np.ndarray,
    eq: np.ndarray,
    lead: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each node's lt' and eq'; see blocks.evaluate."""
    return _active.evaluate(level, opened, masks, products, lt, eq, lead)


def evaluate_samples(basis: Basis, d: np.ndarray, shares: np.ndarray | reference.Drawing) -> np.ndarray:
    """A party's share of a sampled function, from D and its samples' shares; see reference.evaluate_samples."""
    return _active.evaluate_samples(basis, d, shares)


def deal_samples(basis: Basis, mask: np.ndarray, less: Sequence[reference.Drawing] = ()) -> np.ndarray:
    """The samples of masks less the drawn words; the dealer's, in floating point; see reference.deal_samples."""
    return _active.deal_samples(basis, mask, less)


def cross(dx: np.ndarray, dy: np.ndarray, lx: np.ndarray | None, ly: np.ndarray | None, lead: bool) -> np.ndarray:
    """lead dx dy - dx ly - lx dy: a party's share of a product; see reference_steps.cross."""
    return _active.cross(dx, dy, lx, ly, lead)


def settle(opened: np.ndarray, bits: int, sign: np.ndarray, lead: bool) -> np.ndarray:
    """lead P + q 2^(64-k) m: a truncation's public part and carry; see reference_steps.settle."""
    return _active.settle(opened, bits, sign, lead)


def select(
    bits: np.ndarray,
    beta: np.ndarray,
    lead: bool,
    factor: np.ndarray | None,
    terms: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = (),
) -> np.ndarray:
    """My share of a selected value, from the public bits and the dealt shares; see reference_steps.select."""
    return _active.select(bits, beta, lead, factor, terms)
