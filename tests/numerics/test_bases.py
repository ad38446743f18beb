"""The public bases: integers alone, the same bits for ever; g(D - l) whatever the mask; bad parameters refused."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.numerics.coefficients import RECIPROCAL, SATURATED
from mpcrt.ring import samples, tables

WORDS = st.integers(0, 2**64 - 1)
SIGMOID = SATURATED["sigmoid"]
BASES = {
    "exp": samples.Exp(18, 43, 13, 16),
    "exp36": samples.Exp(36, 50, 1, 20),
    "series": samples.Series(18, 50, True, 1675468577053, 1, 2, 20, 0, SIGMOID.coefficients),
    "chebyshev": samples.Chebyshev(38, 44, "reciprocal", 36, 2, 5, 120259084288, 120259084288, 20),
    "chebyshev56": samples.Chebyshev(56, 44, "log", 53, 3, 5, 15762598695796736, 15762598695796736, 20),
}
GOLDEN = {
    "exp": "a755ec0478b558a8",
    "exp36": "d8f2e99cf48bc2b7",
    "series": "0f06188d7f1fbc68",
    "chebyshev": "853acace6307d44a",
    "chebyshev56": "59a97fbba60a6b5f",
}


class Integers(np.ndarray):
    """An array that refuses to become floating point."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [np.asarray(x) if isinstance(x, Integers) else x for x in inputs]
        out = kwargs.get("out")
        if out is not None:
            kwargs["out"] = tuple(np.asarray(x) if isinstance(x, Integers) else x for x in out)
        result = np.asarray(getattr(ufunc, method)(*plain, **kwargs))
        assert result.dtype.kind in "iub", f"{ufunc} gave {result.dtype}"
        return result.view(Integers)


def corpus() -> np.ndarray:
    """Fixed D: powers of two and their neighbours, and a multiplicative walk."""
    edges = [(1 << i) + j for i in range(64) for j in (-1, 0, 1)]
    walk = [pow(0x9E3779B97F4A7C15, i, 2**64) for i in range(1, 2000)]
    return np.array([v % 2**64 for v in edges + walk], np.uint64)


def digest(basis) -> str:
    d = corpus()
    h = hashlib.sha256()
    index = basis.index(d)
    if index is not None:
        h.update(np.ascontiguousarray(index, "<u8").tobytes())
    for phi in basis.basis(d):
        assert phi.dtype == np.uint64
        h.update(np.ascontiguousarray(phi, "<u8").tobytes())
    return h.hexdigest()[:16]


@pytest.mark.parametrize("name", BASES)
def test_golden(name):
    """A change of these bits makes parties of different versions disagree: it needs a new function name."""
    assert digest(BASES[name]) == GOLDEN[name]


@pytest.mark.parametrize("name", BASES)
def test_integers_alone(name):
    d = corpus().view(Integers)
    plain = list(BASES[name].basis(corpus()))
    for phi, expected in zip(BASES[name].basis(d), plain, strict=True):
        np.testing.assert_array_equal(np.asarray(phi), expected)


def test_tables():
    cosine, sine = tables.trigonometric()
    angle = 2 * np.pi * np.arange(512) / 512
    assert np.abs(cosine - np.cos(angle) * 2**30).max() <= 0.51
    assert np.abs(sine - np.sin(angle) * 2**30).max() <= 0.51
    assert np.abs(tables.exponential() / np.exp(np.arange(1024) / 128) / 2**22 - 1).max() <= 2.0**-22


def value(basis, x: int, mask: int) -> float:
    """g(x) of one ring element under one mask."""
    d, m = np.array([(x + mask) % 2**64], np.uint64), np.array([mask], np.uint64)
    return int(samples.evaluate(basis, d, basis.deal(m)).view(np.int64)[0] + basis.constant) / 2.0**basis.fraction


@settings(max_examples=200, deadline=None)
@given(st.integers(-11 << 18, (13 << 18) - 1), WORDS)
def test_exp(x, mask):
    expected = np.exp(x / 2**18)
    assert abs(value(BASES["exp"], x, mask) - expected) <= 1.2e-5 + 1.2e-5 * expected


@settings(max_examples=200, deadline=None)
@given(st.integers(-(21 << 17), 21 << 17), WORDS)
def test_series(x, mask):
    """The series itself is good to 4e-5 (3.98e-5 at most, its period as the multiplier has it). Its public cosines and
    sines, each rounded by 2^-21, add at most sqrt(2) 2^-21 of the coefficients' sum, 0.864: 5.9e-7."""
    real = x / 2**18
    turns = 1675468577053 * x % 2**64 / 2**64
    harmonics = zip(range(1, 20, 2), SIGMOID.coefficients, strict=True)
    series = sum(a / 2**40 * np.sin(2 * np.pi * k * turns) for k, a in harmonics)
    assert abs(series - (1 / (1 + np.exp(-real)) - 0.5)) <= 4e-5
    assert abs(value(BASES["series"], x, mask) - series) <= 5.9e-7


@settings(max_examples=200, deadline=None)
@given(st.integers(BASES["chebyshev"].low, (1 << 38) - 1), WORDS)
def test_chebyshev(x, mask):
    expected = 2.0**38 / x
    assert abs(value(BASES["chebyshev"], x, mask) - expected) <= 1.5e-5 * expected


@pytest.mark.parametrize("log", RECIPROCAL)
def test_reciprocal_series(log, rng):
    fit = RECIPROCAL[log]
    basis = samples.Series(22, 50, False, round(2.0**42 / fit.period), 0, 1, 20, 0, fit.coefficients)
    x = rng.integers(int(0.97 * 2**22), int(1.009 * 2 ** (22 + log)), 500)
    mask = rng.integers(0, 2**64, 500, dtype=np.uint64)
    y = samples.evaluate(basis, x.view(np.uint64) + mask, basis.deal(mask)).view(np.int64) / 2.0**50
    assert np.abs(y - 2.0**22 / x).max() <= 1.2e-5


ATTRIBUTES = st.one_of(
    st.integers(-(2**70), 2**70), st.booleans(), st.text(max_size=4), st.tuples(st.integers(-9, 2**65))
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["exp", "series", "chebyshev", "other"]), st.lists(ATTRIBUTES, max_size=9), st.integers(0, 62))
def test_parse_refuses(function, parameters, fraction):
    """Whatever a plan holds, it is refused or evaluates without an error."""
    try:
        basis = samples.parse(function, tuple(parameters), fraction)
    except ValueError:
        return
    d = corpus()[:8]
    assert samples.evaluate(basis, d, np.zeros((samples.words(basis), 8), np.uint64)).shape == (8,)
