"""The structure of pytrees that cross between parties, as plain data. No JAX needed for dicts, lists and tuples.

A structure is `None`, a leaf number, or a node: `["d", keys, ...]` of a dict with strings or integers for keys, in
sorted order as JAX has them; `["l", ...]`, `["t", ...]` of a list or tuple; `["r", name, keys, ...]`, a record, of any
other node that JAX knows (nodes.py). Its MessagePack form is bounded and decodes to nothing but itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.runtime import nodes
from mpcrt.runtime.nodes import Keys
from mpcrt.runtime.opaque import KIND, kind_of
from mpcrt.text import plain, quoted

MAX_DEPTH = 64
MAX_LEAVES = 1 << 20
MAX_BYTES = 1 << 26
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES += ("float16", "bfloat16", "float32", "float64")
OPAQUE = "object"

Structure = Any
Path = tuple[Any, ...]
_HEAD = {"d": 2, "l": 1, "t": 1, "r": 3}
"""How many entries of a node come before its parts."""


@dataclass(frozen=True, slots=True)
class LeafType:
    """Shape and dtype name of a leaf; dtype `object` is a Python value that stays where it is, of the type `kind`."""

    shape: tuple[int, ...]
    dtype: str
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]" if self.dtype != OPAQUE else self.kind or OPAQUE

    @property
    def bytes(self) -> int:
        """Size in memory, 0 for an object."""
        return 0 if self.dtype == OPAQUE else int(np.prod(self.shape, dtype=np.int64)) * itemsize(self.dtype)


def itemsize(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def leaf_type(leaf: Any) -> LeafType:
    """The type of a leaf: arrays and Python numbers have shape and dtype, anything else is an object."""
    if isinstance(leaf, bool | int | float | np.generic | np.ndarray) and not isinstance(leaf, np.ma.MaskedArray):
        array = np.asarray(leaf)
        if array.dtype.name in DTYPES:
            return LeafType(array.shape, array.dtype.name)
    return LeafType((), OPAQUE, kind_of(leaf))


def flatten(tree: Any) -> tuple[Structure, list[Any]]:
    """The structure of `tree` and its leaves, in JAX's order. Raises UsageError for keys that JAX cannot sort."""
    leaves: list[Any] = []
    return _flatten(tree, leaves, 0), leaves


def _flatten(tree: Any, leaves: list[Any], depth: int) -> Structure:
    if depth > MAX_DEPTH:
        raise UsageError(f"a value nested deeper than {MAX_DEPTH} cannot be handed on")
    if tree is None:
        return None
    if type(tree) is list or type(tree) is tuple:
        return ["l" if type(tree) is list else "t", *[_flatten(v, leaves, depth + 1) for v in tree]]
    if type(tree) is dict and nodes.are_keys(tree):
        keys = sorted(tree)
        return ["d", keys, *[_flatten(tree[k], leaves, depth + 1) for k in keys]]
    if (node := nodes.take_apart(tree)) is not None:
        name, keys, inside = node
        return ["r", name, keys, *[_flatten(v, leaves, depth + 1) for v in inside]]
    leaves.append(tree)
    return len(leaves) - 1


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The tree of `structure` with these leaves, by number."""
    if structure is None:
        return None
    if isinstance(structure, int):
        return leaves[structure]
    made = [unflatten(part, leaves) for part in children(structure)]
    match structure[0]:
        case "d":
            return dict(zip(structure[1], made, strict=True))
        case "r":
            return nodes.put_together(structure[1], structure[2], made)
    return made if structure[0] == "l" else tuple(made)


def children(structure: Structure) -> list[Structure]:
    """The parts of a node; none of a leaf or None."""
    return structure[_HEAD[structure[0]] :] if isinstance(structure, list) else []


def keys_of(structure: Structure) -> Keys:
    """The keys, fields or positions under which a node has its parts."""
    if not isinstance(structure, list):
        return []
    head = _HEAD[structure[0]]
    return structure[head - 1] if head > 1 else list(range(len(structure) - 1))


def with_children(structure: Structure, parts: Sequence[Structure]) -> Structure:
    """The same node with other parts."""
    return [*structure[: _HEAD[structure[0]]], *parts]


def is_plain(structure: Structure) -> bool:
    """Whether there are dicts, lists, tuples and None alone."""
    return not isinstance(structure, list) or (structure[0] != "r" and all(map(is_plain, children(structure))))


def child(structure: Structure, key: Any) -> int:
    """Which part of a structure is under a key, a field or a position. Raises what Python's indexing does."""
    if not isinstance(structure, list):
        raise TypeError("not a dict, list, tuple or record")
    keys = keys_of(structure)
    if key in keys:
        return keys.index(key)
    if isinstance(key, int) and structure[0] != "d":
        return range(len(keys))[key]
    raise KeyError(f"{key!r}; there is {plain(', '.join(map(repr, keys))) or 'nothing'}")


