"""The traced function as one flat graph: calls inlined, constants folded, visibilities joined."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from mpcrt.errors import TraceError
from mpcrt.plan.types import PUBLIC, SECRET, join, owner
from mpcrt.tracing import fold, jaxprs
from mpcrt.tracing.registry import NeedsUnrolling, unsupported
from mpcrt.tracing.types import is_public

CLOSURE_BYTES = 64 * 1024
IDENTITIES = {
    "copy", "stop_gradient", "name", "optimization_barrier", "sharding_constraint", "device_put",
    "reduce_precision", "pvary", "pcast", "mesh_cast", "reshard", "real", "conj",
}  # fmt: skip


@dataclass(eq=False, slots=True)
class Var:
    """A value of the function. `known`: its value, where constants alone decide it; with `stacked`, one a loop trip
    along a first axis. `leaves`: the flattened arguments it depends on, where it is not secret."""

    shape: tuple[int, ...]
    dtype: Any
    visibility: str = PUBLIC
    known: np.ndarray | None = None
    stacked: bool = False
    leaf: int | None = None
    made: "Eqn | None" = None
    leaves: frozenset[int] = frozenset()
    depth: int = 0  # how many loops decide it
    rows: "Var | None" = None  # in a loop: the value outside whose row (from the end, if flipped) a trip sees
    flipped: bool = False
    users: list["Eqn"] = field(default_factory=list)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def floating(self) -> bool:
        return is_float(self.dtype)

    @property
    def boolean(self) -> bool:
        return self.dtype == np.bool_

    def at(self, trip: int) -> np.ndarray:
        """The known value in a trip."""
        assert self.known is not None
        return self.known[trip] if self.stacked else self.known

    @property
    def constant(self) -> bool:
        """Known, and the same in all trips."""
        return self.known is not None and not self.stacked


@dataclass(eq=False, slots=True)
class Eqn:
    """A primitive applied. `run` computes it in plaintext on concrete arrays."""

    name: str
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    params: dict
    line: str
    run: Callable[..., list]


def is_float(dtype: Any) -> bool:
    return not isinstance(dtype, np.dtype) or dtype.kind in "fV" or "float" in dtype.name


def constant(value: Any, dtype: Any = None) -> Var:
    array = np.asarray(value, dtype)
    return Var(array.shape, array.dtype, known=array)


class Closures:
    """The arrays and numbers that a function closes over. Each is published, so together with `given` bytes of constant
    arguments they have at most CLOSURE_BYTES, except those marked with `mpcrt.public` and those whose ids are in
    `allowed`. Equal numbers count once: many different ones are an array too."""

    def __init__(self, allowed: frozenset[int] = frozenset(), given: int = 0) -> None:
        self._allowed = allowed
        self._found: dict[Any, Any] = {}
        self._total = given

    def admit(self, value: Any, line: str, what: str = "closes over") -> None:
        """Raises TraceError, with the line, for one too many. `what`: what the function does with it."""
        key = self._key(value)
        if id(value) in self._allowed or key in self._found or is_public(value):
            return
        self._found[key] = value
        shape, dtype = np.shape(value), getattr(value, "dtype", np.dtype(float))
        size = int(np.prod(shape)) * dtype.itemsize
        self._total += size
        if self._total > CLOSURE_BYTES:
            among = f", {self._total} with what else is published of this call" if self._total > size else ""
            kind = f"an array {dtype}{list(shape)}" if shape else f"a number {dtype}"
            raise TraceError(
                f"{line + ': ' if line else ''}the function {what} {kind} of {size} "
                f"bytes{among}, which would be published to every party; pass it as an argument of its owner, or wrap "
                f"it in mpcrt.public (up to {CLOSURE_BYTES} bytes in all are published without)"
            )

    @staticmethod
    def _key(value: Any) -> Any:
        dtype = getattr(value, "dtype", np.dtype(float))
        if np.ndim(value) or not isinstance(dtype, np.dtype):
            return id(value)
        return dtype, np.asarray(value).tobytes()


class Graph:
    """Equations in order. `closures`: the constants that may be published. A loop's body has
    its trips, its depth, and the graph around it, to which goes what does not change by trip."""

    def __init__(
        self, parties: tuple[str, ...], closures: Closures, trips: int | None = None, depth: int = 0,
        parent: "Graph | None" = None,
    ) -> None:  # fmt: skip
        self.parties = parties
        self.closures = closures
        self.trips = trips
        self.depth = depth
        self.parent = parent
        self.eqns: list[Eqn] = []

    def apply(self, name: str, inputs: Iterable[Var], avals, params: dict, line: str, run: Callable) -> tuple[Var, ...]:
        """Adds one equation, or folds it."""
        inputs, avals = tuple(inputs), list(avals)
        depth = max((v.depth for v in inputs), default=0)
        if depth < self.depth and self.parent is not None:
            return self.parent.apply(name, inputs, avals, params, line, run)
        if any(v.stacked and v.depth < self.depth for v in inputs):
            raise NeedsUnrolling
        outputs = tuple(Var(tuple(shape), dtype, depth=depth) for shape, dtype in avals)
        eqn = Eqn(name, inputs, outputs, params, line, run)
        if (inputs and all(v.known is not None for v in inputs)) or name == "iota":
            self._fold(eqn)
        visibility = join(*(v.visibility for v in inputs)) if inputs else PUBLIC
        sure = certain(name, inputs) if visibility == SECRET else None
        if sure is not None:
            return (Var(outputs[0].shape, outputs[0].dtype, known=np.broadcast_to(np.bool_(sure), outputs[0].shape)),)
        if depth and visibility != SECRET and any(v.known is None for v in outputs):
            return self._by_trip(eqn, avals)
        leaves = frozenset().union(*(v.leaves for v in inputs)) if visibility != SECRET else frozenset()
        for v in outputs:
            v.made = eqn
            if v.known is None:
                v.visibility, v.leaves = visibility, leaves
        for v in dict.fromkeys(inputs):
            v.users.append(eqn)
        if any(v.known is None for v in outputs) or not outputs:
            self.eqns.append(eqn)
        return outputs

    def _by_trip(self, eqn: Eqn, avals: list) -> tuple[Var, ...]:
        """What one owner's rows (or counters) decide in a loop, computed for all trips at once outside."""
        if self.parent is None:  # a loop's body looked at to see what constants decide; nothing is computed
            return tuple(Var(v.shape, v.dtype, SECRET, depth=self.depth) for v in eqn.outputs)
        trips = self.trips or 0
        flipped = any(v.flipped for v in eqn.inputs)
        outer, axes = [], []
        for v in eqn.inputs:
            moves = v.depth == self.depth
            axes.append(0 if moves else None)
            if moves and v.stacked:
                rows = v.known[::-1] if flipped else v.known  # type: ignore[index]
                outer.append(Var((trips, *v.shape), v.dtype, known=rows))
            else:
                outer.append(v.rows if moves else v)
        if any(v is None for v in outer):
            raise NeedsUnrolling
        run = jaxprs.batched(eqn.run, tuple(axes))
        wide = [((trips, *shape), dtype) for shape, dtype in avals]
        params = {**eqn.params, "batched": tuple(axes)}
        results = self.parent.apply(f"map {eqn.name}", outer, wide, params, eqn.line, run)
        return tuple(
            Var(tuple(shape), dtype, r.visibility, depth=self.depth, rows=r, flipped=flipped, leaves=r.leaves, made=eqn)
            for r, (shape, dtype) in zip(results, avals, strict=True)
        )

    def _fold(self, eqn: Eqn) -> None:
        trips = self.trips if any(v.stacked for v in eqn.inputs) else None
        if trips is None:
            results = fold.fold(eqn, [v.known for v in eqn.inputs])
        else:
            rows = [fold.fold(eqn, [v.at(t) for v in eqn.inputs]) for t in range(trips)]
            results = None if any(r is None for r in rows) else [np.stack(c) for c in zip(*rows, strict=True)]
        for v, known in zip(eqn.outputs, results or (), strict=False):
            v.known, v.stacked = known, trips is not None

    # -- from jaxprs

    def closure(self, value: Any, line: str = "") -> Var:
        """A constant that the jaxpr carries."""
        self.closures.admit(value, line)
        if not isinstance(getattr(value, "dtype", np.dtype(float)), np.dtype):
            shape, dtype = tuple(value.shape), value.dtype  # a PRNG key: opaque, but public
            return self.apply("literal", (), [(shape, dtype)], {"value": value}, line, lambda: [value])[0]
        return constant(np.asarray(value), value.dtype if hasattr(value, "dtype") else None)

    def inline(self, jaxpr: Any, consts: list[Var], args: list[Var], line: str = "", near: str = "") -> list[Var]:
        """Adds the equations of a jaxpr; `line` overrides those inside where not empty, `near` is for those without."""
        body, own = jaxprs.closed(jaxpr)
        consts = consts or [self.closure(c, line or near) for c in own]
        env: dict[Any, Var] = dict(zip((*body.constvars, *body.invars), (*consts, *args), strict=True))

        def read(atom: Any) -> Var:
            if not jaxprs.is_literal(atom):
                return env[atom]
            value = np.asarray(atom.val, jaxprs.aval(atom)[1]) if np.ndim(atom.val) == 0 else atom.val
            return self.closure(value, line or near)

        for eqn in body.eqns:
            at = line or jaxprs.source_line(eqn) or near
            results = self._eqn(eqn, [read(v) for v in eqn.invars], at)
            for var, result in zip(eqn.outvars, results, strict=True):
                env[var] = result
        return [read(v) for v in body.outvars]

    def _eqn(self, eqn: Any, inputs: list[Var], line: str) -> list[Var]:
        name, params = eqn.primitive.name, eqn.params
        if name in jaxprs.CALLS:
            body = params[jaxprs.CALLS[name]]
            return self.inline(body, [], inputs, line if jaxprs.jax_made(body) else "", line)
        if (effect := jaxprs.with_effect(eqn)) is not None:
            raise unsupported(effect.primitive.name, jaxprs.source_line(effect) or line)
        if name in IDENTITIES and len(inputs) == len(eqn.outvars):
            return inputs
        avals = [jaxprs.aval(v) for v in eqn.outvars]
        for _, dtype in avals:
            if isinstance(dtype, np.dtype) and dtype.kind == "c":
                raise unsupported(name, line, "of complex numbers", "keep real and imaginary parts as two real arrays")
        if name == "cond":
            return self._cond(params, inputs, line)
        if name in ("scan", "while") and join(*(v.visibility for v in inputs)) == SECRET:
            from mpcrt.tracing import loops

            return loops.add(self, name, params, inputs, avals, line)
        if join(*(v.visibility for v in inputs)) == PUBLIC:
            self._public(name, params, avals, line)
        run = jaxprs.binder(eqn.primitive, params)
        return list(self.apply(name, inputs, avals, jaxprs.plain(params), line, run))

    def _public(self, name: str, params: dict, avals: list, line: str) -> None:
        """What is inside an equation whose results may be published, and what Python gives to it, count as closures."""
        for value in jaxprs.constants(params):
            self.closures.admit(value, line)
        for shape, dtype in avals if jaxprs.calls_python(name, params) else ():
            self.closures.admit(jax.ShapeDtypeStruct(shape, dtype), line, "takes from Python")

    def _cond(self, params: dict, inputs: list[Var], line: str) -> list[Var]:
        """The branch taken where the predicate is known; else every branch, and a selection among the results."""
        index, *operands = inputs
        branches = params["branches"]
        if index.constant:
            at = int(np.clip(int(index.known), 0, len(branches) - 1))  # type: ignore[arg-type]
            return self.inline(branches[at], [], operands, near=line)
        results = [self.inline(b, [], operands, near=line) for b in branches]
        return [self.choose(index, cases, line) for cases in zip(*results, strict=True)]

    def choose(self, index: Var, cases: tuple[Var, ...], line: str) -> Var:
        from jax import lax

        if all(c is cases[0] for c in cases):
            return cases[0]
        return self.apply(
            "select_n", (index, *cases), [(cases[0].shape, cases[0].dtype)], {}, line, lambda *a: [lax.select_n(*a)]
        )[0]

    # -- analyses

    def live(self, outputs: Iterable[Var]) -> list[Eqn]:
        """The equations that outputs depend on, in order."""
        wanted, kept = {id(v) for v in outputs}, []
        for eqn in reversed(self.eqns):
            if any(id(v) in wanted and v.known is None for v in eqn.outputs):
                kept.append(eqn)
                wanted.update(id(v) for v in eqn.inputs)
        kept.reverse()
        return kept


def certain(name: str, inputs: tuple[Var, ...]) -> bool | None:
    """What a test of secret values always gives, since fixed point has neither NaN nor infinity."""
    if name == "is_finite":
        return True
    if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
        return None
    x, y = inputs
    if x is y:
        return name in ("eq", "le", "ge")
    infinite = any(v.constant and v.floating and v.size and not np.isfinite(v.at(0)).any() for v in inputs)
    return name == "ne" if infinite and name in ("eq", "ne") else None


def party_of(visibility: str, parties: tuple[str, ...]) -> str:
    """Who computes what has this visibility: its owner, or for public floats the first computing party."""
    return owner(visibility) or parties[0]
