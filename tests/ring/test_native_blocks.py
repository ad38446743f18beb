"""Native block comparison gives the NumPy version's bits, at every level of this machine."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.ring import blocks, reference

compiled = pytest.importorskip("mpcrt.ring.compiled", exc_type=ImportError)
_native = pytest.importorskip("mpcrt.ring._native", exc_type=ImportError)
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


SIZES = st.sampled_from([0, 1, 8, 63, 64, 65, 700, 4096, 4097, 5000])


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
    opened, share, size = words(rng, n), source(rng, parties, expected[0].size), blocks.sizes(spec, n)
    climbs = compiled.climb(spec, n, lead), reference.climb(spec, n, lead)
    for number, count in enumerate(size.opened):
        masks = source(rng, parties, count)
        mine, wanted = (climb.open(opened, share, masks) for climb in climbs)
        assert np.array_equal(mine, wanted)
        opened = words(rng, count)
        share = reference.deal_products(spec, number, n, masks, less)
        assert np.array_equal(compiled.deal_products(spec, number, n, masks, less), share)
        share = source(rng, parties, share.size) if parties else share
    mine, wanted = (climb.close(opened, share) for climb in climbs)
    assert np.array_equal(mine, wanted)


def test_what_does_not_fit_is_refused():
    """Sizes, no mask; and then what fits is taken."""
    rng = np.random.default_rng(1)
    spec = blocks.compare_spec(0, 47)
    size = blocks.sizes(spec, 8)
    d, tables, mask = words(rng, 8), words(rng, size.tables), words(rng, size.opened[0])
    climb = compiled.climb(spec, 8, True)
    for wrong in ((words(rng, 9), tables, mask), (d, tables[1:], mask), (d, tables, mask[1:]), (d, tables, ())):
        with pytest.raises(ValueError):
            climb.open(*wrong)
    opened = climb.open(d, tables, mask)
    products, mask = words(rng, size.products[0]), words(rng, size.opened[1])
    for wrong in ((opened[1:], products, mask), (opened, products[1:], mask), (opened, products, ())):
        with pytest.raises(ValueError):
            climb.open(*wrong)
    climb.open(opened, products, mask)


@pytest.mark.parametrize("kernels", [compiled, reference])
def test_a_climb_takes_its_turns(kernels):
    """Each level once, then the end, once."""
    rng = np.random.default_rng(1)
    spec = blocks.compare_spec(0, 47)
    size, climb = blocks.sizes(spec, 8), kernels.climb(spec, 8, True)
    opened, share = words(rng, 8), words(rng, size.tables)
    for number, count in enumerate(size.opened):
        with pytest.raises(ValueError, match="at the top"):
            climb.close(opened, share)
        opened, share = climb.open(opened, share, words(rng, count)), words(rng, size.products[number])
    with pytest.raises(ValueError):
        climb.open(opened, share, words(rng, 0))
    climb.close(opened, share)
    with pytest.raises(ValueError, match="has been closed"):
        climb.close(opened, share)
    with pytest.raises(ValueError):
        climb.open(opened, share, words(rng, 0))


@pytest.mark.parametrize("program", range(3))
@pytest.mark.parametrize(("at", "value"), [(0, 4), (1, 2), (1, -1), (2, 9), (3, 7), (4, -1), (5, 8), (6, 1 << 20)])
def test_programs_stay_within_their_arrays(program, at, value):
    row = np.array([[1, 0, 0, 0, 0, 0, 0]], np.int32)
    bad, tree = row.copy(), _native.Tree(0, 4, 4, False, True)
    tree.add(1, 1, 1, row, row, row)
    bad[0, at] = value
    if (at, value) == (3, 7):  # scratch has this many planes
        bad[0, 4] = _native.MOST_TEMPORARIES
    with pytest.raises(ValueError, match="outside its arrays"):
        tree.add(1, 1, 1, *(bad if i == program else row for i in range(3)))


def test_a_tree_has_one_root():
    rng, row = np.random.default_rng(1), np.zeros((0, 7), np.int32)
    for roots in (0, 2):
        tree = _native.Tree(0, 8, 4, False, True)
        tree.add(1, 1, roots, row, row, row)
        climb, d, opened = _native.Climb(tree, 8, 1), words(rng, 8), words(rng, 1)
        _native.climb(climb, d, words(rng, 32), opened, np.empty(1, np.uint64))
        with pytest.raises(ValueError, match="one root"):
            _native.climbed(climb, opened, opened, np.empty(1, np.uint64))
