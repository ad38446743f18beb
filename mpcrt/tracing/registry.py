"""Rules by primitive name, and the errors they raise."""

from collections.abc import Callable

from mpcrt.errors import TraceError

RULES: dict[str, Callable] = {}


def rule(*names: str):
    """Registers `function(low, eqn) -> Value or list of Values` as the rule of the primitives `names`."""

    def register(function: Callable) -> Callable:
        for name in names:
            RULES[name] = function
        return function

    return register


class NeedsUnrolling(Exception):
    """Raised inside a loop body whose trips differ in what must be known while tracing."""


REMEDIES = {
    "sin": "pass it in precomputed, or compute it from public or one party's values so that it is hoisted",
    "cos": "pass it in precomputed, or compute it from public or one party's values so that it is hoisted",
    "rem": "take remainders of public or one party's values, outside the secure function if need be",
    "floor": "round before sharing or after revealing; secret values have no exact integer part",
    "ceil": "round before sharing or after revealing; secret values have no exact integer part",
    "round": "round before sharing or after revealing; secret values have no exact integer part",
    "erf_inv": "draw the samples in a party function and pass them in",
    "cholesky": "factor the matrix in a party function, or use an iteration of products",
    "lu": "solve by gradient steps or a Newton iteration of products",
    "triangular_solve": "solve by gradient steps or a Newton iteration of products",
    "top_k": "the k largest values are jnp.sort(x)[..., ::-1][..., :k]; of distinct ones, "
    "(x[:, None] < x).sum(1) < k marks the places",
    "random_seed": "seed with a constant, or pass numbers that a party drew",
    "scatter-max": "write x.at[i].set(jnp.maximum(x[i], y)) with distinct constant i",
    "scatter-min": "write x.at[i].set(jnp.minimum(x[i], y)) with distinct constant i",
    "scatter-mul": "write x.at[i].set(x[i] * y) with distinct constant i",
    "shift_left": "multiply by a power of two",
    "debug_callback": "reveal a value with .to(party) and look at it in a function of that party",
    "debug_print": "reveal a value with .to(party) and print it in a function of that party",
    "pure_callback": "call Python in a party function, before sharing or after revealing",
    "io_callback": "call Python in a party function, before sharing or after revealing",
    "psum": "secure functions have no device axes; use jnp.sum",
}


def unsupported(name: str, line: str, detail: str = "", remedy: str = "") -> TraceError:
    remedy = remedy or REMEDIES.get(name, "compute it in a party function before sharing or after revealing")
    where = f"{line}: " if line else ""
    return TraceError(
        f"{where}{name}{' ' + detail if detail else ''} has no secure form here; {remedy} (docs/supported-jax.md)"
    )