def leaf_numbers(structure: Structure) -> Iterator[int]:
    """The leaves of a structure, in order."""
    if isinstance(structure, int):
        yield structure
    for part in children(structure):
        yield from leaf_numbers(part)


def paths(structure: Structure, path: str = "") -> Iterator[str]:
    """How a user writes each leaf: `['w'][0]`, `.count` of a record."""
    if isinstance(structure, int):
        yield path
    named = isinstance(structure, list) and structure[0] == "r"
    for key, part in zip(keys_of(structure), children(structure), strict=True):
        yield from paths(part, f"{path}.{plain(key)}" if named and isinstance(key, str) else f"{path}[{quoted(key)}]")


def encode(structure: Structure, types: Sequence[LeafType]) -> bytes:
    """Structure and leaf types as bytes."""
    packed = msgpack.packb([structure, [[list(t.shape), t.dtype, t.kind] for t in types]])
    assert packed is not None
    return packed


def decode(data: bytes) -> tuple[Structure, tuple[LeafType, ...]]:
    """What `encode` made, checked. Raises ProtocolError."""
    try:
        structure, rows = msgpack.unpackb(data)
        types = tuple(_leaf_type(*row) for row in rows)
        count = _check(structure, 0, 0)
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"malformed description of a value: {type(error).__name__}") from None
    if count != len(types) or count > MAX_LEAVES:
        raise ProtocolError("malformed description of a value: leaves do not fit its structure")
    return structure, types


def _leaf_type(shape: Any, dtype: Any, kind: Any) -> LeafType:
    if dtype not in (*DTYPES, OPAQUE) or not isinstance(shape, list) or len(shape) > 32:
        raise ProtocolError("malformed type of a leaf")
    if not isinstance(kind, str) or (KIND.fullmatch(kind) is None if dtype == OPAQUE else kind):
        raise ProtocolError("malformed type of a leaf")
    if not all(type(n) is int and 0 <= n < 1 << 40 for n in shape):
        raise ProtocolError("malformed shape of a leaf")
    return LeafType(tuple(shape), dtype, kind)


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
    if not isinstance(structure, list) or not structure or structure[0] not in _HEAD:
        raise ProtocolError("malformed structure of a value")
    if structure[0] in ("d", "r"):
        keys = structure[_HEAD[structure[0]] - 1]
        good = (
            isinstance(keys, list) and nodes.are_keys(keys) and len(set(keys)) == len(keys) == len(children(structure))
        )
        if (
            not good
            or (structure[0] == "d" and keys != sorted(keys))
            or (structure[0] == "r" and not _named(structure))
        ):
            raise ProtocolError("malformed keys in the structure of a value")
    for part in children(structure):
        count = _check(part, depth + 1, count)
    return count


def _named(structure: Structure) -> bool:
    return isinstance(structure[1], str) and nodes.NAME.fullmatch(structure[1]) is not None


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
    shown = [_describe(part, types) for part in children(structure)]
    if structure[0] in ("d", "r"):
        shown = [f"{k}: {v}" for k, v in zip(keys_of(structure), shown, strict=True)]
    inside = ", ".join(shown)
    match structure[0]:
        case "d":
            return "{" + inside + "}"
        case "r":
            return f"{nodes.short(structure[1])}({inside})"
    return f"[{inside}]" if structure[0] == "l" else f"({inside})"


def size(count: float) -> str:
    """Bytes for people: `512 B`, `1.2 MB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
