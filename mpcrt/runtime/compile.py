"""Secure functions compiled: arguments to abstract leaves, a trace, a schedule; cached by function and leaves."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import MpcrtError, TraceError
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.plan.types import PUBLIC, SECRET, Type
from mpcrt.protocols import cost
from mpcrt.runtime import facts, programs, trees
from mpcrt.runtime.arguments import Leaves, Source, is_source, substitute
from mpcrt.runtime.placements import short_name

if TYPE_CHECKING:
    from mpcrt.tracing import Hoisted, Leaf, Traced

CACHE = 256
LIGHT_BYTES = 1 << 20


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
    """A traced and scheduled function. `published` keeps the wires of public constants, which depend on no value.
    `last`: the wires that it was last run on, and those it gave."""

    traced: Traced
    schedule: Schedule
    structure: trees.Structure
    types: tuple[trees.LeafType, ...]
    seconds: float
    function: Callable[..., Any]
    published: dict[Any, Any] = field(default_factory=dict)
    facts: list[facts.Fact] = field(default_factory=list)
    constants: dict[int, Any] = field(default_factory=dict)
    last: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

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

    @cached_property
    def dealer_bytes(self) -> int:
        """What the dealer sends for a run."""
        return cost(self.schedule).dealer_bytes

    @property
    def light(self) -> bool:
        """Whether the dealer sends so little for a run that it never waits for the parties meanwhile."""
        return self.dealer_bytes <= LIGHT_BYTES

    def follows(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> tuple[int, ...] | None:
        """The wires that the next run will have if it goes on as from the last run to this: the same, or the results of
        the run before. None where it does not go on like that."""
        before, given = self.last
        self.last = inputs, outputs
        carried = dict(zip(given, outputs, strict=False))
        if len(before) != len(inputs) or not all([n == b or n in carried for n, b in zip(inputs, before, strict=True)]):
            return None
        return tuple([n if n == b else carried[n] for n, b in zip(inputs, before, strict=True)])


class Cache:
    """The most recently used compiled functions of a device. Every party makes the same calls, so all have the same."""

    def __init__(self, fraction: int, parties: tuple[str, ...]) -> None:
        self._fraction, self._parties = fraction, parties
        self._entries: OrderedDict[Hashable, Compiled] = OrderedDict()

    def knows(self, function: Callable, args: Sequence[Any], static: Sequence[int], identity: Hashable) -> bool:
        """Whether `get` would find the function compiled."""
        return self._key(function, args, static, identity)[0] in self._entries

    def get(
        self, function: Callable, args: Sequence[Any], static: Sequence[int], identity: Hashable
    ) -> tuple[Compiled, list[Source], bool]:
        """The compiled function, the flattened arguments' sources, and whether it was compiled just now. `identity`: of
        the function and its static arguments, see `moment`."""
        key, leaves, ends = self._key(function, args, static, identity)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry, leaves.sources, False
        check_published(function, leaves.sources)
        fixed = set(static)
        rest = iter(_unknown([a for i, a in enumerate(args) if i not in fixed], leaves))
        entry = self._compile(
            function, [args[i] if i in fixed else next(rest) for i in range(len(args))], sorted(fixed)
        )
        given = [i for i in range(len(args)) if i not in fixed]
        kinds = {i: leaves.kinds[a:b] for i, a, b in zip(given, [0, *ends][:-1], ends, strict=True)}
        entry.facts = facts.of_compiled(entry, kinds, {i: args[i] for i in sorted(fixed)})
        self._entries[key] = entry
        if len(self._entries) > CACHE:
            self._entries.popitem(last=False)
        return entry, leaves.sources, True

    def _key(
        self, function: Callable, args: Sequence[Any], static: Sequence[int], identity: Hashable
    ) -> tuple[Hashable, Leaves, list[int]]:
        """The key of a call, the leaves of its arguments, and where those of each traced argument end."""
        leaves, outlines, ends = Leaves(), [], []
        for i, argument in enumerate(args):
            if i not in static:
                outlines.append(leaves.take(argument, function, i))
                ends.append(len(leaves.sources))
        return (identity, tuple(outlines), tuple(leaves.kinds), leaves.x64), leaves, ends

    def _compile(self, function: Callable, args: list[Any], static: list[int]) -> Compiled:
        from mpcrt.tracing import trace

        start = time.perf_counter()
        try:
            traced = trace(function, args, fraction=self._fraction, parties=self._parties, static_argnums=tuple(static))
        except MpcrtError:
            raise
        except (
            Exception,
            SystemExit,
        ) as error:  # the user's function, on abstract values: there is no data in what it says
            raise TraceError(f"{short_name(function)}() cannot be traced: {said(error)}") from error
        scheduled = schedule(traced.plan, len(self._parties))
        types = tuple(trees.LeafType(tuple(shape), np.dtype(dtype).name) for shape, dtype in traced.out_avals)
        structure, _ = trees.flatten(traced.unflatten(list(range(len(types)))))
        return Compiled(traced, scheduled, structure, types, time.perf_counter() - start, function)


def check_published(function: Callable, sources: Sequence[Source]) -> None:
    """Arrays and numbers that every party gives become constants of the plan, which every party and the dealer reads:
    the rule for closures holds for them too, all of one call together. Raises TraceError."""
    from mpcrt.tracing.graph import CLOSURE_BYTES
    from mpcrt.tracing.types import is_public

    arrays = [np.asarray(s.constant) for s in sources if s.value is None and not is_public(s.constant)]
    total = sum([a.nbytes for a in arrays])
    if total > CLOSURE_BYTES:
        largest = max(arrays, key=lambda a: a.nbytes)
        among = f", the largest of them {largest.dtype}{list(largest.shape)}" if len(arrays) > 1 else ""
        raise TraceError(
            f"{short_name(function)}() has arguments of {total} bytes that no party owns{among}; they would be "
            "published to every party and the dealer. Let a function of their owner give them, or wrap them in "
            f"mpcrt.public if they may be published (up to {CLOSURE_BYTES} bytes in all are without)"
        )


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


def said(error: BaseException) -> str:
    """An error of a traced function in one line, with the innermost line of the user's own code."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:300]}{programs.line_of(error)}"
