"""Documented errors over documented ranges, through the plaintext reader and through shares."""

import numpy as np
import pytest
from functions import CASES, Case, arguments, decoded, encoded, excess
from harness import run
from hypothesis import given, settings
from hypothesis import strategies as st

import mpcrt.numerics as numerics
from mpcrt.plan import Builder, Plan, Type
from mpcrt.plan.schedule import schedule
from mpcrt.protocols import cost, plaintext

BY_NAME = {c.name: c for c in CASES}
ROUNDS = {"exp": 3, "exp_nonpositive": 3, "sigmoid": 3, "tanh": 3, "erf": 3, "gelu": 3, "reciprocal": 6, "rsqrt": 6,
          "sqrt": 6, "log": 5}  # fmt: skip


def real(*shape) -> Type:
    return Type(shape, "ring", 18)


def plan(build, shape, product: bool) -> Plan:
    """build(b, x), x an input or the untruncated product of two."""
    b = Builder()
    x = b.input(real(*shape))
    return b.finish(build(b, b.mul(x, b.input(real(*shape))) if product else x))


def drawn(case: Case, rng, n: int, product: bool) -> np.ndarray:
    """Arguments; a product of two must stay below 2^62 in the ring, 2^26 in value."""
    x = arguments(case, rng, n)
    return np.clip(x, -(2.0**25), 2.0**25) if product else x


def inputs(x: np.ndarray, product: bool) -> list[np.ndarray]:
    return [encoded(x), encoded(np.ones_like(x))] if product else [encoded(x)]


@pytest.mark.parametrize("product", [False, True], ids=["masked", "product"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_plaintext(case: Case, product: bool, rng):
    p = plan(case.build, (4000,), product)
    x = drawn(case, rng, 4000, product)
    (y,) = plaintext.run(p, inputs(x, product))
    assert excess(case, x, decoded(y, p.output_types[0].fraction)) <= 0


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_shares(case: Case, n: int, rng):
    """Masks, public coins and all: the same bounds; rounds and bytes as declared."""
    product = n == 3
    p = plan(case.build, (700,), product)
    x = drawn(case, rng, 700, product)
    outcome = run(p, inputs(x, product), n)
    assert excess(case, x, decoded(outcome.values[0], p.output_types[0].fraction)) <= 0
    declared = cost(outcome.schedule)
    assert (declared.rounds, declared.each_party_bytes) == (outcome.rounds, outcome.each_party_bytes)
    assert declared.dealer_bytes == outcome.dealer_bytes
    if case.name in ROUNDS:
        assert outcome.rounds <= ROUNDS[case.name] + product


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["exp", "sigmoid", "tanh", "erf", "gelu", "silu"]), st.lists(st.floats(-100, 0), min_size=1))
def test_any_argument(name, values):
    case = BY_NAME[name]
    x = np.round(np.array(values) * 2**18) / 2**18
    (y,) = plaintext.run(plan(case.build, x.shape, False), [encoded(x)])
    assert excess(case, x, decoded(y, 18)) <= 0


def test_sqrt_near_zero():
    """Below its range sqrt is 0 or nearly right: never off by more than the root itself."""
    x = np.arange(64) * 2.0**-18
    (y,) = plaintext.run(plan(numerics.sqrt, x.shape, False), [encoded(x)])
    assert y[0] == 0
    assert (np.abs(decoded(y, 18) - np.sqrt(x)) <= 2.0**-7).all()


@pytest.mark.parametrize("n", [2, 3])
def test_divide_and_power(n, rng):
    x, y = rng.normal(size=300) * 10, 2.0 ** rng.uniform(-4, 8, 300) * rng.choice([-1, 1], 300)
    z = 2.0 ** rng.uniform(-6, 6, 300)
    b = Builder()
    p, q, r = (b.input(real(300)) for _ in range(3))
    outcome = run(b.finish(numerics.divide(b, p, q), numerics.power(b, r, 1.5)), [encoded(v) for v in (x, y, z)], n)
    x, y, z = (np.round(v * 2**18) / 2**18 for v in (x, y, z))
    quotient, power = (decoded(v, 18) for v in outcome.values)
    assert (np.abs(quotient - x / y) <= 2e-5 * np.abs(x / y) + np.abs(x) * 2.0**-22 + 2.0**-17).all()
    assert (np.abs(power - z**1.5) <= 7e-5 + 4e-5 * z**1.5).all()


def test_divide_before_broadcast():
    """A broadcast denominator is inverted once a row: rows, not elements, pay."""
    b = Builder()
    x, y = b.input(real(100, 64)), b.input(real(100))
    wide = b.broadcast(b.reshape(y, (100, 1)), (100, 64))
    p = b.finish(numerics.divide(b, x, wide))
    (samples,) = [n for n in p.nodes if n.op == "samples"]
    assert samples.results[0].size == 100


@pytest.mark.parametrize(("terms", "rounds"), [(1, 20), (2, 20), (16, 12), (32, 16), (100, 20)])
def test_softmax(terms, rounds, rng):
    x = rng.normal(size=(40, terms)) * rng.choice([0.1, 3, 100], (40, 1))
    x[0] = -(2.0**27)  # an attention mask's whole row
    x = np.round(x * 2**18) / 2**18
    b = Builder()
    p = b.finish(b.truncate(numerics.softmax(b, b.input(real(40, terms)), 1)))
    outcome = run(p, [encoded(x)], 2)
    e = np.exp(x - x.max(1, keepdims=True))
    assert np.abs(decoded(outcome.values[0], 18) - e / e.sum(1, keepdims=True)).max() <= 6e-5
    assert outcome.rounds <= rounds


def test_layer_norm(rng):
    """Scale and epsilon fold into rsqrt, its product takes the scale first: 9 rounds after the mean's."""
    x = np.round(rng.normal(size=(8, 96)) * 2**18) / 2**18
    b = Builder()
    v = b.input(real(8, 96))
    ratio = b.factor(np.asarray(1 / 96))
    mean = b.reshape(b.mul(b.sum(v, (1,)), ratio), (8, 1))
    centred = b.sub(v, b.broadcast(mean, (8, 96)))
    variance = b.mul(b.sum(b.mul(centred, centred), (1,)), ratio)
    inverse = numerics.rsqrt(b, b.add(variance, b.real(1e-5)))
    y = b.truncate(b.mul(centred, b.broadcast(b.reshape(inverse, (8, 1)), (8, 96))))
    outcome = run(b.finish(y), [encoded(x)], 2)
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    assert np.abs(decoded(outcome.values[0], 18) - expected).max() <= 2e-4
    assert outcome.rounds <= 9


@pytest.mark.parametrize(("n", "steps"), [(32, 1), (100_000, 18)])
def test_few_values_are_compared_with_all_thresholds_in_one_step(n, steps):
    """A step costs the same for any few values; of many, each comparison drops what bits it can."""
    lowered = schedule(plan(numerics.rsqrt, (n,), False), 2)
    assert [s.rule for s in lowered.steps].count("msb") == steps
