"""Constant folding that gives the same bits everywhere: layout, integers, and what IEEE 754 rounds exactly.

Everything else about public floats is computed once, by one party (DESIGN rule 7): `fold` returns None for it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mpcrt.tracing import indexing, jaxprs

MAX_ELEMENTS = 1 << 24
FOLDS: dict[str, Callable[..., Any]] = {}


def folds(*names: str):
    def register(function):
        for name in names:
            FOLDS[name] = function
        return function

    return register


def fold(eqn: Any, operands: list) -> list[np.ndarray] | None:
    """The equation's results on NumPy operands, or None where they might differ from one machine to another."""
    if any(not isinstance(v.dtype, np.dtype) for v in eqn.outputs) or any(v.size > MAX_ELEMENTS for v in eqn.outputs):
        return None
    whole = all(np.dtype(v.dtype).kind in "iub" for v in (*eqn.inputs, *eqn.outputs))
    function = FOLDS.get(eqn.name)
    if function is not None:
        with np.errstate(all="ignore"):
            result = function(eqn.params, *operands)
        if result is not None:
            results = result if isinstance(result, list) else [result]
            return [shaped(r, v) for r, v in zip(results, eqn.outputs, strict=True)]
    if whole and eqn.inputs and not jaxprs.calls_python(eqn.name, eqn.params):
        return jaxprs.evaluate_now(eqn.run, *operands)
    return None


def shaped(result: Any, var: Any) -> np.ndarray:
    return np.broadcast_to(np.asarray(result).astype(var.dtype, copy=False), var.shape)


def exactly(*names: str):
    def register(function):
        for name in names:
            FOLDS[name] = lambda p, *xs: function(*xs)
        return function

    return register


for _name, _function in {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "abs": np.abs,
    "sign": np.sign, "square": np.square, "max": np.maximum, "min": np.minimum, "sqrt": np.sqrt, "rem": np.fmod,
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "floor": np.floor, "ceil": np.ceil, "is_finite": np.isfinite,
    "copy": np.array, "stop_gradient": np.array, "real": np.real,
}.items():  # fmt: skip
    exactly(_name)(_function)


@exactly("div")
def _(x, y):
    if np.asarray(x).dtype.kind in "iu":
        if not np.all(y):
            return None
        quotient = np.abs(x) // np.abs(y)
        return np.where((x < 0) != (y < 0), -quotient, quotient)
    return np.divide(x, y)


@exactly("rsqrt")
def _(x):
    return np.asarray(1, x.dtype) / np.sqrt(x)


@exactly("clamp")
def _(low, x, high):
    return np.minimum(np.maximum(x, low), high)


@exactly("select_n")
def _(which, first, *rest):
    if len(rest) > 30:
        return None
    return np.choose(np.broadcast_to(which, np.shape(first)).astype(np.intp), (first, *rest))


@folds("integer_pow")
def _(p, x):
    exponent = p["y"]
    result = np.ones_like(x)
    for bit in f"{abs(exponent):b}":
        result = result * result
        if bit == "1":
            result = result * x
    if exponent >= 0:
        return result
    return None if x.dtype.kind in "iu" else np.asarray(1, x.dtype) / result


@folds("convert_element_type")
def _(p, x):
    dtype = p["new_dtype"]
    if not isinstance(dtype, np.dtype):
        return None
    if dtype == np.bool_:
        return np.asarray(x) != 0
    if np.asarray(x).dtype.kind == "f" and dtype.kind in "iu" and not np.isfinite(x).all():
        return None
    return np.asarray(x).astype(dtype)


@folds("iota")
def _(p):
    shape, axis = p["shape"], p["dimension"]
    column = np.arange(shape[axis]).astype(p["dtype"])
    return np.broadcast_to(column.reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape)


@folds("reshape")
def _(p, x):
    return (x if p.get("dimensions") is None else np.transpose(x, p["dimensions"])).reshape(p["new_sizes"])


@folds("squeeze")
def _(p, x):
    return np.squeeze(x, tuple(p["dimensions"]))


@folds("transpose")
def _(p, x):
    return np.transpose(x, p["permutation"])


@folds("broadcast_in_dim")
def _(p, x, *dynamic):
    if dynamic:
        return None
    shape, dims = p["shape"], p["broadcast_dimensions"]
    inner = [1] * len(shape)
    for i, d in enumerate(dims):
        inner[d] = x.shape[i]
    return np.broadcast_to(x.reshape(inner), shape)


@folds("slice")
def _(p, x):
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(slice(a, b, s) for a, b, s in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


@folds("rev")
def _(p, x):
    return np.flip(x, tuple(p["dimensions"]))


@folds("concatenate")
def _(p, *xs):
    return np.concatenate(xs, p["dimension"])


@folds("stack")
def _(p, *xs):
    return np.stack(xs, p["axis"])


@folds("unstack")
def _(p, x):
    return list(np.moveaxis(x, p["axis"], 0))


@folds("split")
def _(p, x):
    return np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"])


@folds("tile")
def _(p, x):
    return np.tile(x, p["reps"])


@folds("pad")
def _(p, x, value):
    config = [(int(lo), int(hi), int(inner)) for lo, hi, inner in p["padding_config"]]
    return indexing.pad(np.asarray(x), np.asarray(value), config)


@folds("dynamic_slice")
def _(p, x, *starts):
    starts = indexing.clamped(starts, x.shape, p["slice_sizes"])
    return x[tuple(slice(s, s + n) for s, n in zip(starts, p["slice_sizes"], strict=True))]


@folds("dynamic_update_slice")
def _(p, x, update, *starts):
    starts = indexing.clamped(starts, x.shape, update.shape)
    result = np.array(x)
    result[tuple(slice(s, s + n) for s, n in zip(starts, update.shape, strict=True))] = update
    return result


@folds("gather")
def _(p, x, indices):
    at = indexing.gather(x.shape, indices, p)
    if (at < 0).any():
        return None
    return np.asarray(x).reshape(-1)[at]


@folds("reduce_max")
def _(p, x):
    return np.max(x, tuple(p["axes"])) if x.size else None


@folds("reduce_min")
def _(p, x):
    return np.min(x, tuple(p["axes"])) if x.size else None


@folds("reduce_and")
def _(p, x):
    return np.all(x, tuple(p["axes"])) if x.dtype == np.bool_ else None


@folds("reduce_or")
def _(p, x):
    return np.any(x, tuple(p["axes"])) if x.dtype == np.bool_ else None


@folds("reduce_sum")
def _(p, x):
    """Floats by math.fsum, which rounds once and does not depend on order."""
    axes = tuple(p["axes"])
    if x.dtype.kind in "iub":
        return np.sum(x, axes, dtype=x.dtype)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    rows = np.transpose(x, (*rest, *axes)).reshape(math.prod(x.shape[i] for i in rest), -1).astype(np.float64)
    if rows.size > 1 << 20:
        return None
    return np.array([math.fsum(row) for row in rows]).reshape([x.shape[i] for i in rest])
