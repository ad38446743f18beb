"""The one place from which the other rooms import kernels.

The native module `mpcrt.ring._native` is used where it was built; otherwise `mpcrt.ring.reference`, with one warning.
Both give the same bits. A kernel's name is bound here to the selected set's own function, so that a call costs nothing
on the way: call it as `kernels.name`, since `from ... import name` would keep what was selected at the time.
"""

import importlib
import warnings
from typing import Any

from mpcrt.ring import reference
from mpcrt.ring.reference import (
    absorb,
    climb,
    conv,
    cross,
    deal,
    deal_products,
    deal_samples,
    deal_tables,
    evaluate_samples,
    matmul,
    multiply,
    pack,
    select,
    settle,
    unpack,
)

_MODULES = {"reference": "mpcrt.ring.reference", "native": "mpcrt.ring.compiled"}
_KERNELS = (
    absorb, climb, conv, cross, deal, deal_products, deal_samples, deal_tables, evaluate_samples, matmul, multiply,
    pack, select, settle, unpack,
)  # fmt: skip
_active: Any = reference


def available() -> tuple[str, ...]:
    """The kernel sets that this installation has, the fastest first."""
    try:
        importlib.import_module(_MODULES["native"])
    except ImportError:
        return ("reference",)
    return ("native", "reference")


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
    globals().update({kernel.__name__: getattr(_active, kernel.__name__) for kernel in _KERNELS})


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


use(available()[0])
if _active is reference:
    warnings.warn(
        "mpcrt runs without its native kernels (slower); install a C++ compiler and reinstall mpcrt",
        RuntimeWarning,
        stacklevel=2,
    )
