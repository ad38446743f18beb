"""Nodes of pytrees beside dict, list and tuple: NamedTuples, dataclasses, optimizer states, `nnx.State`.

What crosses of such a node is the name of its class and the names of its fields or keys; never what is static in it
(JAX's auxiliary data), which may be private. Another party imports nothing for a name. It looks among the modules that
are loaded already, takes only a class whose instances its JAX takes apart into exactly these fields, and lays the
parts into them. Any other name gives a `Record`, with the fields and nothing else. So a peer chooses at most which
container of this party's own program its numbers are put in.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from mpcrt.errors import UsageError

NAME = re.compile(r"[\w.\-]{1,200}:[\w.<>]{1,200}")
KEY_LIMIT = 1 << 63
NUMBERS_AND_TEXT = bool | int | float | complex | str | bytes | np.ndarray | np.generic
MAPPINGS = ("collections:OrderedDict", "flax.core.frozen_dict:FrozenDict", "flax.nnx.statelib:State")
"""Classes that are made of a dict."""

Keys = list[Any]
"""All strings, or all integers."""


def are_keys(keys: Iterable[Any]) -> bool:
    """Whether these are all strings, or all integers."""
    kinds = {type(key) for key in keys}
    return kinds <= {str} or (kinds == {int} and all(-KEY_LIMIT <= key < KEY_LIMIT for key in keys))


def take_apart(tree: Any) -> tuple[str, Keys, list[Any]] | None:
    """(name, keys, parts) of a node that JAX knows; None of a leaf. Raises UsageError for keys that JAX cannot sort.

    Keys that are neither all strings nor all integers stay here: they become positions.
    """
    if isinstance(tree, NUMBERS_AND_TEXT):
        return None
    if isinstance(tree, Record):
        return tree._name, list(tree._keys), list(tree)
    built_in = isinstance(tree, dict) or (isinstance(tree, tuple) and hasattr(tree, "_fields"))
    if "jax" not in sys.modules and not built_in:  # where JAX is not loaded, nothing is registered with it
        return None
    import jax

    if isinstance(tree, jax.Array):
        return None
    try:
        pairs = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)[0]
    except ValueError:
        raise UsageError(
            f"the keys of a {type(tree).__name__} are of several types, which JAX cannot sort; make them all strings"
        ) from None
    if len(pairs) == 1 and not pairs[0][0]:
        return None
    keys: list[Any] = [_key(path[0]) for path, _ in pairs]
    if not are_keys(keys) or len(set(keys)) < len(keys):
        keys = list(range(len(keys)))
    return name_of(type(tree)), keys, [part for _, part in pairs]


def treedef(tree: Any) -> Any:
    """JAX's own description of a tree."""
    import jax

    return jax.tree_util.tree_structure(tree)


def to_numpy(leaf: Any) -> Any:
    """A leaf with JAX's arrays as NumPy's; typed random keys, which have no numbers, and all else as they are."""
    ours = hasattr(leaf, "__jax_array__") or type(leaf).__module__.split(".")[0] in ("jax", "jaxlib")
    if not ours or not hasattr(leaf, "__array__") or not isinstance(leaf.dtype, np.dtype):
        return leaf
    return np.asarray(leaf)


def _key(key: Any) -> Any:
    """What is in one of JAX's keys of a path."""
    return next((getattr(key, name) for name in ("name", "key", "idx") if hasattr(key, name)), None)


