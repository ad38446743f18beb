"""Inputs of secure functions: where each comes from, what an owner computes of it in plaintext, and its ring words."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import InputError, UsageError, UserFunctionError
from mpcrt.plan.types import Type
from mpcrt.ring import codec
from mpcrt.runtime import trees
from mpcrt.runtime.arguments import Source
from mpcrt.runtime.compile import Compiled, Origin
from mpcrt.runtime.values import Value

if TYPE_CHECKING:
    from mpcrt.runtime.executor import Devices

INTEGER_LIMIT = 62

log = logging.getLogger("mpcrt.run")


def memo(device: str, compiled: Compiled, sources: Sequence[Source], origin: Origin) -> tuple[dict[Any, Any], Hashable]:
    """Where a plan input is remembered once it is on the device, and under which key.

    The key says which leaves it is made of and what is computed; it is kept by a value among them, whose end ends it.
    """
    used = [sources[i] for i in origin.used]
    keeper = next((s.value.shared for s in used if s.value is not None), compiled.published)
    return keeper, (device, origin.key, tuple([s.identity for s in used]))


def provider(compiled: Compiled, sources: Sequence[Source], index: int) -> tuple[str | None, str]:
    """(the party that has plan input `index`, or None for a public one; what it is called in logs and errors)."""
    from mpcrt.plan.types import owner
    from mpcrt.runtime.values import owner_of
    from mpcrt.tracing import Leaf

    origin = compiled.traced.inputs[index]
    if isinstance(origin, Leaf):
        value = sources[origin.index].value
        return (owner_of(value.placement) if value else None), name_of(sources[origin.index])
    call = compiled.traced.hoisted[origin.call]
    return owner(call.visibility), ", ".join(dict.fromkeys(origin_of(sources[i]) for i in call.leaves)) or "a constant"


def name_of(source: Source) -> str:
    """A leaf as a user knows it: `result of load()['w'][0]`."""
    if source.value is None:
        return "a constant argument"
    paths = list(trees.paths(source.value.structure))
    return source.value.origin + (paths[source.index] if source.index < len(paths) else f" leaf {source.index}")


def names_of(sources: Sequence[Source]) -> str:
    """Several leaves as a user knows them; of many, only where they come from."""
    names = [name_of(s) for s in sources]
    if len(names) > 4:
        names = list(dict.fromkeys(origin_of(s) for s in sources))
    return ", ".join(names) or "constants"


def origin_of(source: Source) -> str:
    return source.value.origin if source.value is not None else "a constant"


class Plaintext:
    """The owner's side of one call: evaluates hoisted functions at most once, and encodes."""

    def __init__(self, compiled: Compiled, sources: Sequence[Source], devices: Devices) -> None:
        self._compiled, self._sources, self._devices = compiled, sources, devices
        self._results: dict[int, list[np.ndarray]] = {}

    def words(self, index: int, type_: Type) -> np.ndarray:
        """Plan input `index` as ring elements (uint64) or bits (uint8). Raises InputError naming argument and leaf."""
        from mpcrt.tracing import Leaf, Unprepared

        origin = self._compiled.traced.inputs[index]
        if isinstance(origin, Leaf):
            source = self._sources[origin.index]
            return encode(concrete(source), type_, name_of(source))
        call = self._compiled.traced.hoisted[origin.call]
        if origin.call not in self._results:
            used = [self._sources[i] for i in call.leaves]
            given = [self._given(s) for s in used]
            for source, array in zip(used, given, strict=True):
                check_finite(array, name_of(source))
            try:
                self._results[origin.call] = call.function(*given)
            except Unprepared as failed:
                what = f"preparing {origin_of(used[0]) if used else 'constants'}"
                where = f" in {failed.line}" if failed.line else ""
                log.error("%s failed%s", what, where, exc_info=failed.cause)
                raise UserFunctionError(
                    f"{what} failed{where}: {failed.kind}; the traceback is in this log"
                ) from failed.cause
        names = names_of([self._sources[i] for i in call.leaves])
        return encode(self._results[origin.call][origin.result], type_, f"what is computed of {names}")

    def _given(self, source: Source) -> np.ndarray:
        """The plaintext of a leaf. A public result of a secure function is on its device as it is."""
        value = source.value
        if value is None or value.leaves is not None:
            return concrete(source)
        assert value.wires is not None and value.types is not None
        wire = value.wires[source.index]
        if not self._devices.holds(wire.device, wire.number):
            raise UsageError(
                f"{name_of(source)} is public, but no party that has the program computes on {wire.device}; "
                "move it with .to(mpcrt.public) and pass that"
            )
        words = np.asarray(self._devices.wire(wire.device, wire.number))
        return decode(words, value.plan_types[source.index], value.types[source.index])


