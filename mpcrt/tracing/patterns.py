"""What is recognised in the flat graph: signs that are certain, bits read as numbers, activations written out."""

import math
from collections.abc import Callable

import numpy as np

import mpcrt.numerics as numerics
from mpcrt.plan import Value
from mpcrt.tracing.graph import Eqn, Var
from mpcrt.tracing.lower import Lowering

VIEWS = ("reshape", "broadcast_in_dim", "squeeze", "transpose", "slice", "copy", "rev")
DEPTH = 12
MOST_CONE = 24  # values behind one that are looked at
SCALAR: dict[str, Callable] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y, "neg": lambda x: -x,
    "div": lambda x, y: x / y, "square": lambda x: x * x, "tanh": math.tanh, "erf": math.erf, "erfc": math.erfc,
    "logistic": lambda x: 1 / (1 + math.exp(-x)), "exp": math.exp, "log1p": math.log1p, "log": math.log, "abs": abs,
    "max": max, "copy": lambda x: x,
}  # fmt: skip
ACTIVATIONS: dict[str, Callable] = {
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
}
MARKS = {"mul": {"tanh", "erf", "erfc", "logistic"}, "add": {"log1p"}, "log1p": {"exp"}, "log": {"exp"}}
ROUNDS = {"truncate": 1, "msb": 2, "eqz": 2, "select": 1, "and": 1}
PROBES = (-4.0, -2.3, -1.1, -0.37, 0.0, 0.41, 1.3, 2.2, 3.7)


def width(var: Var) -> int | None:
    """Bits of the difference of two values of an integer type; None for reals: the builder decides."""
    if var.floating:
        return None
    return min(64, 8 * np.dtype(var.dtype).itemsize + 1)


def made_by(var: Var, *names: str) -> Eqn | None:
    return var.made if var.made is not None and var.made.name in names else None


def rounds(low: Lowering, x: Value) -> int:
    """About how many rounds pass before x is there; the schedule knows better, but comes later."""
    waiting = [x]
    while waiting:
        at = waiting[-1]
        operands = low.b.operands(at)
        missing = [v for v in operands if v.number not in low.rounds]
        if missing:
            waiting.extend(missing)
            continue
        waiting.pop()
        before = max((low.rounds[v.number] for v in operands), default=0)
        low.rounds[at.number] = before + ROUNDS.get(low.b.node(at).op, 0)
    return low.rounds[x.number]


def behind_views(var: Var, name: str) -> tuple[Eqn | None, list[Eqn]]:
    """The equation `name` that var is a broadcast or reshape of, and those views, outermost first."""
    views = []
    while (made := made_by(var, "broadcast_in_dim", "reshape", "squeeze")) and var.known is None:
        views.append(made)
        var = made.inputs[0]
    return made_by(var, name), views


def viewed(low: Lowering, x: Value, views: list[Eqn]) -> Value:
    """The views of x."""
    for view in reversed(views):
        if view.name == "broadcast_in_dim":
            x = low.b.broadcast(x, view.outputs[0].shape, view.params["broadcast_dimensions"])
        else:
            x = low.b.reshape(x, view.outputs[0].shape)
    return x


def source_bit(low: Lowering, var: Var) -> Value | None:
    """The bit that var is the 0/1 reading of, perhaps through a broadcast of it."""
    made, views = behind_views(var, "convert_element_type")
    if made is None or not made.inputs[0].boolean or made.inputs[0].visibility != "secret":
        return None
    return viewed(low, low.value(made.inputs[0]), views)


def nonnegative(var: Var, depth: int = DEPTH) -> bool:
    """Whether var >= 0 whatever the inputs."""
    if var.known is not None:
        return bool(np.all(var.known >= 0))
    made = var.made
    if made is None or depth == 0:
        return False
    inputs = made.inputs
    if made.name in ("exp", "exp2", "abs", "square", "logistic", "sqrt", "rsqrt", "erfc"):
        return True
    if made.name == "integer_pow":
        return made.params["y"] % 2 == 0
    if made.name == "max":
        return any(nonnegative(v, depth - 1) for v in inputs)
    if made.name == "mul" and inputs[0] is inputs[1]:
        return True
    if made.name in (
        *VIEWS,
        "reduce_sum",
        "reduce_max",
        "reduce_min",
        "add",
        "add_any",
        "mul",
        "div",
        "min",
        "cumsum",
        "concatenate",
    ):
        return all(nonnegative(v, depth - 1) for v in inputs)
    if made.name == "convert_element_type":
        return inputs[0].boolean or nonnegative(inputs[0], depth - 1)
    if made.name == "select_n":
        return all(nonnegative(v, depth - 1) for v in inputs[1:])
    return False


