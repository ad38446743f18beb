"""The pytrees that cross between parties: dict with string keys, list, tuple, None, and leaves. No JAX needed.

A structure is plain data (`None`, a leaf number, or `["d", keys, ...]`, `["l", ...]`, `["t", ...]`), so that its
MessagePack form is bounded and decodes to nothing but itself. Dict keys are in sorted order, as JAX has them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.text import plain, quoted

MAX_DEPTH = 64
MAX_LEAVES = 1 << 20
MAX_BYTES = 1 << 26
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES += ("float16", "bfloat16", "float32", "float64")
OPAQUE = "object"

Structure = Any
Path = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class LeafType:
    """Shape and dtype name of a leaf; dtype `object` is a Python value that stays where it is."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"

    @property
    def bytes(self) -> int:
        """Size in memory, 0 for an object."""
        return 0 if self.dtype == OPAQUE else int(np.prod(self.shape, dtype=np.int64)) * itemsize(self.dtype)


def itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def leaf_type(leaf: Any) -> LeafType:
    """The type of a leaf: arrays and Python numbers have shape and dtype, anything else is an object."""
    if isinstance(leaf, bool | int | float | np.generic | np.ndarray):
        array = np.asarray(leaf)
        if array.dtype.name in DTYPES:
            return LeafType(array.shape, array.dtype.name)
    return LeafType((), OPAQUE)


def flatten(tree: Any, is_leaf: Callable[[Any], bool] = lambda _: False) -> tuple[Structure, list[Any]]:
    """The structure of `tree` and its leaves. Raises UsageError for dict keys other than strings, and named tuples."""
    leaves: list[Any] = []
    return _flatten(tree, is_leaf, leaves, 0), leaves


def _flatten(tree: Any, is_leaf: Callable[[Any], bool], leaves: list[Any], depth: int) -> Structure:
    if depth > MAX_DEPTH:
        raise UsageError(f"a value nested deeper than {MAX_DEPTH} cannot be handed on")
    if tree is None and not is_leaf(tree):
        return None
    if not is_leaf(tree):
        if isinstance(tree, dict):
            for key in tree:
                if not isinstance(key, str):
                    raise UsageError(f"dict key {key!r} is not a string; values between parties have string keys")
            keys = sorted(tree)
            return ["d", keys, *(_flatten(tree[k], is_leaf, leaves, depth + 1) for k in keys)]
        if type(tree) is list or type(tree) is tuple:
            return ["l" if type(tree) is list else "t", *(_flatten(v, is_leaf, leaves, depth + 1) for v in tree)]
        if isinstance(tree, list | tuple):
            raise UsageError(f"a {type(tree).__name__} cannot be handed on; use a dict, list or tuple")
    leaves.append(tree)
    return len(leaves) - 1


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree of `structure` with these leaves."""
    if structure is None:
        return None
    if isinstance(structure, int):
        return leaves[structure]
    kind, *rest = structure
    if kind == "d":
        keys, *children = rest
        return {k: unflatten(v, leaves) for k, v in zip(keys, children, strict=True)}
    children = [unflatten(v, leaves) for v in rest]
    return children if kind == "l" else tuple(children)


def child(structure: Structure, key: Any) -> Structure:
    """The part of a structure under a dict key or a position. Raises what Python's indexing does."""
    if isinstance(structure, list) and structure[0] == "d":
        keys, *children = structure[1:]
        if key not in keys:
            raise KeyError(f"{key!r}; there is {plain(', '.join(map(repr, keys))) or 'nothing'}")
        return children[keys.index(key)]
    if isinstance(structure, list) and isinstance(key, int):
        return structure[1:][key]
    raise TypeError("not a dict, list or tuple")


def leaf_numbers(structure: Structure) -> Iterator[int]:
    """The leaves of a structure, in order."""
    if isinstance(structure, int):
        yield structure
    elif structure is not None:
        for part in structure[2 if structure[0] == "d" else 1 :]:
            yield from leaf_numbers(part)


def paths(structure: Structure, path: str = "") -> Iterator[str]:
    """How a user writes each leaf: `['w'][0]`."""
    if isinstance(structure, int):
        yield path
    elif structure is not None:
        keys = structure[1] if structure[0] == "d" else range(len(structure) - 1)
        for key, part in zip(keys, structure[2 if structure[0] == "d" else 1 :], strict=True):
            yield from paths(part, f"{path}[{quoted(key)}]")


def encode(structure: Structure, types: Sequence[LeafType]) -> bytes:
    """Structure and leaf types as bytes."""
    packed = msgpack.packb([structure, [[list(t.shape), t.dtype] for t in types]])
    assert packed is not None
    return packed


def decode(data: bytes) -> tuple[Structure, tuple[LeafType, ...]]:
    """What `encode` made, checked. Raises ProtocolError."""
    try:
        structure, rows = msgpack.unpackb(data)
        types = tuple(_leaf_type(shape, dtype) for shape, dtype in rows)
        count = _check(structure, 0, 0)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"malformed description of a value: {type(error).__name__}") from None
    if count != len(types) or count > MAX_LEAVES:
        raise ProtocolError("malformed description of a value: leaves do not fit its structure")
    return structure, types


def _leaf_type(shape: Any, dtype: Any) -> LeafType:
    if dtype not in (*DTYPES, OPAQUE) or not isinstance(shape, list) or len(shape) > 32:
        raise ProtocolError("malformed type of a leaf")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise ProtocolError("malformed shape of a leaf")
    return LeafType(tuple(shape), dtype)


def _check(structure: Structure, depth: int, count: int) -> int:
    """Leaf numbers must be 0, 1, ... in order; returns how many there are."""
    if depth > MAX_DEPTH + 1:
        raise ProtocolError("description of a value nested too deep")
    if structure is None:
        return count
    if type(structure) is int:
        if structure != count:
            raise ProtocolError("leaves of a value out of order")
        return count + 1
    if not isinstance(structure, list) or not structure or structure[0] not in ("d", "l", "t"):
        raise ProtocolError("malformed structure of a value")
    children = structure[1:]
    if structure[0] == "d":
        keys, *children = children
        good = isinstance(keys, list) and all(isinstance(k, str) for k in keys) and keys == sorted(set(keys))
        if not good or len(keys) != len(children):
            raise ProtocolError("malformed dict in the structure of a value")
    for part in children:
        count = _check(part, depth + 1, count)
    return count


def describe(structure: Structure, types: Sequence[LeafType]) -> str:
    """A short text for logs: `{b: float32[10], w: float32[784,10]}`; long ones are cut to counts and bytes."""
    text = _describe(structure, types)
    if len(text) > 160:
        total = sum(t.bytes for t in types)
        return f"{len(types)} arrays ({size(total)})"
    return plain(text)


def _describe(structure: Structure, types: Sequence[LeafType]) -> str:
    if structure is None:
        return "None"
    if isinstance(structure, int):
        return str(types[structure])
    kind, *rest = structure
    if kind == "d":
        keys, *children = rest
        return "{" + ", ".join(f"{k}: {_describe(v, types)}" for k, v in zip(keys, children, strict=True)) + "}"
    inside = ", ".join(_describe(v, types) for v in rest)
    return f"[{inside}]" if kind == "l" else f"({inside})"


def size(count: float) -> str:
    """Bytes for people: `512 B`, `1.2 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