def concrete(source: Source) -> np.ndarray:
    """The plaintext of a leaf that this process holds, cut to JAX's dtypes only where nothing is lost."""
    import jax

    if source.value is None:
        return np.asarray(getattr(source.constant, "value", source.constant))
    assert source.value.leaves is not None
    array = np.asarray(source.value.leaves[source.index])
    kept = jax.dtypes.canonicalize_dtype(array.dtype)
    if kept != array.dtype and array.dtype.kind in "iu" and array.size:
        info = np.iinfo(kept)
        if array.min() < info.min or array.max() > info.max:
            raise InputError(
                f"{name_of(source)}: {array.dtype} values that {kept} would cut; set jax_enable_x64 or convert them"
            )
    return array.astype(kept)


def check_finite(array: np.ndarray, what: str) -> None:
    """NaN and infinity are named at the leaf the owner gave, before anything is computed of it."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = "NaN" if np.isnan(array).any() else "infinity"
        raise InputError(f"{what}: contains {bad}, which fixed point cannot represent; clean or clip it first")


def encode(array: np.ndarray, type_: Type, what: str) -> np.ndarray:
    """An array as ring elements or bits of `type_`. Raises InputError naming `what`."""
    if array.shape != type_.shape:
        raise InputError(f"{what}: has shape {list(array.shape)}, the plan wants {list(type_.shape)}")
    if type_.kind == "bit":
        return np.ascontiguousarray(array, np.uint8).reshape(type_.shape)
    if array.dtype.kind not in "iubf":
        array = array.astype(np.float32)
    return np.ascontiguousarray(codec.encode(array, type_.fraction, what)).reshape(type_.shape)


def decode(words: np.ndarray, type_: Type, leaf: trees.LeafType) -> np.ndarray:
    """Ring elements or bits back to an array of the leaf's shape and dtype."""
    dtype = np.dtype(leaf.dtype) if leaf.dtype != "bfloat16" else np.dtype(np.float32)
    if type_.kind == "bit":
        made = np.asarray(words).astype(dtype)
    elif dtype == np.bool_:
        made = np.asarray(words) != 0
    else:
        made = codec.decode(np.ascontiguousarray(words), type_.fraction, dtype)  # type: ignore[arg-type]
    if leaf.dtype == "bfloat16":
        import ml_dtypes

        made = made.astype(ml_dtypes.bfloat16)
    return made.reshape(leaf.shape)


def raw_type(leaf: trees.LeafType, fraction: int, visibility: str) -> Type:
    """The type in which a leaf is shared as it is: floats in fixed point, integers with no fraction, bools as bits."""
    if leaf.dtype == "bool":
        return Type(leaf.shape, "bit", 0, visibility)
    return Type(leaf.shape, "ring", fraction if "float" in leaf.dtype else 0, visibility)


def raw_key(device: str, index: int, type_: Type, value: Value) -> Hashable:
    """The key of a leaf shared as it is, equal to what `memo` gives for it."""
    return (device, ((type_.kind, type_.fraction, type_.visibility), ("leaf",)), ((value.number, index),))
