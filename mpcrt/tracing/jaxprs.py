"""The only module that touches jaxpr classes: reading equations, nested jaxprs, source lines, and binding primitives.

Public JAX API only, so that one text serves the releases that mpcrt supports.
"""

import os
import sysconfig
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax.extend import core

# Calls whose body is traced in place; the value is the parameter that holds the body.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "call": "call_jaxpr",
    "eval_jaxpr": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
}
# What runs Python beside the computation: with an effect that would have to happen once a call, and without.
EFFECTS = {"debug_callback", "debug_print", "io_callback", "outside_call", "inspect_sharding", "infeed", "outfeed"}
PURE = "pure_callback"
OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SITE = tuple({os.path.abspath(sysconfig.get_paths()[k]) for k in ("purelib", "platlib", "stdlib", "platstdlib")})
HERE = os.path.dirname(os.path.abspath(jax.__file__))
JAX = (HERE, os.path.join(os.path.dirname(HERE), "jaxlib"))


def make_jaxpr(function: Callable, *arguments: Any):
    """(closed jaxpr, pytree of result shapes) of `function` on arrays or ShapeDtypeStructs."""
    return jax.make_jaxpr(function, return_shape=True)(*arguments)


def closed(jaxpr: Any) -> tuple[Any, list]:
    """(open jaxpr, its constants) of an open or closed one."""
    if isinstance(jaxpr, core.ClosedJaxpr):
        return jaxpr.jaxpr, list(jaxpr.consts)
    return jaxpr, []


def owned(jaxpr: Any, own: Callable[[Any], Any]) -> Any:
    """The jaxpr with own(c) for each constant c, also in the jaxprs in it."""
    body, constants = closed(jaxpr)
    if any(next(nested(eqn.params), None) is not None for eqn in body.eqns):
        body = body.replace(eqns=[eqn.replace(params=_owned(eqn.params, own)) for eqn in body.eqns])
    return core.ClosedJaxpr(body, [own(c) for c in constants]) if isinstance(jaxpr, core.ClosedJaxpr) else body


def _owned(param: Any, own: Callable[[Any], Any]) -> Any:
    if is_jaxpr(param):
        return owned(param, own)
    if type(param) in (tuple, list):
        return type(param)([_owned(v, own) for v in param])
    return {k: _owned(v, own) for k, v in param.items()} if type(param) is dict else param


def is_literal(atom: Any) -> bool:
    return isinstance(atom, core.Literal)


def is_jaxpr(value: Any) -> bool:
    return isinstance(value, (core.ClosedJaxpr, core.Jaxpr))


def is_aval(value: Any) -> bool:
    """Whether it is JAX's description of an array: shape, dtype and weak type."""
    return type(value).__module__.startswith("jax") and hasattr(value, "shape") and hasattr(value, "dtype")


def aval(atom: Any) -> tuple[tuple[int, ...], Any]:
    """(shape, dtype) of a variable or literal."""
    return tuple(atom.aval.shape), atom.aval.dtype


def nested(params: dict) -> Iterator[Any]:
    """The jaxprs among an equation's parameters."""
    for param in params.values():
        yield from (v for v in (param if isinstance(param, tuple | list) else (param,)) if is_jaxpr(v))


def constants(params: dict) -> Iterator[Any]:
    """The arrays and numbers in what an equation runs."""
    for jaxpr in nested(params):
        body, own = closed(jaxpr)
        yield from own
        for eqn in body.eqns:
            yield from (v.val for v in eqn.invars if is_literal(v))
            yield from constants(eqn.params)


def calls_python(name: str, params: dict) -> bool:
    """Whether a primitive calls Python back, in what it runs too."""
    inner = (eqn for jaxpr in nested(params) for eqn in closed(jaxpr)[0].eqns)
    return name == PURE or name in EFFECTS or any(calls_python(e.primitive.name, e.params) for e in inner)


def with_effect(eqn: Any) -> Any | None:
    """The equation, this one or one in what it runs, that has an effect beside its results."""
    if eqn.primitive.name in EFFECTS:
        return eqn
    inner = (with_effect(e) for jaxpr in nested(eqn.params) for e in closed(jaxpr)[0].eqns)
    return next((e for e in inner if e is not None), None)


def plain(value: Any) -> Any:
    """Parameters with Python's integers in place of NumPy's, which some releases leave in them."""
    if isinstance(value, np.integer):
        return int(value)
    if type(value) in (tuple, list):
        return tuple(plain(v) for v in value)
    return {k: plain(v) for k, v in value.items()} if type(value) is dict else value


def monoid(jaxpr: Any) -> str | None:
    """The name of the one primitive that a reducer's jaxpr applies to its two arguments, if it is so simple."""
    body, _ = closed(jaxpr)
    if len(body.eqns) != 1 or len(body.outvars) != 1:
        return None
    (eqn,) = body.eqns
    if eqn.primitive.name in CALLS:
        return monoid(eqn.params[CALLS[eqn.primitive.name]])
    return eqn.primitive.name if set(map(id, eqn.invars)) == set(map(id, body.invars)) else None


def binder(primitive: Any, params: dict) -> Callable[..., list]:
    """A function of concrete (or traced) arrays that applies the primitive and gives a list of results."""

    def run(*operands):
        result = primitive.bind(*operands, **params)
        return list(result) if primitive.multiple_results else [result]

    return run


def batched(run: Callable[..., list], axes: tuple) -> Callable[..., list]:
    """run, for all rows of the operands with axis 0 in `axes`."""
    return lambda *operands: list(jax.vmap(lambda *row: tuple(run(*row)), in_axes=axes)(*operands))


def evaluate_now(run: Callable[..., list], *operands) -> list[np.ndarray]:
    with jax.ensure_compile_time_eval():
        return [np.asarray(v) for v in run(*operands)]


@lru_cache(maxsize=4096)
def _foreign(name: str) -> int:
    """0: the user's file; 1: somebody's library; 2: JAX, mpcrt or nothing."""
    path = os.path.abspath(name)
    if name.startswith("<frozen") or path.startswith((*JAX, OWN + os.sep)):
        return 2
    return 1 if path.startswith(SITE) else 0


def is_users(name: str) -> bool:
    """Whether a file is the user's own code."""
    return _foreign(name) == 0


def source_line(eqn: Any) -> str:
    """`file:line` of the innermost frame in the user's own code, or failing that in a library on JAX; "" if none."""
    traceback = getattr(eqn.source_info, "traceback", None)
    found = ""
    for frame in getattr(traceback, "frames", ()):
        kind = _foreign(frame.file_name)
        if kind == 0:
            return f"{frame.file_name}:{frame.line_num}"
        if kind == 1 and not found:
            found = f"{frame.file_name}:{frame.line_num}"
    return found


def jax_made(jaxpr: Any) -> bool:
    """Whether a nested function is JAX's own: its cached body carries the line of an earlier caller."""
    body, _ = closed(jaxpr)
    where = str(getattr(getattr(body, "debug_info", None), "func_src_info", ""))
    return any(root in where for root in JAX)
