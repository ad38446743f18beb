"""Native block comparison gives the NumPy version's bits, at every level of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import blocks, reference

compiled = pytest.importorskip("mpcrt.ring.compiled")
few = settings(max_examples=25, deadline=None)


@pytest.fixture(params=compiled.levels(), autouse=True)
def level(request):
    before = compiled.level()
    compiled.set_level(request.param)
    yield request.param
    compiled.set_level(before)


@st.composite
def specs(draw):
    block, radix = draw(st.sampled_from([(4, 4), (6, 8), (4, 2), (3, 4)]))
    width = draw(st.integers(1, 48 if block == 6 else 64))
    drop = draw(st.integers(0, 64 - width))
    if draw(st.booleans()):
        return blocks.equal_spec(width, drop, block, radix)
    return blocks.compare_spec(drop, width, block, radix)


SIZES = st.sampled_from([1, 8, 63, 64, 65, 700, 4096, 4097, 5000])


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


@few
@given(specs(), SIZES, st.integers(0, 2**32), st.booleans())
def test_comparison(spec, n, seed, lead):
    rng = np.random.default_rng(seed)
    mask = words(rng, n)
    tables = reference.deal_tables(mask, spec)
    assert np.array_equal(compiled.deal_tables(mask, spec), tables)
    opened, share = words(rng, n), words(rng, tables.size)
    lt, eq = reference.look_up(opened, share, spec, lead)
    for mine, expected in zip(compiled.look_up(opened, share, spec, lead), (lt, eq), strict=True):
        assert np.array_equal(mine, expected)
    for node in spec.levels:
        assert np.array_equal(compiled.gather(node, lt, eq), reference.gather(node, lt, eq))
        shape = (lt.shape[0], node.opened, lt.shape[2])
        planes, masks = words(rng, *shape), words(rng, *shape)
        products = reference.deal_products(node, masks)
        assert np.array_equal(compiled.deal_products(node, masks), products)
        expected = reference.evaluate(node, planes, masks, products, lt, eq, lead)
        mine = compiled.evaluate(node, planes, masks, products, lt, eq, lead)
        for a, b in zip(mine, expected, strict=True):
            assert np.array_equal(a, b)
        lt, eq = expected


@few
@given(st.integers(0, 300), st.integers(0, 63), st.integers(0, 2**32))
def test_bit_plane(n, position, seed):
    values = words(np.random.default_rng(seed), n)
    assert np.array_equal(compiled.bit_plane(values, position), reference.bit_plane(values, position))
