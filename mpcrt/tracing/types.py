"""What goes into a trace and what comes out; no JAX here."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpcrt.plan import Plan


@dataclass(frozen=True)
class Abstract:
    """A leaf that is not known while tracing. `visibility`: "public", "secret" or "private(<party>)"; `wire`: how a
    value already on the device is held ("masked", "shared", "public"), None where its visibility decides."""

    shape: tuple[int, ...]
    dtype: np.dtype
    visibility: str = "secret"
    wire: str | None = None


class Published:
    """Owns the memory of a public array: views of it, whatever JAX wraps them in, still lead here."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


class Public(np.ndarray):
    """An array that is meant to be published (`mpcrt.public(array)`): a large one may be closed over or passed."""

    def __new__(cls, value: Any) -> "Public":
        return np.asarray(Published(np.ascontiguousarray(value))).reshape(np.shape(value)).view(cls)

    @property
    def value(self) -> np.ndarray:
        return self.view(np.ndarray)


def is_public(array: Any) -> bool:
    """Whether this is a view of what `Public` made."""
    if not isinstance(getattr(array, "dtype", np.dtype(float)), np.dtype):
        return False  # a PRNG key, which NumPy cannot hold
    base = array if isinstance(array, np.ndarray) else np.asarray(array)
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, Published)


@dataclass(frozen=True)
class Leaf:
    """The plan input is the flattened argument `index` itself."""

    index: int


@dataclass(frozen=True)
class Hoisted:
    """The plan input is result `result` of `hoisted[call]`."""

    call: int
    result: int


@dataclass(frozen=True)
class HoistedCall:
    """What one owner computes in plaintext float JAX before it is shared (or published).

    `function` takes the concrete values of the flattened arguments `leaves`, in that order, and gives a list of NumPy
    arrays with `avals` (shape, dtype). `key` is a hash of what is computed, the same in every process. Where it is
    `complete`, equal keys and leaves give equal results; else the call runs something that has only a name in the key
    (a Python function that JAX calls back), and what it gave once says nothing of the next time. `called`: such things,
    but for those of libraries.
    """

    owner: str
    visibility: str
    leaves: tuple[int, ...]
    function: Callable[..., list[np.ndarray]]
    avals: tuple[tuple[tuple[int, ...], np.dtype], ...]
    key: str
    complete: bool
    called: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Traced:
    """A function's plan, where its inputs come from, and the shape of its result.

    Plan output i is flattened result i: floats with the plan's `fraction` bits, integers with none, bools as bits.
    `out_tree` is the result's JAX tree definition, `out_avals` the (shape, dtype) of its leaves.
    """

    plan: Plan
    inputs: tuple[Leaf | Hoisted, ...]
    hoisted: tuple[HoistedCall, ...]
    out_tree: Any
    out_avals: tuple[tuple[tuple[int, ...], np.dtype], ...]
    warnings: tuple[str, ...] = ()

    def unflatten(self, leaves: list) -> Any:
        return self.out_tree.unflatten(leaves)


_RAISED = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+([A-Za-z_][\w.]*)")


class Unprepared(Exception):
    """What a party computes of its own values, as a hoisted call, raised `cause`; `line`: where, "" if unknown."""

    def __init__(self, line: str, cause: Exception) -> None:
        super().__init__(line)
        self.line, self.cause = line, cause

    @property
    def kind(self) -> str:
        """The name of the cause's type; where JAX passes on as text what a callback raised, of that."""
        raised = _RAISED.search(str(self.cause))
        return raised[1] if raised else type(self.cause).__name__
