"""Native sampled functions: sums with the NumPy version's bits at every level, samples within its rounding."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpcrt.ring import reference, samples

compiled = pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)
few = settings(max_examples=25, deadline=None)


@pytest.fixture(params=compiled.levels(), autouse=True)
def level(request):
    before = compiled.level()
    compiled.set_level(request.param)
    yield request.param
    compiled.set_level(before)


@st.composite
def bases(draw):
    kind = draw(st.sampled_from(["exp", "series", "chebyshev"]))
    public_bits = draw(st.integers(8, 30))
    fraction = draw(st.integers(public_bits, 40))
    input_fraction = draw(st.integers(0, 58 if kind == "exp" else 40))
    if kind == "exp":
        return samples.Exp(input_fraction, fraction, draw(st.integers(-15, 15)), public_bits)
    if kind == "series":
        first, step = draw(st.sampled_from([(1, 2), (1, 1), (0, 1), (3, 3)]))
        coefficients = tuple(draw(st.lists(st.integers(-(2**41), 2**41), min_size=1, max_size=6)))
        multiplier = draw(st.integers(1, 2**40))
        odd = draw(st.booleans())
        return samples.Series(input_fraction, fraction, odd, multiplier, first, step, public_bits, 0, coefficients)
    window, table, degree = draw(st.integers(1, 40)), draw(st.integers(0, 4)), draw(st.integers(0, 7))
    return samples.Chebyshev(input_fraction, fraction, "rsqrt", window, table, degree, 5, 3, public_bits)


SIZES = st.sampled_from([1, 7, 8, 64, 133])


@few
@given(bases(), SIZES, st.integers(0, 2**32))
def test_sums(basis, n, seed):
    rng = np.random.default_rng(seed)
    d = rng.integers(0, 2**64, n, dtype=np.uint64)
    shares = rng.integers(0, 2**64, (samples.words(basis), n), dtype=np.uint64)
    assert np.array_equal(compiled.evaluate_samples(basis, d, shares), reference.evaluate_samples(basis, d, shares))


@few
@given(bases(), SIZES, st.integers(0, 2**32))
def test_samples(basis, n, seed):
    """Within the last unit and 2^-48 of the largest sample of the row: both are double-precision."""
    too_large = isinstance(basis, samples.Exp) and basis.fraction - basis.public_bits + 1.45 * basis.offset > 60
    assume(not too_large and not isinstance(basis, samples.Chebyshev))  # the latter's are NumPy's
    mask = np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)
    mine, expected = compiled.deal_samples(basis, mask, n), reference.deal_samples(basis, mask, n)
    assert mine.shape == expected.shape
    error = np.abs((mine - expected).view(np.int64)).astype(np.float64)
    size = np.abs(expected.view(np.int64)).astype(np.float64)
    scale = size if isinstance(basis, samples.Exp) else size.max()
    assert np.all(error <= 1 + 2.0**-48 * scale)


@few
@given(bases(), st.sampled_from([1, 2, 8, 64, 130, 131]), st.integers(0, 100), st.integers(0, 2**32))
def test_drawn_samples(basis, n, offset, seed):
    """Drawing as the kernel goes gives what drawing first gives."""
    assume(not isinstance(basis, samples.Exp) or basis.fraction - basis.public_bits + 1.45 * basis.offset < 60)
    rng = np.random.default_rng(seed)
    prgs = [compiled.Prg(bytes([i]) * 16) for i in range(2)]
    d, words = rng.integers(0, 2**64, n, dtype=np.uint64), samples.words(basis)
    first = prgs[0].words(77, words * n, offset)
    expected, out = compiled.evaluate_samples(basis, d, first), np.zeros(n, np.uint64)
    assert np.array_equal(compiled.evaluate_samples(basis, d, ((prgs[0], 77, offset),), out), expected)
    assert np.array_equal(out, expected)
    if isinstance(basis, samples.Chebyshev):
        return
    less = (first + prgs[1].words(78, words * n, 4)).reshape(words, n)
    masks = ((prgs[0], 5, 3), (prgs[1], 6, 2))
    mask = prgs[0].words(5, n, 3) + prgs[1].words(6, n, 2)
    dealt = compiled.deal_samples(basis, masks, n, ((prgs[0], 77, offset), (prgs[1], 78, 4)))
    assert np.array_equal(dealt, compiled.deal_samples(basis, mask, n) - less)


def test_samples_do_not_depend_on_the_level():
    mask = np.random.default_rng(1).integers(0, 2**64, 200, dtype=np.uint64)
    for basis in (
        samples.Exp(36, 40, 0, 20),
        samples.Series(18, 32, True, 2**36, 1, 2, 20, 0, (2**39, 2**38, -(2**37), 12345678901)),
    ):
        mine = compiled.deal_samples(basis, mask, 200)
        compiled.set_level("portable")
        assert np.array_equal(compiled.deal_samples(basis, mask, 200), mine)
