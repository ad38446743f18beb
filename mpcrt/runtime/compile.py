"""Secure functions compiled: arguments to abstract leaves, a trace, a schedule; cached by function and leaves."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import MpcrtError, TraceError, UsageError
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.runtime import trees
from mpcrt.runtime.placements import Public, Spu, short_name
from mpcrt.runtime.values import Handle, Value, owner_of, parts, structure_of

if TYPE_CHECKING:
    from mpcrt.tracing import Traced

CACHE = 256


@dataclass(frozen=True, eq=False)
class Source:
    """One leaf of a call's arguments: leaf `index` of a value, or (without a value) a constant that every party has."""

    value: Value | None
    index: int
    constant: Any = None

    @property
    def identity(self) -> Hashable:
        """Equal for the same leaf of the same value; of a constant, by its content."""
        return (self.value.number, self.index) if self.value is not None else content(self.constant)


@dataclass(eq=False)
class Compiled:
    """A traced and scheduled function. `published` keeps the wires of public constants, which depend on no value."""

    traced: Traced
    schedule: Schedule
    structure: trees.Structure
    types: tuple[trees.LeafType, ...]
    plain: bool
    seconds: float
    function: Callable[..., Any]
    published: dict[Any, Any] = field(default_factory=dict)
    constants: dict[int, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return self.traced.plan.fingerprint

    @property
    def rebuild(self) -> Callable[[list[Any]], Any] | None:
        """Makes the result's tree where it is more than dicts, lists and tuples."""
        return None if self.plain else self.traced.unflatten


class Cache:
    """The most recently used compiled functions of a device. Every party makes the same calls, so all have the same."""

    def __init__(self, fraction: int, parties: tuple[str, ...]) -> None:
        self._fraction, self._parties = fraction, parties
        self._entries: OrderedDict[Hashable, Compiled] = OrderedDict()

    def get(
        self, function: Callable, args: Sequence[Any], static: Sequence[int]
    ) -> tuple[Compiled, list[Source], bool]:
        """The compiled function, the flattened arguments' sources, and whether it was compiled just now."""
        import jax

        fixed = {i % max(len(args), 1) for i in static}
        dynamic = [a for i, a in enumerate(args) if i not in fixed]
        leaves, treedef = jax.tree_util.tree_flatten([substitute(a) for a in dynamic], is_leaf=_is_source)
        sources = [leaf if isinstance(leaf, Source) else Source(None, 0, leaf) for leaf in leaves]
        pinned = tuple((i, _hashable(args[i])) for i in sorted(fixed))
        abstract = [_abstract(s) for s in sources]
        key = (
            _hashable(function),
            pinned,
            treedef,
            tuple(map(_leaf_key, abstract)),
            _x64(),
        )
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry, sources, False
        rest = iter(jax.tree_util.tree_unflatten(treedef, abstract))
        entry = self._compile(
            function, [args[i] if i in fixed else next(rest) for i in range(len(args))], sorted(fixed)
        )
        self._entries[key] = entry
        if len(self._entries) > CACHE:
            self._entries.popitem(last=False)
        return entry, sources, True

    def _compile(self, function: Callable, args: list[Any], static: list[int]) -> Compiled:
        from mpcrt.tracing import trace

        start = time.perf_counter()
        try:
            traced = trace(function, args, fraction=self._fraction, parties=self._parties, static_argnums=tuple(static))
        except MpcrtError:
            raise
        except Exception as error:  # the user's function, on abstract values: there is no data in what it says
            raise TraceError(f"{short_name(function)}() cannot be traced: {said(error)}") from error
        scheduled = schedule(traced.plan, len(self._parties))
        types = tuple(trees.LeafType(tuple(shape), np.dtype(dtype).name) for shape, dtype in traced.out_avals)
        structure, plain = _structure(traced, len(types))
        return Compiled(traced, scheduled, structure, types, plain, time.perf_counter() - start, function)


def said(error: Exception) -> str:
    """An error of a traced function in one line, with the innermost line of the user's own code."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f
        for f in frames
        if not any(part in f.filename for part in ("site-packages", f"{os.sep}mpcrt{os.sep}", "<frozen"))
    ]
    where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {text[:300]}{where}"


def _structure(traced: Traced, count: int) -> tuple[trees.Structure, bool]:
    """The result's structure, and whether it is made of dicts, lists and tuples alone."""
    import jax

    numbers = list(range(count))
    try:
        structure, leaves = trees.flatten(traced.unflatten(numbers))
    except UsageError:
        return None, False
    plain = leaves == numbers and jax.tree_util.tree_structure(trees.unflatten(structure, numbers)) == traced.out_tree
    return (structure, True) if plain else (None, False)


def positional(function: Callable, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments as positions, since only those are traced. Raises UsageError where they do not fit the function."""
    if not kwargs:
        return tuple(args)
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
    except (TypeError, ValueError) as error:
        raise UsageError(f"{short_name(function)}(): {error}") from None
    if bound.kwargs:
        raise UsageError(
            f"{short_name(function)}(): pass {', '.join(bound.kwargs)} by position; keyword-only is not traced"
        )
    return bound.args


def substitute(argument: Any) -> Any:
    """The argument with the leaves of values in place of handles."""
    if isinstance(argument, Handle):
        value, _ = parts(argument)
        if value.rebuild is not None and value.types is not None and structure_of(argument) is value.structure:
            return value.rebuild([Source(value, i) for i in range(len(value.types))])
        part = structure_of(argument)
        count = max(trees.leaf_numbers(part), default=-1) + 1
        return trees.unflatten(part, [Source(value, i) for i in range(count)])
    import jax

    def is_handle(node: Any) -> bool:
        return isinstance(node, Handle)

    return jax.tree_util.tree_map(lambda x: substitute(x) if is_handle(x) else x, argument, is_leaf=is_handle)


def _is_source(leaf: Any) -> bool:
    from mpcrt.tracing import Public as Marked

    return isinstance(leaf, Source | Marked)


def _abstract(source: Source) -> Any:
    """What the tracer sees of a leaf."""
    from mpcrt.plan.types import PUBLIC, SECRET, private
    from mpcrt.tracing import Abstract

    if source.value is None:
        return source.constant
    value = source.value
    assert value.types is not None
    kind = value.types[source.index]
    if kind.dtype == trees.OPAQUE:
        raise UsageError(f"{value.origin} has a leaf that is no array; only numbers and arrays can be shared")
    dtype = canonical(kind.dtype)
    if isinstance(value.placement, Public):
        return Abstract(kind.shape, dtype, PUBLIC, "public")
    if isinstance(value.placement, Spu):
        assert value.forms is not None
        visibility, form = value.forms[source.index]
        return Abstract(kind.shape, dtype, visibility, form)
    owner = owner_of(value.placement)
    assert owner is not None
    return Abstract(kind.shape, dtype, SECRET if value.ownerless else private(owner), "masked")


def canonical(name: str) -> np.dtype:
    """The dtype JAX computes in; the owner refuses integers that do not fit it."""
    return _canonical(name, _x64())


def _x64() -> bool:
    import jax

    return bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]  # one of JAX's dynamic flags


@cache
def _canonical(name: str, x64: bool) -> np.dtype:
    import jax
    import ml_dtypes

    return np.dtype(jax.dtypes.canonicalize_dtype(ml_dtypes.bfloat16 if name == "bfloat16" else np.dtype(name)))


def content(constant: Any) -> Hashable:
    """A constant by type, shape and bytes."""
    constant = getattr(constant, "value", constant) if type(constant).__name__ == "Public" else constant
    array = np.asarray(constant)
    if array.dtype == object:
        raise UsageError(f"an argument of type {type(constant).__name__} is no array; make it static or pass arrays")
    weak = type(constant).__name__ if isinstance(constant, bool | int | float) else str(array.dtype)
    return (weak, array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest())


def _leaf_key(leaf: Any) -> Hashable:
    from mpcrt.tracing import Abstract

    return leaf if isinstance(leaf, Abstract) else content(leaf)


class _Identity:
    """An unhashable object as a key that keeps it alive."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.held is self.held


def _hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    return value
