"""Loops: unrolled and kept, counters run ahead, invariants moved out, what one owner's rows decide computed before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import abstract, check, compare, evaluate
from jax import lax

from mpcrt.errors import TraceError
from mpcrt.tracing import loops, trace

X = (np.random.default_rng(0).normal(size=(5, 3)) * 0.5).astype(np.float32)
W = (np.random.default_rng(1).normal(size=(3, 3)) * 0.5).astype(np.float32)


def scan(x, w):
    """Two carries, ys, invariants and a counter."""

    def body(carry, row):
        h, i = carry
        h = h @ (w * 2.0) + row * i
        return (h, i + 1), (h * h, i)

    return lax.scan(body, (x[0], 0), x)


def backwards(x, w):
    return lax.scan(lambda h, row: (h * 0.5 + row, h @ w), jnp.zeros(3), x, reverse=True)


def counted(x, w):
    """The counter indexes: a different row every trip."""
    return lax.fori_loop(0, 5, lambda i, h: h * 0.5 + x[i] @ w, jnp.zeros(3))


def updated(x, w):
    return lax.fori_loop(1, 5, lambda i, h: h.at[i].set(h[i - 1] * 0.5 + x[i]), x) @ w


def whiled(x, w):
    return lax.while_loop(lambda c: c[0] < 10, lambda c: (c[0] + 3, c[1] * 0.5 + x[0] @ w), (0, x[1]))


def nested(x, w):
    def outer(h, row):
        return lax.fori_loop(0, 3, lambda i, g: g @ w + row * i, h), h.sum()

    return lax.scan(outer, x[0], x)


def bits(x, w):
    """A bool, an integer and a float are carried; ys of bools."""

    def body(carry, row):
        seen, count, total = carry
        hit = row[0] > 0
        return (seen | hit, count + hit, jnp.where(seen, total, total + row.sum())), hit

    return lax.scan(body, (False, 0, 0.0), x)


def branching(x, w):
    return lax.fori_loop(0, 5, lambda i, h: lax.cond(i % 2 == 0, lambda v: v + x[0], lambda v: v @ w, h), x[1])


def scheduled(x, w):
    """A learning rate that is an inexact function of the counter."""
    return lax.fori_loop(0, 5, lambda i, h: h - 0.5 * jnp.exp(-0.3 * i) * (h @ w), x[0])


def gradient(x, w):
    return jax.grad(lambda v: jnp.sum(lax.scan(lambda h, row: (h @ v + row, h), x[0], x)[0]))(w)


LOOPS = [scan, backwards, counted, updated, whiled, nested, bits, branching, scheduled, gradient]


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "kept"])
@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_loop(monkeypatch, function, unrolled):
    monkeypatch.setattr(loops, "UNROLL_EQNS", 10_000 if unrolled else 0)
    traced = check(function, X, W, ulps=150)
    assert any(n.op == "loop" for n in traced.plan.nodes) != unrolled


@pytest.mark.parametrize("function", LOOPS, ids=lambda f: f.__name__)
def test_loop_of_two_owners(monkeypatch, function):
    monkeypatch.setattr(loops, "UNROLL_EQNS", 0)
    check(function, X, W, ulps=150, visibility=["private(bob)", "private(alice)"])


def kept(monkeypatch, function, *given):
    monkeypatch.setattr(loops, "UNROLL_EQNS", 0)
    return trace(function, given, parties=("alice", "bob"))


def body_ops(plan):
    (node,) = [n for n in plan.nodes if n.op == "loop"]
    return [n.op for n in node.attrs["body"].nodes]


def test_invariants_leave_the_loop(monkeypatch):
    def function(x, w):
        return lax.scan(lambda h, row: (h + (w @ w)[0] * row, None), x[0], x)[0]

    traced = kept(monkeypatch, function, abstract(X), abstract(W))
    assert "dot" not in body_ops(traced.plan)
    traced = kept(monkeypatch, function, abstract(X), abstract(W, "private(alice)"))
    assert [h.owner for h in traced.hoisted] == ["alice"]


def test_rows_of_one_owner_are_computed_by_it(monkeypatch):
    def function(x, w):
        return lax.scan(lambda h, row: (h @ w + jnp.sin(row), None), w[0], x)[0]

    traced = kept(monkeypatch, function, abstract(X, "private(bob)"), abstract(W))
    assert [(h.owner, h.avals[0][0]) for h in traced.hoisted] == [("bob", (5, 3))]
    compare(evaluate(traced, (X, W)), jax.jit(function)(X, W), 1e-4)


def test_dead_ys_are_not_made(monkeypatch):
    traced = kept(monkeypatch, lambda x, w: lax.scan(lambda h, r: (h + r, h @ w), x[0], x)[0], abstract(X), abstract(W))
    assert "dot" not in body_ops(traced.plan)


def test_secret_conditions_are_refused():
    with pytest.raises(TraceError, match=r"test_loops.py:\d+: while with a condition"):
        trace(
            lambda x: lax.while_loop(lambda v: v[0] < 1, lambda v: v * 2, x), [abstract(X[0])], parties=("alice", "bob")
        )


def test_a_long_loop_stays_one_op():
    traced = trace(
        lambda x: lax.fori_loop(0, 10_000, lambda i, h: h * 0.5 + x[1], x[0]), [abstract(X)], parties=("alice", "bob")
    )
    assert len(traced.plan.nodes) < 20


def test_no_trips():
    check(lambda x, w: lax.scan(lambda h, r: (h @ w, h), x[0], x[:0]), X, W)
