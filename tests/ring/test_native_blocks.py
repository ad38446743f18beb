"""Native block comparison gives the NumPy version's bits, at every level of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import blocks, reference

compiled = pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)
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


def drawings(rng: np.random.Generator, count: int) -> tuple:
    """Streams at even and odd offsets."""
    return tuple(
        (compiled.Prg(rng.bytes(16)), int(rng.integers(1 << 40)), int(rng.integers(100))) for _ in range(count)
    )


def source(rng: np.random.Generator, count: int, *shape: int):
    """Words in memory, or that `count` parties draw."""
    return drawings(rng, count) if count else words(rng, *shape)


@few
@given(specs(), SIZES, st.integers(0, 2**32), st.booleans(), st.integers(0, 3), st.integers(0, 2))
def test_comparison(spec, n, seed, lead, parties, others):
    rng = np.random.default_rng(seed)
    mask, less = source(rng, parties, n), drawings(rng, others)
    expected = reference.deal_tables(mask, n, spec, less)
    for mine, wanted in zip(compiled.deal_tables(mask, n, spec, less), expected, strict=True):
        assert np.array_equal(mine, wanted)
    opened, share = words(rng, n), source(rng, parties, expected[0].size)
    lt, eq, sign = reference.look_up(opened, share, spec, lead)
    for mine, wanted in zip(compiled.look_up(opened, share, spec, lead), (lt, eq, sign), strict=True):
        assert np.array_equal(mine, wanted)
    superblocks, width = lt.shape[0], lt.shape[2]
    for node in spec.levels:
        masks = source(rng, parties, superblocks, node.opened, width)
        assert np.array_equal(compiled.gather(node, lt, eq, masks), reference.gather(node, lt, eq, masks))
        arguments = node, superblocks, width, masks, less
        dealt = reference.deal_products(*arguments)
        assert np.array_equal(compiled.deal_products(*arguments), dealt)
        arguments = node, words(rng, superblocks, node.opened, width), masks, dealt, lt, eq, lead
        wanted = reference.evaluate(*arguments)
        for a, b in zip(compiled.evaluate(*arguments), wanted, strict=True):
            assert np.array_equal(a, b)
        lt, eq = wanted
