"""Arguments of secure functions taken apart: leaves, what the tracer sees of each, and what tells two calls apart."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from mpcrt.errors import UsageError
from mpcrt.runtime import trees
from mpcrt.runtime.nodes import to_numpy
from mpcrt.runtime.opaque import kind_of, no_array
from mpcrt.runtime.placements import Public, Spu, short_name
from mpcrt.runtime.values import Handle, Value, assemble, owner_of, parts, replaced, structure_of

LEAF = 0
"""A leaf in an outline."""


@dataclass(eq=False, slots=True)
class Source:
    """One leaf of a call's arguments: leaf `index` of a value, or (without a value) a constant that every party has."""

    value: Value | None
    index: int
    constant: Any = None

    @property
    def identity(self) -> Hashable:
        """Equal for the same leaf of the same value; of a constant, by its content."""
        return (self.value.number, self.index) if self.value is not None else content(self.constant)


class _NoArray(Exception):
    """A constant leaf that is neither a number nor an array."""


class Leaves:
    """The leaves of arguments, in the order in which JAX has them. `kinds`: what a plan depends on of each."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.kinds: list[Hashable] = []
        self.x64 = x64()

    def take(self, argument: Any, function: Callable, number: int) -> Hashable:
        """Adds an argument's leaves, and gives its outline: equal for arguments of the same structure.

        JAX is asked only about containers that are not its own dicts, lists and tuples. Raises UsageError for a leaf
        that is no array, naming its path.
        """
        try:
            return self._take(argument)
        except _NoArray as found:
            leaf = found.args[0]
            structure, leaves = trees.flatten(argument)
            where = next((p for p, x in zip(trees.paths(structure), leaves, strict=True) if x is leaf), "")
            name, static = f"argument {number + 1}", "make the argument static"
            with contextlib.suppress(TypeError, ValueError, IndexError):  # no signature, or *args
                parameter = list(inspect.signature(function).parameters)[number]
                name, static = f"argument {parameter!r}", f"make the argument static: static_argnames={parameter!r}"
            said = no_array(f"{name}{where} of {short_name(function)}()", kind_of(leaf))
            raise UsageError(f"{said}; or {static}") from None

    def _take(self, argument: Any) -> Hashable:
        if isinstance(argument, Handle):
            value, _ = parts(argument)
            if value.plain:
                return self._part(value, structure_of(argument))
        elif argument is None:
            return None
        elif type(argument) is dict and all(type(key) is str for key in argument):
            keys = sorted(argument)
            return ("d", tuple(keys), *[self._take(argument[key]) for key in keys])
        elif type(argument) is tuple or type(argument) is list:
            return (type(argument), *[self._take(v) for v in argument])
        import jax

        leaves, treedef = jax.tree_util.tree_flatten(substitute(argument), is_leaf=is_source)
        for leaf in leaves:
            if isinstance(leaf, Source):
                assert leaf.value is not None
                self._leaf(leaf.value, leaf.index)
            else:
                check_constant(leaf)
                self.sources.append(Source(None, 0, leaf))
                self.kinds.append(content(leaf))
        if len(leaves) == 1 and leaves[0] is argument:
            return LEAF
        if (kind := unhashable(treedef)) is not None:
            where = repr(argument) if isinstance(argument, Handle) else "an argument"
            raise UsageError(
                f"static data of a {kind.__name__} in {where} cannot be hashed, as JAX asks, so calls that differ in "
                "it could not be told apart; make it tuples, strings and numbers, or leaves"
            )
        return treedef

    def _part(self, value: Value, structure: trees.Structure) -> Hashable:
        if structure is None:
            return None
        if isinstance(structure, int):
            self._leaf(value, structure)
            return LEAF
        inside = [self._part(value, part) for part in trees.children(structure)]
        if structure[0] == "d":
            return ("d", tuple(structure[1]), *inside)
        return (list if structure[0] == "l" else tuple, *inside)

    def _leaf(self, value: Value, index: int) -> None:
        self.sources.append(Source(value, index))
        key = index, self.x64
        kind = value.kinds.get(key)
        if kind is None:
            kind = value.kinds[key] = abstract(value, index)
        self.kinds.append(kind)


def substitute(argument: Any) -> Any:
    """The argument with the leaves of values in place of handles."""
    if isinstance(argument, Handle):
        value, _ = parts(argument)
        assert value.types is not None
        return assemble(argument, [Source(value, i) for i in range(len(value.types))])
    return replaced(argument, substitute)


def is_source(leaf: Any) -> bool:
    from mpcrt.tracing import Public as Marked

    return isinstance(leaf, Source | Marked)


def abstract(value: Value, index: int) -> Any:
    """What the tracer sees of a leaf of a value."""
    from mpcrt.plan.types import PUBLIC, SECRET, private
    from mpcrt.tracing import Abstract

    assert value.types is not None
    kind = value.types[index]
    if kind.dtype == trees.OPAQUE:
        where = list(trees.paths(value.structure))[index]
        raise UsageError(no_array(value.origin + where, kind.kind))
    dtype = canonical(kind.dtype, x64())
    if isinstance(value.placement, Public):
        return Abstract(kind.shape, dtype, PUBLIC, "public")
    if isinstance(value.placement, Spu):
        assert value.forms is not None
        visibility, form = value.forms[index]
        return Abstract(kind.shape, dtype, visibility, form)
    owner = owner_of(value.placement)
    assert owner is not None
    return Abstract(kind.shape, dtype, SECRET if value.ownerless else private(owner), "masked")


def x64() -> bool:
    """Whether JAX computes in 64 bits here."""
    import jax

    return bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]  # one of JAX's dynamic flags


@cache
def canonical(name: str, x64: bool) -> np.dtype:
    """The dtype JAX computes in; the owner refuses integers that do not fit it."""
    import jax
    import ml_dtypes

    return np.dtype(jax.dtypes.canonicalize_dtype(ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)))


def unhashable(treedef: Any) -> type | None:
    """The first class in a tree whose static data could change unseen; JAX's own containers know theirs."""
    kind, static = treedef.node_data() or (None, None)
    if kind not in (None, dict, list, tuple, OrderedDict, defaultdict):
        try:
            hash(static)
        except TypeError:
            return kind
    return next((found for part in treedef.children() if (found := unhashable(part)) is not None), None)


def check_constant(leaf: Any) -> None:
    """Raises _NoArray for what JAX does not trace."""
    found = to_numpy(leaf)
    known = isinstance(found, bool | int | float | complex | np.ndarray | np.generic)
    if not known or np.asarray(found).dtype.kind not in "biufcV" or isinstance(found, np.ma.MaskedArray):
        raise _NoArray(leaf)


def content(constant: Any) -> Hashable:
    """A constant by type, shape and bytes; Python's numbers and JAX's weakly typed arrays give results other dtypes."""
    constant = getattr(constant, "value", constant) if type(constant).__name__ == "Public" else constant
    array = np.asarray(constant)
    number = isinstance(constant, bool | int | float | complex)
    kind = type(constant).__name__ if number else (str(array.dtype), bool(getattr(constant, "weak_type", False)))
    return (kind, array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest())
