"""Keys: equal for the same thing said again, different for everything else, and honest about what they cannot say."""

import dataclasses
import functools
import os
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import abstract
from jax import lax

from mpcrt.tracing import trace
from mpcrt.tracing.keys import Key

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def hoisted(function):
    """The call that computes function(w) at its owner."""
    args = (abstract(X, "private(bob)"), abstract(X, "private(alice)"))
    (call,) = trace(lambda x, w: x * function(w).sum(), args, parties=("alice", "bob")).hoisted
    return call


def layer(n):
    """A jitted function of one row that closes over an array full of n."""
    weights = np.full(3, n, np.float32)
    return jax.jit(lambda row: row * weights)


def scanned(n):
    return lambda w: lax.scan(lambda c, row: (c + layer(n)(row), c), jnp.zeros(3), w)[0]


def looped(n):
    """Trips that the data decide."""
    return lambda w: lax.while_loop(lambda c: c[0] < 5, lambda c: c + layer(n)(jnp.abs(c) + 1), w[0])


def branched(n):
    """A cond inside a jaxpr that stays one: at the top its branches are inlined."""
    return lambda w: lax.map(lambda row: lax.cond(row[0] > 0, layer(n), layer(7), row), w)


def with_vjp(n, derivative=3.0):
    @jax.custom_vjp
    def f(row):
        return row * layer(n)(row)

    f.defvjp(lambda row: (f(row), row), lambda row, g: (g * derivative * row,))
    return f


def with_jvp(n, derivative=3.0):
    @jax.custom_jvp
    def f(row):
        return row * layer(n)(row)

    f.defjvp(lambda p, t: (f(p[0]), t[0] * derivative))
    return f


def drawn(n):
    """Random numbers of a large array of keys, of which text shows the ends."""
    seeds = np.arange(2048)
    seeds[1000] += n
    keys = jax.vmap(jax.random.key)(seeds)
    return lambda w: w.sum() * jax.vmap(jax.random.normal)(keys)


FORMS = {
    "scan": scanned,
    "while": looped,
    "cond": branched,
    "custom_vjp": lambda n: lambda w: lax.map(with_vjp(n), w),
    "custom_jvp": lambda n: lambda w: lax.map(with_jvp(n), w),
    "gradient": lambda n: lambda w: lax.map(jax.grad(lambda row: with_vjp(2, float(n))(row).sum()), w),
    "closure": lambda n: lambda w: jnp.sin(w) * n,
    "partial": lambda n: functools.partial(lambda scale, w: jnp.sin(w) * scale, float(n)),
    "dtype": lambda n: lambda w: w.astype(jnp.float16 if n == 2 else jnp.bfloat16) + 1,
    "zero": lambda n: lambda w: lax.map(lambda v: 1 / (jnp.abs(v) * (0.0 if n == 2 else -0.0)), w),
    "nan": lambda n: lambda w: lax.map(lambda v: jnp.where(v > 0, v, np.float32("nan" if n == 2 else "inf")), w),
    "random": drawn,
    "reducer": lambda n: lambda w: lax.reduce(w, np.float32(0), lambda a, b: a * np.float32(n) + b, (0, 1)),
    "solve": lambda n: lambda w: lax.custom_linear_solve(lambda v: v * n, w, lambda m, b: b / n),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_tells_apart_what_computes_something_else(form):
    make = FORMS[form]
    one, again, other = (hoisted(make(n)) for n in (2, 2, 3))
    assert one.complete and other.complete
    assert one.key == again.key != other.key
    assert not np.array_equal(one.function(X), other.function(X), equal_nan=True), "the forms differ in what they give"


def test_derivatives_that_are_not_taken_do_not_matter():
    for form in (with_vjp, with_jvp):
        one, other = (hoisted(lambda w, f=form(2, d): lax.map(f, w)) for d in (3.0, 4.0))
        assert one.complete and one.key == other.key


class Pair(NamedTuple):
    scale: float


def test_python_that_jax_calls_back_has_only_a_name():
    """The same in every process, and never taken for all that there is."""

    def calling(function):
        return lambda w: jax.pure_callback(function, jax.ShapeDtypeStruct(w.shape, w.dtype), w)

    def scaled(by, w):
        return w * np.float32(by)

    one, other = (hoisted(calling(lambda w, by=by: w * np.float32(by))) for by in (2, 3))
    assert not one.complete and not other.complete and one.key == other.key
    one, other = (hoisted(calling(functools.partial(scaled, by))) for by in (2, 3))
    assert not one.complete and one.key != other.key
    inside = hoisted(lambda w: lax.map(calling(lambda row: row + 1), w))
    assert not inside.complete


def test_keys_are_the_same_in_every_process(tmp_path):
    """Under other addresses and another order of sets."""
    program = tmp_path / "program.py"
    program.write_text("import test_keys as t\nfor make in t.FORMS.values(): print(t.hoisted(make(2)).key)\n")
    here = os.path.dirname(os.path.abspath(__file__))
    printed = [
        subprocess.run(
            [sys.executable, str(program)], env={**os.environ, "PYTHONPATH": here, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1] and len(printed[0].split()) == len(FORMS)


@dataclasses.dataclass(frozen=True)
class Settings:
    scale: float


def test_values_are_told_apart_by_type_and_bits():
    values = [
        None, True, 1, 1.0, "1", b"1", np.float32(1), np.float64(1), np.int64(1), np.bool_(True), np.array(1.0),
        jnp.asarray(1.0), jnp.float32(1), 0.0, -0.0, float("nan"), float("inf"), 0, False, "", b"", (), [], {}, set(),
        (1,), [1], ((1,),), (1, 1), ((1, 1),), ("1", "1"), ("11",), ("1,1",), {1: 1}, {True: 1}, {"1": 1}, {1}, 1j,
        frozenset({1}), np.zeros(2), np.zeros((2, 1)), np.zeros(2, np.int64), np.zeros(2, np.float32), -np.zeros(2),
        np.zeros((0, 2)), np.zeros((2, 0)), np.dtype("float32"), "float32", jax.random.key(0), jax.random.key(1),
        jax.random.key_data(jax.random.key(0)), lax.Precision.HIGH, lax.Precision.HIGHEST, "HIGH", Pair(1.0), Pair(1),
        (1.0,), Settings(1.0), Settings(1), Settings(-0.0), Settings(0.0), jnp.sin, jax.nn.relu, np.float32,
        jax.tree.structure(Pair(1.0)), jax.tree.structure((1,)), jax.tree.structure([1]), jax.tree.structure({"a": 1}),
    ]  # fmt: skip
    keys = [Key().of(v) for v in values]
    equal = [(values[i], values[j]) for i, k in enumerate(keys) for j, other in enumerate(keys[:i]) if k == other]
    assert not equal
    assert keys == [Key().of(v) for v in values]


def test_what_has_only_a_name_is_held():
    def local():
        pass

    for value, held in [
        (local, [local]), (functools.partial(local, 2), [local]), ({"f": (local, 1)}, [local]), (Pair(1), [Pair]),
        (Settings(1), [Settings]), (np.sum, []), (jnp.sin, []), (np.float32, []), ([1, 2.0], []),
    ]:  # fmt: skip
        key = Key()
        key.of(value)
        assert key.held == held, value
