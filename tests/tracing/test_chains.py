"""Chains as long as a user's loop makes them, traced, scheduled and run on shares: nothing recurses along them."""

import pathlib
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import PARTIES, abstract, inputs_of
from jax import lax

from mpcrt.protocols.shares import Mapped, Zero
from mpcrt.tracing import trace

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "protocols"))
from harness import check as run

LONG = 2000
X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
SQUARED = 1 + 2 * int(np.ceil((X**2).max()))
"""Units by which the square of what was truncated is off; a sum of truncated values is off by one a term."""


def chain(step, length, begin=lambda x: x, end=lambda y: y * y):
    def function(x):
        y = begin(x)
        for i in range(length):
            y = step(y, i)
        return end(y)

    return function


def square(x):
    """A product, whose linear functions are replayed from its wire where they are exposed."""
    return x * x


def rows(x):
    return square(sum(x[i % 4] for i in range(LONG)))


def alternating(x):
    """Each sum asks whether a longer chain of negations is zero."""
    total = y = x
    for _ in range(LONG):
        y = -y
        total = total + y
    return total


def exposed(x):
    """Each comparison exposes a link of one chain."""
    y, total = x * x, x
    for _ in range(LONG // 10):
        y = y + 0.5
        total = total + jnp.maximum(y - 3, 0)
    return total


def marked(x):
    """A long chain beside what makes an activation looked for."""
    y = chain(lambda y, i: -y, LONG, end=lambda y: y)(x)
    return y * jnp.tanh(y)


def counted(x):
    """A chain that the counter of a loop decides."""

    def trip(carry, _):
        i, y = carry
        for _ in range(LONG):
            i = i + 1
        return (i, y * 0.5 + jnp.where(i % 2 == 0, 1.0, 2.0)), None

    return lax.scan(trip, (0, x), None, length=2)[0][1]


CHAINS = {
    "neg": chain(lambda y, i: -y, LONG),
    "neg of a product": chain(lambda y, i: -y, LONG, square),
    "rows": rows,
    "reshape": chain(lambda y, i: y.reshape((4, 3) if i % 2 else (3, 4)), LONG),
    "rev": chain(lambda y, i: y[::-1], LONG),
    "add": chain(lambda y, i: y + 0.5, LONG, end=lambda y: jnp.maximum(y, 0)),
    "set": chain(lambda y, i: y.at[i % 4].set(y[0, 0]), LONG // 4),
    "set in a product": chain(lambda y, i: y.at[i % 4].set(y[0, 0]), LONG // 4, square),
    "doubled": chain(lambda y, i: (y + y) - y, LONG // 4, square),
    "alternating": alternating,
    "exposed": exposed,
    "marked": marked,
    "counted": counted,
    "flags": chain(lambda y, i: ~y, LONG, lambda x: x > 0, lambda y: y),
}


@pytest.mark.parametrize("name", CHAINS)
def test_long_chains_on_shares(name):
    traced = trace(CHAINS[name], (abstract(X),), parties=PARTIES)
    run(traced.plan, inputs_of(traced, (X,)), ulp=LONG // 10 if name == "exposed" else SQUARED, debug=False)


PRIVATE = {
    "layout": chain(lambda y, i: y.T[::-1], LONG, end=lambda y: y),
    "growing": chain(lambda y, i: jnp.concatenate([y, y[:1] * 0.5]), 1200, lambda x: x[:1], lambda y: y[-1] + y[0]),
}


@pytest.mark.parametrize("name", PRIVATE)
def test_long_chains_of_what_one_owner_has(name):
    """The dealer takes the owner's share out of a mask along the chain."""
    given = abstract(X, "private(alice)"), abstract(X, "private(bob)")
    traced = trace(lambda x, w: PRIVATE[name](x) * w[0], given, parties=PARTIES)
    owners = [node.results[0].visibility[8:-1] for node in traced.plan.inputs]
    run(traced.plan, inputs_of(traced, (X, X)), ulp=SQUARED, debug=False, owners=owners)


PREPARED = {
    "set": chain(lambda y, i: y.at[i % 4].set(y[0, 0] * 0.5), 1200),
    "concat": chain(lambda y, i: jnp.concatenate([y[1:], y[:1]]), 1200),
    "where": chain(lambda y, i: jnp.where(y > 0, y - 0.5, y + 0.25), 1200),
}


@pytest.mark.parametrize("name", PREPARED)
def test_long_chains_of_what_an_owner_prepares(name):
    """As one compiled function they would take minutes, or for ever."""
    given = abstract(X, "private(alice)"), abstract(X, "private(bob)")
    traced = trace(lambda x, w: PREPARED[name](x).sum() * w, given, parties=PARTIES)
    began = time.monotonic()
    inputs_of(traced, (X, X))
    assert time.monotonic() - began < 60


def test_what_is_added_to_itself_is_walked_once():
    """As a tree it would have 2^60 leaves."""
    share = Mapped(4, np.add, Zero(4), Zero(4))
    for _ in range(60):
        share = Mapped(4, np.add, share, share)
    np.testing.assert_array_equal(share.without(0).words(), np.zeros(4, np.uint64))
