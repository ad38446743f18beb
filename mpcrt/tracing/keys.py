"""Keys that say what a value is: equal for equal structure and content, different for anything else.

A key is a tree of hashes, each over a tag and the hashes of its parts, so that no two structures run together. Numbers
go in by type and bits (True, 1, 1.0 and -0.0 are four things), arrays by dtype, shape and bytes, dicts with their
order, which a function can see, jaxprs equation by equation with their constants. What has no structure to be read,
such as a function, leaves its name alone.
"""

import dataclasses
import enum
import functools
import operator
import sys
import types
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import jax
import numpy as np

from mpcrt.tracing import jaxprs

LIBRARIES = ("builtins", "jax", "jaxlib", "ml_dtypes", "numpy")
RANDOM_KEYS = ("key<fry>", "key<rbg>", "key<urbg>")
PLAIN = (type(None), bool, str, type(Ellipsis))


class Key:
    """Collects values. `held`: the objects among them whose names alone are in the key, in order; where there are any,
    equal keys do not mean equal values. The key itself holds no address: it is the same in every process."""

    def __init__(self) -> None:
        self.held: list[Any] = []

    def of(self, value: Any) -> bytes:
        """The hash of one value."""
        kind = type(value)
        if kind is int:
            return leaf("int", hex(value).encode())  # decimal digits of long ones are limited
        if kind in PLAIN:
            return leaf(kind.__name__, repr(value).encode())
        if kind is float:
            return leaf("float", value.hex().encode())
        if kind is complex:
            return leaf("complex", value.real.hex().encode(), value.imag.hex().encode())
        if kind in (bytes, bytearray):
            return leaf(kind.__name__, bytes(value))
        if kind in (tuple, list):
            return node(kind.__name__, map(self.of, value))
        if kind in (dict, OrderedDict):
            return node(kind.__name__, [part for item in value.items() for part in map(self.of, item)])
        if kind in (set, frozenset):
            return node(kind.__name__, sorted(map(self.of, value)))
        if isinstance(value, np.ndarray | np.generic | jax.Array):
            return self.array(value)
        if isinstance(value, np.dtype) or is_random(value):
            return self.dtype(value)
        if jaxprs.is_jaxpr(value):
            return self.jaxpr(value)
        return self.instance(value)

    def instance(self, value: Any) -> bytes:
        """Anything that is not one of Python's, NumPy's or JAX's plain values."""
        kind = type(value)
        if isinstance(value, jax.tree_util.PyTreeDef):
            return node("tree", [self.of(value.node_data()), *map(self.of, value.children())])
        if jaxprs.is_aval(value):
            weak = bool(getattr(value, "weak_type", False))
            return node("aval", [self.named(kind), self.of(tuple(value.shape)), self.dtype(value.dtype), self.of(weak)])
        if isinstance(value, enum.Enum):
            return node("enum", [self.named(kind), self.of(value.name)])
        if isinstance(value, tuple):
            return node("tuple", [self.named(kind), *map(self.of, value)])
        if isinstance(value, functools.partial):
            return node("partial", [*map(self.of, (value.func, value.args, value.keywords))])
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
            return node("dataclass", [self.named(kind), self.of(fields | getattr(value, "__dict__", {}))])
        if kind.__hash__ is None and is_bare(kind):
            return node("object", [self.named(kind), self.of(vars(value))])
        return self.named(value)

    def named(self, value: Any) -> bytes:
        """By name: all that there is to say of what a library holds under it; else the value is held too."""
        module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
        if not of_library(value) or found(module, name) is not value:
            self.held.append(value)
            return leaf("held", type(value).__qualname__.encode(), str(name).encode())
        return leaf("named", module.encode(), name.encode())

    def dtype(self, value: Any) -> bytes:
        if not isinstance(value, np.dtype) and str(value) not in RANDOM_KEYS:
            self.held.append(value)
        return leaf("dtype", str(value).encode())

    def array(self, value: Any) -> bytes:
        """By content; weak types of JAX are part of it, as they decide what dtype a result has."""
        kind = "scalar" if isinstance(value, np.generic) else "array"
        weak = bool(getattr(value, "weak_type", False))
        parts = [self.dtype(value.dtype), self.of(tuple(value.shape)), self.of(weak)]
        if is_random(value.dtype):
            value = jax.random.key_data(value)  # pyright: ignore[reportArgumentType]  # no NumPy scalar is of this dtype
        array = np.asarray(value)
        if array.dtype == object:
            return node(kind, [*parts, *map(self.of, array.reshape(-1))])
        return node(kind, [*parts, leaf("bytes", np.ascontiguousarray(array).tobytes())])

    def jaxpr(self, value: Any) -> bytes:
        """Variables by their number in order of definition, so that names do not matter."""
        body, constants = jaxprs.closed(value)
        numbers: dict[Any, int] = {}

        def define(atoms: Iterable[Any]) -> bytes:
            parts = []
            for atom in atoms:
                numbers[atom] = len(numbers)
                parts.append(self.of(atom.aval))
            return node("define", parts)

        def use(atom: Any) -> bytes:
            if jaxprs.is_literal(atom):
                return node("literal", [self.of(atom.aval), self.array(np.asarray(atom.val, jaxprs.aval(atom)[1]))])
            return leaf("use", str(numbers[atom]).encode())

        parts = [node("constants", map(self.of, constants)), define(body.constvars), define(body.invars)]
        for eqn in body.eqns:
            name, inputs = eqn.primitive.name, [*map(use, eqn.invars)]
            random = getattr(getattr(eqn, "ctx", None), "threefry_partitionable", None)
            parts.append(node("eqn", [self.primitive(name, eqn.params), self.of(random), *inputs, define(eqn.outvars)]))
        return node("jaxpr", [*parts, *map(use, body.outvars)])

    def primitive(self, name: str, params: dict) -> bytes:
        """A primitive's name and what it computes: of a call its body, whatever its derivatives and placement."""
        if name in jaxprs.CALLS:
            params = {"body": params[jaxprs.CALLS[name]]}
        elif name.removeprefix("map ") == "reduce":
            params = {k: v for k, v in params.items() if k != "computation"}  # the function that `jaxpr` was made of
        return node("primitive", [self.of(name), self.of(dict(sorted(params.items())))])


def is_bare(kind: type) -> bool:
    """Whether an instance is nothing but its attributes."""
    slots = any(base.__dict__.get("__slots__") for base in kind.__mro__)
    return kind is types.SimpleNamespace or (kind.__basicsize__ == type("Bare", (), {}).__basicsize__ and not slots)


def is_random(dtype: Any) -> bool:
    """Whether it is the dtype of JAX's typed random keys."""
    kind = getattr(dtype, "type", None)
    return isinstance(kind, type) and issubclass(kind, jax.dtypes.prng_key)


def leaf(tag: str, *data: bytes) -> bytes:
    return node(tag, (sha256(part).digest() for part in data))


def node(tag: str, parts: Iterable[bytes]) -> bytes:
    """The hash of a tag and of parts that are hashes themselves."""
    return sha256(tag.encode() + b"\0" + b"".join(parts)).digest()


def of_library(value: Any) -> bool:
    """Whether a function or class is one of Python's, NumPy's or JAX's, which a release has alike everywhere."""
    module = getattr(value, "__module__", "")
    return isinstance(module, str) and module.partition(".")[0] in LIBRARIES


def found(module: str, name: str) -> Any:
    """What a loaded module holds under a name, else None."""
    try:
        return operator.attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        return None
