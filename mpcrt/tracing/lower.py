"""Lowering: runs the rules of live equations on a Builder, and asks for plan inputs only at the frontier.

A value that one owner can compute stays out of the plan until something secret needs it. Then the frontier is moved
back over layout that keeps or enlarges (reshape, broadcast, pad), so that the small value is shared, as an input.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from mpcrt.errors import InputError, MpcrtError, TraceError
from mpcrt.plan import Builder, PlanError, Type, Value, constant_array
from mpcrt.plan.types import SECRET
from mpcrt.ring.codec import encode, limit
from mpcrt.tracing.graph import Eqn, Graph, Var, is_float
from mpcrt.tracing.registry import RULES, NeedsUnrolling, unsupported

Encode = Callable[[Builder, np.ndarray], Value]
SAME_SIZE = {"reshape", "transpose", "squeeze", "rev", "copy"}
ENLARGING = {"broadcast_in_dim", "pad", "concatenate", "stack", "tile"}


class Lowering:
    """State of one plan (or loop body) in the making."""

    def __init__(
        self, builder: Builder, graph: Graph, wires: dict[Var, str] | None = None, parent: "Lowering | None" = None
    ) -> None:
        self.b = builder
        self.wires = wires or {}
        self.parent = parent
        self.taken: dict[Var, tuple[Value, Value]] = {}  # in a loop: from outside, the body's value and the outer one
        self.rows: dict[tuple[Var, bool], tuple[Value, Value]] = {}  # the same for rows of outer values
        self.wanted: set[Var] = set()
        self.rounds: dict[int, int] = {}  # by value number, see patterns.rounds
        self.graph = graph
        self.values: dict[Var, Value] = {}
        self.live: set[Eqn] = set()
        self.frontier: list[tuple[Var, Value]] = []
        self.stacked: list[tuple[np.ndarray, Value]] = []  # constants of a loop, one a trip, and their body inputs
        self.warnings: list[str] = parent.warnings if parent is not None else []

    @property
    def fraction(self) -> int:
        return self.b.fraction

    # -- running

    def run(self, outputs: Iterable[Var]) -> None:
        """Rules of all secret equations that outputs need, in program order."""
        outputs = list(outputs)
        eqns = self.graph.live(outputs)
        self.live.update(eqns)
        self.wanted.update(outputs)
        self.wanted.update(v for e in eqns for v in e.inputs)
        for eqn in eqns:
            if eqn.outputs[0].visibility == SECRET or eqn.name == "loop":
                self.apply(eqn)

    def apply(self, eqn: Eqn) -> None:
        if all(v in self.values for v in eqn.outputs):
            return
        saved, self.b.line = self.b.line, eqn.line
        function = RULES.get(eqn.name)
        if function is None:
            raise unsupported(eqn.name, eqn.line, "of secret values")
        try:
            result = function(self, eqn)
        except (InputError, PlanError) as error:
            raise TraceError(f"{eqn.line}: {eqn.name}: {error}") from error
        results = result if isinstance(result, (list, tuple)) else [result]
        for var, value in zip(eqn.outputs, results, strict=True):
            if value is not None:
                self.values[var] = self.checked(eqn, var, value)
        self.b.line = saved

    def checked(self, eqn: Eqn, var: Var, value: Value) -> Value:
        if value.shape != var.shape:
            value = self.b.broadcast(value, var.shape)
        if (value.type.kind == "bit") != var.boolean:
            raise TraceError(f"{eqn.line}: {eqn.name} gave {value.type} for {var.dtype}")
        return value

    def fail(self, eqn: Eqn, detail: str, remedy: str) -> MpcrtError:
        return unsupported(eqn.name, eqn.line, detail, remedy)

    def used(self, var: Var, *names: str) -> Eqn | None:
        """A live equation of one of these primitives that uses var."""
        return next((e for e in var.users if e in self.live and e.name in names), None)

    # -- values

    def value(self, var: Var) -> Value:
        """The plan value of var; constants as ordinary reals, integers or bits."""
        if var in self.values:
            return self.values[var]
        if var.known is not None:
            return self.known_value(var)
        if self.parent is not None and (var.depth < self.graph.depth or var.rows is not None):
            return self._entering(var, self.parent)
        if var.visibility == SECRET and var.leaf is None:
            raise TraceError(
                f"{var.made.line if var.made else ''}: internal: a secret value was needed before its rule ran"
            )
        if self.layout(var) is not None:
            self.moved_back(var)
            return self.values[var]
        value = self.b.input(self.type_of(var), self.wires.get(var))
        self.frontier.append((var, value))
        self.values[var] = value
        return value

    def layout(self, var: Var) -> Eqn | None:
        """The layout that makes var of values that one owner has, where it is done on shares."""
        secret = var.visibility == SECRET or var.known is not None or var in self.values
        outside = self.parent is not None and (var.depth < self.graph.depth or var.rows is not None)
        return var.made if not secret and not outside and var.made is not None and movable(var.made) else None

    def moved_back(self, var: Var) -> None:
        """Runs the layout that leads to var from the values that enter, in the order in which its rules ask for them,
        without recursion: a user's loop makes such chains long."""
        waiting = [(var.made, iter(var.made.inputs))] if var.made is not None else []
        while waiting:
            eqn, inputs = waiting[-1]
            for v in inputs:
                if v.known is not None or not v.size:
                    continue
                if (made := self.layout(v)) is not None:
                    waiting.append((made, iter(made.inputs)))
                    break
                self.value(v)
            else:
                self.apply(eqn)
                waiting.pop()

    def _entering(self, var: Var, outside: "Lowering") -> Value:
        """In a loop: a value, or a row of a value, from outside."""
        if var.depth < self.graph.depth or var.rows is None:
            outer = outside.value(var)
            inner = self.b.input(outer.type)
            self.taken[var] = inner, outer
        elif (var.rows, var.flipped) in self.rows:
            inner, _ = self.rows[var.rows, var.flipped]
        else:
            outer = outside.b.truncate(outside.value(var.rows))
            if var.flipped:
                at = np.arange(var.rows.size).reshape(outer.shape)
                outer = outside.b.take(outer, at[::-1])
            inner = self.b.input(outer.type.with_(shape=var.shape))
            self.rows[var.rows, var.flipped] = inner, outer
        self.values[var] = inner
        return inner

    def carry(self, var: Var) -> Value:
        """The body input of a loop's carry."""
        self.values[var] = self.b.input(self.type_of(var))
        return self.values[var]

    def settled(self, var: Var, dtype: Any) -> Value:
        """A value with exactly the fraction bits of its type, as outputs and carries have."""
        value = self.value(var)
        return self.b.align(value, self.fraction) if is_float(dtype) else value

    def wants(self, var: Var) -> bool:
        return var in self.wanted

    def inserted(self, make: Callable[[Graph], list[Var]]) -> list[Var]:
        """Adds equations while lowering, and runs them."""
        before = len(self.graph.eqns)
        outputs = make(self.graph)
        fresh = set(self.graph.eqns[before:])
        for eqn in self.graph.live(outputs):
            if eqn in fresh:
                self.live.add(eqn)
                self.wanted.update(eqn.inputs)
                if eqn.outputs[0].visibility == SECRET:
                    self.apply(eqn)
        return outputs

    def type_of(self, var: Var) -> Type:
        if not isinstance(var.dtype, np.dtype) or var.dtype.kind not in "fiubV":
            raise TraceError(f"values of type {var.dtype} cannot enter a plan")
        if var.boolean:
            return Type(var.shape, "bit", 0, var.visibility)
        return Type(var.shape, "ring", self.fraction if var.floating else 0, var.visibility)

    def known(self, var: Var) -> np.ndarray | None:
        """Its constant, if it has one that is the same in all trips of a loop."""
        if var.stacked:
            raise NeedsUnrolling
        return var.known

    def encoded(self, var: Var, encode: Encode) -> Value:
        """A constant by `encode(builder, array)`; where it is stacked, a body input whose row t is that of trip t."""
        assert var.known is not None
        made = var.made
        if var.stacked:
            scratch = Builder(self.fraction)
            whole = encode(scratch, var.known)
            (node,) = scratch.finish(whole).nodes
            value = self.b.input(whole.type.with_(shape=var.shape))
            self.stacked.append((constant_array(node), value))
            return value
        if made is not None and made.name == "broadcast_in_dim" and made.inputs[0].size < var.size:
            small = self.encoded(made.inputs[0], encode)
            return self.b.broadcast(small, var.shape, made.params["broadcast_dimensions"])
        return encode(self.b, var.known)

    def known_value(self, var: Var) -> Value:
        if var.boolean:
            return self.encoded(var, Builder.bit_constant)
        return self.encoded(var, Builder.real if var.floating else Builder.integer)

    def scalar(self, var: Var) -> float | None:
        """The one number that a constant consists of, if it is so."""
        if not var.constant or not var.size:
            return None
        first = var.known.flat[0]  # type: ignore[union-attr]
        return first if var.size == 1 or (var.known == first).all() else None

    def factor(self, var: Var) -> Value:
        """The plan value of var as a factor: a constant with the fraction bits it deserves. Scalars stay scalars."""
        if var.known is None or var.boolean:
            return self.value(var)
        encode = Builder.factor if var.floating else Builder.integer
        number = self.scalar(var)
        return self.encoded(var, encode) if number is None else encode(self.b, np.asarray(number))

    def addend(self, var: Var, other: Value) -> Value:
        """The plan value of var to be added to `other`: a constant gets its fraction bits if they fit."""
        if not var.constant or not var.floating:
            return self.value(var)
        top = float(np.max(np.abs(var.known), initial=0.0))  # type: ignore[arg-type]
        if other.fraction > self.fraction and top < limit(other.fraction) / 4:
            return self.encoded(var, lambda b, a: b.real(a, other.fraction))
        return self.value(var)

    def saturated(self, var: Var, magnitude: float | None = None) -> Value:
        """A constant whose infinities and out-of-range entries become `magnitude` with their sign; by default a number
        that products with ordinary factors still hold."""
        if not var.constant or not var.floating:
            return self.value(var)
        top = limit(self.fraction) * (1 - 2.0**-20)
        stand_in = min(top, 2.0 ** (61 - 2 * self.fraction)) if magnitude is None else magnitude
        return self.encoded(var, lambda b, a: b.real(clipped(a, top, stand_in)))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Value:
        if dtype == np.bool_:
            return self.b.broadcast(self.b.bit_constant(np.zeros((), np.uint8)), shape)
        return self.b.broadcast(self.b.ring_constant(np.zeros((), np.uint64)), shape)

    def mask(self, keep: np.ndarray) -> Value:
        """A public 0/1 array as integers, to multiply by without rounding."""
        return self.b.ring_constant(encode(np.asarray(keep, np.int64), 0))


def clipped(values: np.ndarray, top: float, stand_in: float) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return np.where(np.abs(values) <= top, values, np.sign(values) * stand_in)


def movable(eqn: Eqn) -> bool:
    """Whether the frontier moves back over eqn: layout, free on shares, whose input is no larger than its output."""
    unknown = {id(v): v for v in eqn.inputs if v.known is None}
    if any(v.visibility != eqn.outputs[0].visibility for v in unknown.values()):
        return False
    if eqn.name in SAME_SIZE:
        return True
    if eqn.name == "convert_element_type":
        (x,) = eqn.inputs
        return isinstance(x.dtype, np.dtype) and not x.boolean and eqn.outputs[0].floating
    return eqn.name in ENLARGING and sum(v.size for v in unknown.values()) <= eqn.outputs[0].size
