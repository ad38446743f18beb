"""Secure functions compiled: arguments to abstract leaves, a trace, a schedule; cached by function and leaves."""

from __future__ import annotations

import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import MpcrtError, TraceError, UsageError
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.plan.types import PUBLIC, SECRET, Type
from mpcrt.runtime import trees
from mpcrt.runtime.arguments import Leaves, Source, is_source, substitute
from mpcrt.runtime.placements import short_name

if TYPE_CHECKING:
    from mpcrt.tracing import Hoisted, Leaf, Traced

CACHE = 256


@dataclass(frozen=True, eq=False, slots=True)
class Origin:
    """Where a plan input comes from: it is leaf `leaf` of the arguments, or (None) something computed of the leaves
    `used` alone. `key` tells what is computed, and the form it takes on a device; None where that cannot be told, so
    that it is computed anew each time."""

    type: Type
    leaf: int | None
    used: tuple[int, ...]
    key: Hashable | None


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

    @cached_property
    def fingerprint(self) -> str:
        return self.traced.plan.fingerprint

    @cached_property
    def origins(self) -> list[Origin]:
        """Of each plan input."""
        return [
            _origin(self.traced, made, type_)
            for made, type_ in zip(self.traced.inputs, self.traced.plan.input_types, strict=True)
        ]

    @cached_property
    def output_types(self) -> list[Type]:
        return list(self.traced.plan.output_types)

    @cached_property
    def forms(self) -> list[tuple[str, str]]:
        """Visibility of each result, and how it is held."""
        return [(PUBLIC if w == "public" else SECRET, w) for w in self.schedule.output_wires]

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
        fixed = {i % max(len(args), 1) for i in static}
        leaves = Leaves()
        outlines = tuple([leaves.take(a) for i, a in enumerate(args) if i not in fixed])
        pinned = tuple([(i, *_pinned(args[i])) for i in sorted(fixed)])
        key = _hashable(function), pinned, outlines, tuple(leaves.kinds), leaves.x64
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry, leaves.sources, False
        rest = iter(_unknown([a for i, a in enumerate(args) if i not in fixed], leaves))
        entry = self._compile(
            function, [args[i] if i in fixed else next(rest) for i in range(len(args))], sorted(fixed)
        )
        self._entries[key] = entry
        if len(self._entries) > CACHE:
            self._entries.popitem(last=False)
        return entry, leaves.sources, True

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


def _unknown(arguments: list[Any], leaves: Leaves) -> list[Any]:
    """Arguments as the tracer sees them: the constants, and in place of values what is known of them."""
    import jax

    seen = [s.constant if s.value is None else kind for s, kind in zip(leaves.sources, leaves.kinds, strict=True)]
    return jax.tree_util.tree_unflatten(
        jax.tree_util.tree_structure([substitute(a) for a in arguments], is_leaf=is_source), seen
    )


def _origin(traced: Traced, made: Leaf | Hoisted, type_: Type) -> Origin:
    from mpcrt.tracing import Leaf

    form = type_.kind, type_.fraction, type_.visibility
    if isinstance(made, Leaf):
        return Origin(type_, made.index, (made.index,), (form, ("leaf",)))
    call = traced.hoisted[made.call]
    return Origin(type_, None, tuple(call.leaves), (form, (call.key, made.result)) if call.complete else None)


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


class _Identity:
    """An unhashable object as a key that keeps it alive."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def __hash__(self) -> int:
        return id(self.held)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other.held is self.held


def _pinned(value: Any) -> tuple[Hashable, ...]:
    """A static argument by its structure and content; of objects in it that have none to be read, by their equality."""
    from mpcrt.tracing import Key

    key = Key()
    return (key.of(value), *[(type(v), _hashable(v)) for v in key.held])


def _hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return _Identity(value)
    return value
