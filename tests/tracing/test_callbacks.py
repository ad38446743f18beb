"""Python that JAX calls back: refused where it has an effect or would see secrets, else run at the owner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import PARTIES, ULP, abstract, compare, evaluate
from jax import lax
from jax.experimental import io_callback

from mpcrt.errors import TraceError
from mpcrt.tracing import trace

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def told(x, message="{}"):
    jax.debug.print(message, x)
    return x


def same(x):
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def in_a_function(x):
    return jax.jit(told)(x)


EFFECTS = {
    "print": told,
    "print of what nothing depends on": lambda x: (jax.debug.print("here"), x)[1],
    "print of a constant": lambda x: (jax.debug.print("{}", jnp.arange(3)), x)[1],
    "callback": lambda x: (jax.debug.callback(lambda v: None, x), x)[1],
    "io": lambda x: io_callback(lambda v: v, same(x), x),
    "io without a result": lambda x: (io_callback(lambda v: None, None, x, ordered=True), x)[1],
    "jit": in_a_function,
    "scan": lambda x: lax.scan(lambda c, _: (told(c) * 0.5, None), x, None, length=3)[0],
    "long scan": lambda x: lax.scan(lambda c, _: (told(c) * 0.5, None), x, None, length=300)[0],
    "counter": lambda x: lax.fori_loop(0, 3, lambda i, c: (told(i), c * 0.5)[1], x),
    "cond": lambda x: lax.cond(x[0, 0] > 0, told, lambda v: -v, x),
    "map": lambda x: lax.map(told, x),
    "vmap": jax.vmap(told),
}


@pytest.mark.parametrize("visibility", ["secret", "private(alice)", "public"])
@pytest.mark.parametrize("name", EFFECTS)
def test_effects_are_refused_whoever_has_the_value(name, visibility, capfd):
    """At the line that has the effect; nothing has happened."""
    with pytest.raises(TraceError, match=r"test_callbacks\.py:\d+: (debug|io)_\w+ has no secure form here; \w+"):
        trace(lambda x, w: EFFECTS[name](x) * w, (abstract(X, visibility), abstract(X)), parties=PARTIES)
    jax.effects_barrier()
    assert capfd.readouterr().out == ""


def doubled(x):
    return jax.pure_callback(lambda v: v * np.float32(2), same(x), x)


def test_pure_callbacks_of_secrets_are_refused():
    with pytest.raises(TraceError, match=r"test_callbacks\.py:\d+: pure_callback of secret values.*party function"):
        trace(doubled, (abstract(X),), parties=PARTIES)


@pytest.mark.parametrize("visibility", ["private(alice)", "public"])
def test_pure_callbacks_of_other_values_run_where_these_are(visibility):
    traced = trace(lambda x, w: doubled(x) * w, (abstract(X, visibility), abstract(X)), parties=PARTIES)
    assert [(c.owner, c.complete) for c in traced.hoisted] == [("alice", False)]
    compare(evaluate(traced, (X, X)), 2 * X * X, 4 * ULP)


def test_python_decides_no_constant():
    """What it gives on one machine is no literal of everybody's plan: the first party computes and publishes it."""
    given = iter(range(100))
    shape = jax.ShapeDtypeStruct((3,), np.int32)

    def once(x):
        return x + jax.pure_callback(lambda n: n + np.int32(next(given)), shape, jnp.arange(3))

    def mapped(x):
        return x + lax.map(
            lambda n: jax.pure_callback(lambda n: n + np.int32(next(given)), shape, n), jnp.ones((4, 3), int)
        )

    for function in (once, mapped):
        traced = trace(function, (abstract(X),), parties=PARTIES)
        assert [(c.owner, c.visibility, c.complete) for c in traced.hoisted] == [("alice", "public", False)]
    assert next(given) == 0