def name_of(kind: type) -> str:
    """A class by module and qualified name."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    return name if NAME.fullmatch(name) else "builtins:object"


def short(name: str) -> str:
    """The same for people."""
    return re.split(r"[.:]", name)[-1]


def put_together(name: str, keys: Keys, parts: Sequence[Any]) -> Any:
    """The node of this name with these parts: of the class, where this process has it, else a Record."""
    if name == "collections:defaultdict":  # what makes its defaults stays with its owner
        return dict(zip(keys, parts, strict=True))
    try:
        sample = _sample(name, keys)
        found = take_apart(sample)
        if found is not None and found[:2] == (name, keys):
            import jax

            return jax.tree_util.tree_structure(sample, is_leaf=lambda node: node is not sample).unflatten(parts)
    except Exception:  # the class does not go along; its fields do
        pass
    return Record(name, keys, parts)


def _sample(name: str, keys: Keys) -> Any:
    """An instance of a loaded class with zeros for parts, or None. No method of a NamedTuple or dataclass is run."""
    kind, zeros = loaded(name), [0] * len(keys)
    if kind is None:
        return None
    make: Callable[..., Any] = kind
    if issubclass(kind, tuple) and getattr(kind, "_fields", None) == tuple(keys):
        return tuple.__new__(kind, zeros)
    if dataclasses.is_dataclass(kind) and {f.name for f in dataclasses.fields(kind)} == set(keys):
        made = object.__new__(kind)
        for field in keys:
            object.__setattr__(made, str(field), 0)
        return made
    if name in MAPPINGS:
        return make(dict(zip(keys, zeros, strict=True)))
    nnx = sys.modules.get("flax.nnx")
    return make(0) if nnx is not None and issubclass(kind, nnx.Variable) else None


def loaded(name: str) -> type | None:
    """A class of a module that is loaded already, looked up so that nothing is imported, not even lazily."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        kind = type(found)  # isinstance() would ask the object, which may be a module that loads itself when asked
        if issubclass(kind, type):
            found = type.__getattribute__(found, "__dict__").get(part)
        elif issubclass(kind, ModuleType):
            found = object.__getattribute__(found, "__dict__").get(part)
        else:
            return None
    return found if issubclass(type(found), type) else None


class Record:
    """A node whose class only another party has: its fields by name (`state.count`, `state["count"]`) or position."""

    __slots__ = ("_keys", "_name", "_parts")

    def __init__(self, name: str, keys: Sequence[Any], parts: Sequence[Any]) -> None:
        _register()
        self._name, self._keys, self._parts = name, tuple(keys), tuple(parts)

    @property
    def _fields(self) -> tuple[Any, ...]:
        return self._keys

    def __getattr__(self, name: str) -> Any:
        if name in self._keys:
            return self._parts[self._keys.index(name)]
        raise AttributeError(self._only_fields(f"`.{name}`"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(self._only_fields("a call of it"))

    def _only_fields(self, wanted: str) -> str:
        return (
            f"{short(self._name)} comes from another party, which sends its fields "
            f"({', '.join(map(str, self._keys)) or 'none'}) and neither methods nor what is static; for {wanted} "
            "define its class in a module that every party has loaded, or make the object in a secure function"
        )

    def __getitem__(self, key: Any) -> Any:
        return self._parts[self._keys.index(key) if key in self._keys else key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def _asdict(self) -> dict[Any, Any]:
        return dict(zip(self._keys, self._parts, strict=True))

    def _replace(self, **changes: Any) -> Record:
        """The same with other values in some fields, as a NamedTuple has it."""
        if unknown := set(changes) - set(self._keys):
            raise ValueError(f"{short(self._name)} has no {', '.join(sorted(unknown))}")
        return Record(self._name, list(self._keys), list((self._asdict() | changes).values()))

    def __repr__(self) -> str:
        return f"{short(self._name)}({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"


@cache
def _register() -> None:
    import jax

    def with_keys(record: Record) -> tuple[list[tuple[Any, Any]], tuple[str, tuple[Any, ...]]]:
        kinds = {str: jax.tree_util.GetAttrKey, int: jax.tree_util.SequenceKey}
        return [(kinds[type(k)](k), v) for k, v in record._asdict().items()], (record._name, record._keys)

    jax.tree_util.register_pytree_with_keys(Record, with_keys, lambda aux, parts: Record(aux[0], aux[1], tuple(parts)))
