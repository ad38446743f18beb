"""Digests of plain Python values that are equal in different processes: what parties compare of arguments.

A value is taken apart by its structure; no address, hash seed, module path or file path is in it. Mappings and sets
count whatever their order. What has no structure known here (a model object, an open file) counts by the name of its
type alone, and so does a path, which names a place on one machine.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import inspect
import struct
import types
import uuid
from collections.abc import Mapping, Set, ValuesView
from typing import Any

import numpy as np

from mpcrt.runtime.values import Handle, parts

MAX_DEPTH = 100
EXACT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID)
"""Types whose repr says all of a value and nothing of the process."""
ROWS = (list, tuple, collections.deque, collections.UserList, array.array, ValuesView)
PARTS = {
    range: ("start", "stop", "step"),
    slice: ("start", "stop", "step"),
    fractions.Fraction: ("numerator", "denominator"),
    functools.partial: ("func", "args", "keywords"),
}
"""Attributes that say all of a value."""


def digest(value: Any) -> bytes:
    """32 bytes, equal for values of equal structure and content."""
    return _node(value, ())


def _hash(tag: str, *pieces: bytes) -> bytes:
    made = hashlib.sha256(tag.encode() + b"\0")
    for piece in pieces:
        made.update(struct.pack("<Q", len(piece)))
        made.update(piece)
    return made.digest()


def _node(value: Any, above: tuple[int, ...]) -> bytes:
    """`above`: ids of what holds the value, where a structure that holds itself ends."""
    kind = type(value)
    tag = kind.__qualname__
    if value is None or value is Ellipsis:
        return _hash(tag)
    if isinstance(value, np.ndarray | np.generic) or (hasattr(value, "__array__") and _is_jax(value)):
        return _array(value)
    if isinstance(value, enum.Enum):
        return _hash(tag, str(value.name).encode(), _node(value.value, (*above, id(value))))
    if isinstance(value, float):
        return _hash(tag, struct.pack("<d", value))
    if isinstance(value, int):
        return _hash(tag, hex(int(value)).encode())  # decimal digits of long ones are limited
    if isinstance(value, complex):
        return _hash(tag, struct.pack("<dd", value.real, value.imag))
    if isinstance(value, str):
        return _hash(tag, value.encode("utf-8", "surrogatepass"))
    if isinstance(value, bytes | bytearray | memoryview):
        return _hash(tag, bytes(value))
    if isinstance(value, Handle):
        source, path = parts(value)
        return _hash("handle", str(source.number).encode(), repr(path).encode())
    if isinstance(value, type | np.dtype | types.ModuleType | types.GenericAlias):
        return _hash(tag, (getattr(value, "__qualname__", None) or str(value)).encode())
    if isinstance(value, EXACT):
        return _hash(tag, repr(value).encode())
    if id(value) in above or len(above) >= MAX_DEPTH:
        return _hash("again")
    inside = (*above, id(value))
    if isinstance(value, Mapping):
        rows = sorted((_node(k, inside), _node(v, inside)) for k, v in value.items())
        return _hash(tag, *[piece for row in rows for piece in row])
    if isinstance(value, ROWS):
        return _hash(tag, *[_node(v, inside) for v in value])
    if isinstance(value, Set):
        return _hash(tag, *sorted(_node(v, inside) for v in value))
    if dataclasses.is_dataclass(value):
        return _hash(tag, *[_node(getattr(value, f.name, None), inside) for f in dataclasses.fields(value)])
    if isinstance(value, types.SimpleNamespace) or (kind.__module__, tag) == ("argparse", "Namespace"):
        return _hash(tag, _node(vars(value), inside))
    if (names := next((n for known, n in PARTS.items() if isinstance(value, known)), None)) is not None:
        return _hash(tag, *[_node(getattr(value, name), inside) for name in names])
    if isinstance(value, types.MethodType):
        return _hash(tag, _node(value.__func__, inside), _node(value.__self__, inside))
    if isinstance(value, types.FunctionType):
        return _function(value, inside)
    if callable(value):  # a class's instance, a compiled or built-in function: by name
        return _hash(tag, str(getattr(value, "__qualname__", "")).encode())
    return _hash(tag)


def _is_jax(value: Any) -> bool:
    return type(value).__module__.split(".")[0] in ("jax", "jaxlib")


def _array(value: Any) -> bytes:
    if not isinstance(value.dtype, np.dtype):  # a key of JAX's random numbers, which only JAX opens
        import jax

        return _hash(str(value.dtype), _array(jax.random.key_data(value)))
    if isinstance(value, np.ma.MaskedArray):
        return _hash("masked", _array(np.ma.getdata(value)), _array(np.ma.getmaskarray(value)))
    plain = np.asarray(value)
    shape = str(plain.shape).encode()
    if plain.dtype.hasobject:
        return _hash("objects", shape, *[digest(v) for v in plain.reshape(-1)])
    name = str(plain.dtype).encode()
    return _hash("array", name, shape, np.ascontiguousarray(plain).reshape(-1).view(np.uint8).data)  # type: ignore[arg-type]


def _function(function: types.FunctionType, inside: tuple[int, ...]) -> bytes:
    """By its source where there is one, which all releases of Python read alike, and by what it closes over. The
    source of a decorated function is the decorator's, which closes over what it decorates."""
    try:
        text = inspect.getsource(function.__code__).encode()
        if function.__name__ == "<lambda>":  # a line may have several, which end in different places
            text += str(max(end or 0 for *_, end in function.__code__.co_positions())).encode()
    except (OSError, TypeError):
        text = _code(function.__code__)
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_node(cell.cell_contents, inside))
        except ValueError:  # not filled yet
            cells.append(b"")
    defaults = [_node(v, inside) for v in (function.__defaults__, function.__kwdefaults__)]
    return _hash("function", function.__qualname__.encode(), text, *defaults, *cells)


def _code(code: types.CodeType) -> bytes:
    inside = [_code(c) if isinstance(c, types.CodeType) else digest(c) for c in code.co_consts]
    return _hash("code", code.co_code, repr(code.co_names).encode(), *inside)
