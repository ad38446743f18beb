"""What JAX says without a way out, said with the user's line and what to write instead."""

import re
import types
from collections.abc import Callable

import jax.errors

from mpcrt.errors import TraceError
from mpcrt.tracing import jaxprs

SELECT = "select with jnp.where (jnp.maximum for max), and combine flags with &, | and ~"
SIZE = "take it from a shape or a static argument, or loop to a constant bound and mask with jnp.where"
ARRAY = "leave it an array, with jnp functions in place of float(), int(), .item() and math"
PLACES = (
    "keep flags in place of positions: jnp.where(mask, x, 0), (x == v).sum() for each v that may occur; or find them "
    "in a party function"
)
CURES: tuple[tuple[type[Exception], str, str, str], ...] = (
    (jax.errors.TracerArrayConversionError, "", "NumPy cannot compute with it",
     "use the function of the same name in jax.numpy (jnp.exp for np.exp)"),
    (jax.errors.TracerBoolConversionError, "", "Python cannot decide by it (if, while, and, or, not, max)", SELECT),
    (ValueError, "truth value of an array", "Python cannot decide by an array (if, while, and, or, not)", SELECT),
    (jax.errors.NonConcreteBooleanIndexError, "", "a boolean mask would make the result's shape depend on it",
     "keep the shape: jnp.where(mask, x, 0), jnp.where(mask, y, x) for x.at[mask].set(y), x.sum(where=mask)"),
    (jax.errors.TracerIntegerConversionError, "", "it cannot be a size, a range or a position in a list", SIZE),
    (IndexError, "Slice entries must be static", "it cannot bound a slice", SIZE),
    (TypeError, "Shapes must be 1D sequences", "it cannot be a size", SIZE),
    (ValueError, "setting an array element with a sequence", "a NumPy array cannot hold it",
     "make the array with jnp.stack, or with jnp.zeros and out = out.at[i].set(y)"),
    (jax.errors.ConcretizationTypeError, r"problem arose with the|(item|tolist)\(\) method",
     "it is no number of Python", ARRAY),
    (jax.errors.ConcretizationTypeError, "nonzero|unique|bincount|(setdiff|union)1d|delete",
     "a result's shape (nonzero, one-argument where, unique, bincount) would depend on it", PLACES),
    (jax.errors.ConcretizationTypeError, "", "it cannot be a size, an axis or a number of things", SIZE),
    (TypeError, "must have __hash__ and __eq__.*Tracer", "it cannot be a size", SIZE),
    (TypeError, "unsupported format string|format: a real number is required", "it cannot be printed",
     "reveal it with .to(party), and print it there"),
    (TypeError, "unhashable type: 'DynamicJaxprTracer'", "it cannot be a key of a dict", SELECT),
)  # fmt: skip


def cured(error: Exception, function: Callable) -> TraceError | None:
    """The error that a user can act on; None where JAX's own says what to do, or is about something else."""
    if isinstance(error, TypeError) and "is not a valid JAX type" in str(error):
        given = str(error).partition("value of type ")[2].partition(",")[0]
        return TraceError(
            f"{defined(function)}: the function returns a value of type {given}; a secure function returns arrays and "
            "numbers, also in dicts, lists and tuples"
        )
    for kind, part, what, cure in CURES:
        if isinstance(error, kind) and re.search(part, str(error)):
            return TraceError(
                f"{raised(error) or defined(function)}: a value is not known while a function is traced, and {what}; "
                f"{cure} ({type(error).__name__}; docs/supported-jax.md)"
            )
    return None


def raised(error: Exception) -> str:
    """`file:line` of the innermost frame in the user's own code; "" if none."""
    found, at = "", error.__traceback__
    while at is not None:
        if jaxprs.is_users(name := at.tb_frame.f_code.co_filename):
            found = f"{name}:{at.tb_lineno}"
        at = at.tb_next
    return found


def defined(function: Callable) -> str:
    """`file:line` where a function is defined, or failing that its name."""
    while not isinstance(function, types.FunctionType):
        inner = getattr(function, "__wrapped__", getattr(function, "func", getattr(function, "__func__", None)))
        if inner is None:
            return getattr(function, "__name__", type(function).__name__)
        function = inner
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
