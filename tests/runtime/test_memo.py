"""What owners computed and shared is used again exactly where the same would be computed again."""

import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import mpcrt

bob, spu = mpcrt.party("bob"), mpcrt.spu("spu")
ROWS = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
STEP = 2.0**-17


@bob
def rows():
    return ROWS


def revealed(session, *values):
    """Values as bob has them, in his process; elsewhere an empty list."""
    seen = []
    bob(lambda *arrays: seen.extend(arrays))(*[v.to(bob) for v in values])
    session.finish()
    return seen


def scanned(n):
    weights = np.full(3, n, np.float32)
    layer = jax.jit(lambda row: row * weights)
    return lambda x: lax.scan(lambda c, row: (c + layer(row) * row, c), jnp.zeros(3), x)[0]


def test_two_functions_that_differ_in_what_a_layer_closes_over(world):
    def program(session):
        x = rows()
        return revealed(session, spu(scanned(2))(x), spu(scanned(3))(x), spu(scanned(2))(x))

    seen = world(program).check().results["bob"]
    squares = (ROWS**2).sum(0)
    for got, n in zip(seen, (2, 3, 2), strict=True):
        np.testing.assert_allclose(got, n * squares, atol=STEP)


def test_python_that_jax_calls_back_is_called_each_time(world):
    """Its results are not taken from an earlier call, of another function or of the same one."""
    counts = iter(range(1, 100))

    def program(session):
        def calling(function):
            shape = jax.ShapeDtypeStruct((2, 3), np.float32)
            return spu(lambda x: jax.pure_callback(function, shape, x))

        x, twice = rows(), calling(lambda x: x * np.float32(2))
        counted = calling(lambda x: x * np.float32(next(counts)))
        return revealed(session, twice(x), calling(lambda x: x * np.float32(3))(x), twice(x), counted(x), counted(x))

    seen = world(program).check().results["bob"]
    for got, n in zip(seen, (2, 3, 2, 1, 2), strict=True):
        np.testing.assert_allclose(got, n * ROWS, atol=STEP)


def test_what_is_the_same_is_shared_once(world):
    """Said anew by other objects: equal keys."""

    def program(session):
        x = rows()
        for n in (2, 2, 3, 2):
            value = spu(scanned(n))(x)
        return value.shape

    made = world(program).check()
    assert made.engines["bob"].link.statistics.total("sent", peer="alice", kind=4).messages == 2


class Pair(NamedTuple):
    first: object
    second: object


def test_a_call_is_what_it_was_when_it_was_made(world):
    """Main goes on at once, and changes what the function closes over, and what it was given."""

    def program(session):
        x, asked = rows(), []
        weights, settings, space, pair = np.ones(3, np.float32), {}, types.SimpleNamespace(), Pair(np.ones(3), 0.0)
        scaled = spu(lambda x, s: x * s["by"], static_argnums=1)
        named = spu(lambda x, s: x * s.by, static_argnums=1)
        paired = spu(lambda x, p: x * p.first)
        for by in (2.0, 3.0, 4.0):
            weights[:] = pair.first[:] = settings["by"] = space.by = by
            asked += [spu(lambda x: x * by)(x), spu(lambda x: x * weights)(x)]  # noqa: B023
            asked += [scaled(x, settings), named(x, space), paired(x, pair)]
        return revealed(session, *asked)

    seen = world(program).check().results["bob"]
    for got, by in zip(seen, np.repeat((2, 3, 4), 5), strict=True):
        np.testing.assert_allclose(got, by * ROWS, atol=STEP)


def test_the_order_of_a_static_dict_matters(world):
    def by_order(x, steps):
        for name, by in steps.items():
            x = x * by + (name == "a")
        return x

    def program(session):
        function, x = spu(by_order, static_argnums=1), rows()
        return revealed(session, function(x, {"a": 2.0, "b": 3.0}), function(x, {"b": 3.0, "a": 2.0}))

    one, other = world(program).check().results["bob"]
    np.testing.assert_allclose(one, (ROWS * 2 + 1) * 3, atol=STEP)
    np.testing.assert_allclose(other, ROWS * 3 * 2 + 1, atol=STEP)
