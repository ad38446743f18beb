"""jnp.sort along any axis, ascending and descending, of floats and integers; the sort op where it is long enough."""

import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import PARTIES, abstract, check

from mpcrt.tracing import trace

RNG = np.random.default_rng(20)
REALS = RNG.normal(size=(3, 40)).astype(np.float32)
TIES = RNG.integers(-4, 4, (40,)).astype(np.int32)
SHORT = RNG.normal(size=(5, 7)).astype(np.float32)

CASES = {
    "one axis": (lambda x: jnp.sort(x), REALS[0]),
    "rows": (lambda x: jnp.sort(x), REALS),
    "columns": (lambda x: jnp.sort(x, axis=0), REALS.T),
    "flattened": (lambda x: jnp.sort(x, axis=None), REALS),
    "descending by neg": (lambda x: -jnp.sort(-x), REALS),
    "descending": (lambda x: jnp.sort(x, descending=True), REALS),
    "integers": (lambda x: jnp.sort(x), TIES),
    "short rows": (lambda x: jnp.sort(x, axis=1), SHORT),
    "median": (lambda x: jnp.sort(x)[..., 20], REALS),
    "of an expression": (lambda x: jnp.sort(x * 0.5 + 1.0), REALS),
}


@pytest.mark.parametrize("name", CASES)
def test_sort(name):
    function, x = CASES[name]
    check(function, x, ulps=2.0)


def test_extreme_integers():
    x = np.array([2**31 - 1, -(2**31), 0, -1] * 8, np.int32)
    check(lambda v: jnp.sort(v), x)


def test_long_axes_use_the_op_and_short_ones_ranks():
    for x, there in ((REALS, True), (SHORT, False)):
        traced = trace(lambda v: jnp.sort(v), [abstract(x)], parties=PARTIES)
        assert any(node.op == "sort" for node in traced.plan.nodes) == there
