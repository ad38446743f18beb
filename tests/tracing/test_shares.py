"""Traced functions on shares, on in-memory links: plain JAX within the roundings, at 2 and 3 parties."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import ULP, abstract, compare, inputs_of, outputs_of
from jax import lax

from mpcrt.tracing import trace

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "protocols"))
from harness import run

ALICE, BOB = "private(alice)", "private(bob)"
X = (np.random.default_rng(0).normal(size=(6, 4)) * 0.7).astype(np.float32)
W = (np.random.default_rng(1).normal(size=(4, 4)) * 0.5).astype(np.float32)


def layers(x, w):
    h = jax.nn.gelu(x @ jnp.tanh(w))
    h = (h - h.mean(1, keepdims=True)) * lax.rsqrt(h.var(1, keepdims=True) + 1e-3)
    return jax.nn.softmax(h @ w), jnp.argmax(h, 1), h > 0


def step(x, w):
    def loss(w):
        return jnp.mean(jax.nn.softplus(x @ w) - (x[:, :1] > 0) * (x @ w))

    return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, w, jax.grad(loss)(w))


def loop(x, w):
    """Kept as a loop: a counter, a row a trip, an invariant and a comparison."""
    return lax.fori_loop(0, 30, lambda i, h: jnp.where(h > 0, h, h @ (w * 0.5)) * 0.5 + x[i % 6] / (i + 1), x[0])


def pooled(x, w):
    return jax.grad(lambda v: jnp.sum(lax.reduce_window(v, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID") ** 2))(x @ w)


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("visibility", [("secret", "secret"), (BOB, ALICE)], ids=["secret", "owned"])
@pytest.mark.parametrize("function", [layers, step, loop, pooled], ids=lambda f: f.__name__)
def test_on_shares(function, visibility, parties):
    names = ("alice", "bob", "carol")[:parties]
    traced = trace(function, [abstract(a, v) for a, v in zip((X, W), visibility, strict=True)], parties=names)
    owners = [t.owner or "owner" for t in traced.plan.input_types]
    outcome = run(traced.plan, inputs_of(traced, (X, W)), parties, owners=owners)
    compare(outputs_of(traced, outcome.values), jax.jit(function)(X, W), 120 * ULP)
