"""Native elementwise steps give the NumPy version's bits, at every level of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import reference

compiled = pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)
few = settings(max_examples=25, deadline=None)
SIZES = st.sampled_from([0, 1, 2, 7, 8, 63, 64, 65, 200, 515])
SEEDS = st.integers(0, 2**32)
KINDS = st.sampled_from(["zeros", "memory", "drawn"])
MANY = st.sampled_from(["zeros", "memory", "drawn", "drawn by three"])


@pytest.fixture(params=compiled.levels(), autouse=True)
def level(request):
    before = compiled.level()
    compiled.set_level(request.param)
    yield request.param
    compiled.set_level(before)


def words(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 2**64, n, dtype=np.uint64)


def drawings(rng: np.random.Generator, count: int) -> tuple:
    """Streams at even and odd offsets."""
    return tuple(
        (compiled.Prg(rng.bytes(16)), int(rng.integers(1 << 40)), int(rng.integers(100))) for _ in range(count)
    )


def source(rng: np.random.Generator, kind: str, n: int):
    if kind == "memory":
        return words(rng, n)
    return drawings(rng, 3 if "three" in kind else 1) if "drawn" in kind else None


@few
@given(SIZES, SEEDS, st.booleans(), MANY, MANY, MANY)
def test_cross_and_absorb(n, seed, lead, x, y, mask):
    rng = np.random.default_rng(seed)
    sources = source(rng, x, n), source(rng, y, n), source(rng, mask, n)
    arguments = words(rng, n), words(rng, n), *sources, lead
    assert np.array_equal(compiled.cross(*arguments), reference.cross(*arguments))
    mine, expected = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    compiled.absorb(*sources, mine)
    assert np.array_equal(mine, reference.absorb(*sources, expected))


@few
@given(SIZES, SEEDS, st.integers(1, 63), st.booleans(), KINDS, MANY)
def test_settle(n, seed, bits, lead, sign, top):
    rng = np.random.default_rng(seed)
    m = source(rng, sign, n if bits > 32 else (n + 1) // 2)
    arguments = words(rng, n), bits, m, source(rng, top, n), lead
    out = np.zeros(n, np.uint64)
    assert compiled.settle(*arguments, out) is out
    assert np.array_equal(out, reference.settle(*arguments))


@few
@given(SIZES, SEEDS, st.booleans(), st.integers(0, 63), st.integers(0, 2), KINDS, MANY)
def test_select(n, seed, lead, drop, count, beta, kind):
    rng = np.random.default_rng(seed)
    terms = []
    for j in range(min(count, 2 if drop else 1)):
        size, some = ((n + 1) // 2, "drawn") if j and drop <= 32 else (n, kind)
        terms.append((source(rng, some, size), source(rng, "memory", size)))
    arguments = words(rng, (n + 63) // 64), source(rng, beta, n), lead, words(rng, n), drop, terms
    assert np.array_equal(compiled.select(*arguments), reference.select(*arguments))


@few
@given(SIZES, SEEDS, st.booleans(), st.integers(0, 63), st.integers(0, 63), KINDS, st.booleans())
def test_multiply(n, seed, lead, x, y, kind, narrow):
    rng = np.random.default_rng(seed)
    factors = [
        (words(rng, n), k, source(rng, kind, n), source(rng, kind, (n + 1) // 2 if k <= 32 else n) if k else None)
        for k in (x, y)
    ]
    products = [
        (i, j, narrow, source(rng, kind, (n + 1) // 2 if narrow else n))
        for i, j in ((0, 1), (1, 0), (1, 1))
        if (x or not i) and (y or not j)
    ]
    arguments = factors[0], factors[1], products, lead
    assert np.array_equal(compiled.multiply(*arguments), reference.multiply(*arguments))


@few
@given(
    SIZES,
    SEEDS,
    MANY,
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 63), st.booleans(), st.integers(0, 3)), max_size=4),
)
def test_deal(n, seed, mask, selected, shapes):
    rng = np.random.default_rng(seed)
    rows = [(shift, narrow, drawings(rng, count)) for shift, narrow, count in shapes] or [(0, False, ())]
    arguments = n, source(rng, mask, n), words(rng, (n + 63) // 64) if selected else None, rows
    assert np.array_equal(compiled.deal(*arguments), reference.deal(*arguments))


def test_lengths_are_checked():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="length"):
        compiled.cross(words(rng, 3), words(rng, 4), None, None, None, True)
    with pytest.raises(ValueError, match="length"):
        compiled.settle(words(rng, 3), 18, words(rng, 3), None, True)
    with pytest.raises(ValueError, match="bad selection"):
        compiled.select(words(rng, 1), None, True, words(rng, 65))
    with pytest.raises(ValueError, match="too many terms"):
        compiled.select(words(rng, 1), None, True, words(rng, 64), 0, [(None, None), (None, None)])
    with pytest.raises(ValueError, match="bad vectors"):
        compiled.deal(4, None, None, [(64, False, ())])