def nonpositive(var: Var, depth: int = DEPTH) -> bool:
    """Whether var <= 0 whatever the inputs: -|y|, y - max(y), and positive multiples of those."""
    if var.known is not None:
        return bool(np.all(var.known <= 0))
    made = var.made
    if made is None or depth == 0:
        return False
    inputs = made.inputs
    if made.name == "neg":
        return nonnegative(inputs[0], depth - 1)
    if made.name == "sub":
        return bounds(inputs[1], inputs[0]) or (nonpositive(inputs[0], depth - 1) and nonnegative(inputs[1], depth - 1))
    if made.name == "mul":
        return any(nonpositive(x, depth - 1) and nonnegative(y, depth - 1) for x, y in (inputs, inputs[::-1]))
    if made.name == "div":
        return nonpositive(inputs[0], depth - 1) and nonnegative(inputs[1], depth - 1)
    if made.name == "min":
        return any(nonpositive(v, depth - 1) for v in inputs)
    if made.name in (*VIEWS, "add", "reduce_max", "reduce_sum"):
        return all(nonpositive(v, depth - 1) for v in inputs)
    return False


def bounds(top: Var, var: Var) -> bool:
    """Whether `top` is var's maximum, over some axes and broadcast back."""
    made = top.made
    while made is not None:
        if made.name in ("reshape", "broadcast_in_dim", "squeeze", "copy"):
            made = made.inputs[0].made
        elif made.name == "reduce_max":
            return made.inputs[0] is var
        elif made.name == "max":
            unknown = [v for v in made.inputs if v.known is None]
            made = unknown[0].made if len(unknown) == 1 else None
        else:
            return False
    return False


def activation(low: Lowering, e: Eqn) -> Value | None:
    """GELU, SiLU or softplus, however written: e as a function of one variable is compared with them at points."""
    if not e.outputs[0].floating:
        return None
    cone = _cone(e.outputs[0])
    if not any(v.made is not None and v.made.name in MARKS[e.name] for v in cone):
        return None
    for root in cone[1:]:
        try:
            found = [_evaluate(e.outputs[0], {root: x}) for x in PROBES]
        except (OverflowError, ZeroDivisionError, ValueError, LookupError):
            continue
        for name, function in ACTIVATIONS.items():
            if all(abs(v - function(x)) < 2e-6 * (1 + abs(x)) for v, x in zip(found, PROBES, strict=True)):
                return _apply(low, name, low.value(root))
    return None


def _cone(var: Var) -> list[Var]:
    """What var is computed from by scalar functions, nearest first."""
    found, at = [var], 0
    while at < len(found) and len(found) < MOST_CONE:
        made = found[at].made
        if made is not None and (made.name in SCALAR or made.name == "integer_pow"):
            found += [v for v in made.inputs if v.known is None and v not in found]
        at += 1
    return found


def _evaluate(var: Var, known: dict[Var, float], depth: int = 0) -> float:
    """var as a scalar function; LookupError where it depends on something not in `known`, or from too far away."""
    if var in known:
        return known[var]
    if var.constant and var.size and (var.size == 1 or (var.known == var.known.flat[0]).all()):  # type: ignore[union-attr]
        return float(var.known.flat[0])  # type: ignore[union-attr]
    made = var.made
    if made is None or len(known) > 64 or depth > MOST_CONE:
        raise LookupError
    operands = [_evaluate(v, known, depth + 1) for v in made.inputs]
    known[var] = operands[0] ** made.params["y"] if made.name == "integer_pow" else SCALAR[made.name](*operands)
    return known[var]


def _apply(low: Lowering, name: str, x: Value) -> Value:
    if name in ("silu", "softplus"):
        return getattr(numerics, name)(low.b, x)
    return numerics.gelu(low.b, x, name == "gelu_tanh")
