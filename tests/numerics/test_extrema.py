"""Maxima, where they are, and sorting: exact, ties as in JAX, in the rounds they say."""

import numpy as np
import pytest
from functions import decoded, encoded
from harness import run
from hypothesis import given, settings
from hypothesis import strategies as st

import mpcrt.numerics as numerics
from mpcrt.plan import Builder, Type
from mpcrt.protocols import plaintext


def evaluate(build, x: np.ndarray, fraction: int = 18) -> np.ndarray:
    b = Builder()
    p = b.finish(build(b, b.input(Type(x.shape, "ring", fraction))))
    words = encoded(x) if fraction else x.astype(np.int64).view(np.uint64)
    return decoded(plaintext.run(p, [words])[0], p.output_types[0].fraction)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 16, 17, 33, 100, 300])
def test_extrema(n, rng):
    x = rng.integers(-9, 9, (7, n)).astype(float)  # many ties
    assert (evaluate(lambda b, v: numerics.max_reduce(b, v, (1,)), x) == x.max(1)).all()
    assert (evaluate(lambda b, v: numerics.min_reduce(b, v, (1,)), x) == x.min(1)).all()
    assert (evaluate(lambda b, v: numerics.argmax(b, v, 1), x) == x.argmax(1)).all()
    assert (evaluate(lambda b, v: numerics.argmin(b, v, 1), x) == x.argmin(1)).all()
    assert (evaluate(lambda b, v: numerics.argmax(b, v, 1, 33), x, 0) == x.argmax(1)).all()


@pytest.mark.parametrize("n", [2, 3, 7, 16, 17, 40])
def test_sort(n, rng):
    x = rng.integers(-9, 9, (3, n)).astype(float)
    assert (evaluate(numerics.sort, x) == np.sort(x, 1)).all()
    assert (evaluate(lambda b, v: numerics.sort(b, v, 33), x, 0) == np.sort(x, 1)).all()
    assert (evaluate(numerics.sort, x, 0) == np.sort(x, 1)).all()  # 64 bits leave no room for an index: a network


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e8, 1e8), min_size=1, max_size=20))
def test_any_values(values):
    x = decoded(encoded(values), 18)
    assert evaluate(lambda b, v: numerics.max_reduce(b, v, (0,)), x) == x.max()
    assert (evaluate(numerics.sort, x) == np.sort(x)).all()


def test_axes(rng):
    x = np.round(rng.normal(size=(3, 4, 5)) * 2**18) / 2**18
    assert (evaluate(lambda b, v: numerics.max_reduce(b, v, (0, 2)), x) == x.max((0, 2))).all()
    assert (evaluate(lambda b, v: numerics.argmax(b, v, 1), x) == x.argmax(1)).all()


@pytest.mark.parametrize(("n", "rounds"), [(2, 3), (3, 4), (5, 5), (16, 5), (100, 11)])
@pytest.mark.parametrize("parties", [2, 3])
def test_shares(n, rounds, parties, rng):
    x = np.round(rng.normal(size=(20, n)) * 2**18) / 2**18
    x[0] = 1.5
    b = Builder()
    v = b.input(Type(x.shape, "ring", 18))
    outcome = run(b.finish(numerics.max_reduce(b, v, (1,)), numerics.argmax(b, v, 1)), [encoded(x)], parties)
    assert (decoded(outcome.values[0], 18) == x.max(1)).all()
    assert (outcome.values[1] == x.argmax(1)).all()
    assert outcome.rounds == rounds


def test_products(rng):
    """Untruncated products: the comparison sees all bits, so exactly one wins even where truncations tie."""
    x, y = (np.round(rng.normal(size=(50, 9)) * 2**-6 * 2**18) / 2**18 for _ in range(2))
    b = Builder()
    product = b.mul(b.input(Type(x.shape, "ring", 18)), b.input(Type(x.shape, "ring", 18)))
    p = b.finish(numerics.max_reduce(b, product, (1,)), numerics.relu(b, product), numerics.sort(b, product))
    largest, positive, ordered = (decoded(v, 18) for v in run(p, [encoded(x), encoded(y)], 2).values)
    assert np.abs(largest - (x * y).max(1)).max() <= 2.0**-17
    assert np.abs(positive - np.maximum(x * y, 0)).max() <= 2.0**-17
    assert np.abs(ordered - np.sort(x * y, 1)).max() <= 2.0**-17


def test_sort_by_shares(rng):
    x = np.round(rng.normal(size=(2, 20)) * 2**18) / 2**18
    b = Builder()
    outcome = run(b.finish(numerics.sort(b, b.input(Type(x.shape, "ring", 18)))), [encoded(x)], 3)
    assert (decoded(outcome.values[0], 18) == np.sort(x, 1)).all()
