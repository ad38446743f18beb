"""Native elementwise steps give the NumPy version's bits, at every level of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import reference

compiled = pytest.importorskip("mpcrt.ring.compiled")
few = settings(max_examples=25, deadline=None)
SIZES = st.sampled_from([0, 1, 7, 8, 63, 64, 65, 200])
SEEDS = st.integers(0, 2**32)


@pytest.fixture(params=compiled.levels(), autouse=True)
def level(request):
    before = compiled.level()
    compiled.set_level(request.param)
    yield request.param
    compiled.set_level(before)


def words(rng: np.random.Generator, n: int, narrow: bool = False) -> np.ndarray:
    return rng.integers(0, 2**32 if narrow else 2**64, n, dtype=np.uint32 if narrow else np.uint64)


@few
@given(SIZES, SEEDS, st.booleans(), st.booleans(), st.booleans())
def test_cross(n, seed, lead, with_lx, with_ly):
    rng = np.random.default_rng(seed)
    dx, dy, lx, ly = (words(rng, n) for _ in range(4))
    arguments = dx, dy, lx if with_lx else None, ly if with_ly else None, lead
    assert np.array_equal(compiled.cross(*arguments), reference.cross(*arguments))


@few
@given(SIZES, SEEDS, st.integers(1, 63), st.booleans(), st.booleans())
def test_settle(n, seed, bits, lead, narrow):
    rng = np.random.default_rng(seed)
    arguments = words(rng, n), bits, words(rng, n, narrow), lead
    assert np.array_equal(compiled.settle(*arguments), reference.settle(*arguments))


@few
@given(
    SIZES,
    SEEDS,
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=3),
)
def test_select(n, seed, lead, with_factor, shapes):
    rng = np.random.default_rng(seed)
    terms = [(words(rng, n, a), words(rng, n, b), words(rng, n) if c else None) for a, b, c in shapes]
    arguments = words(rng, (n + 63) // 64), words(rng, n), lead, words(rng, n) if with_factor else None, terms
    assert np.array_equal(compiled.select(*arguments), reference.select(*arguments))


def test_lengths_are_checked():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="length"):
        compiled.cross(words(rng, 3), words(rng, 4), None, None, True)
    with pytest.raises(ValueError, match="n words"):
        compiled.settle(words(rng, 3), 18, words(rng, 4), True)
    with pytest.raises(ValueError, match="bad selection"):
        compiled.select(words(rng, 1), words(rng, 65), True, None)
