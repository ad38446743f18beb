"""Block comparison through shares against plain comparison, for every way to cut and to meet."""

import numpy as np
import pytest

from mpcrt.ring import blocks, kernels, reference_blocks


def shared(rng, value: np.ndarray, n: int) -> list[np.ndarray]:
    parts = [rng.integers(0, 2**64, value.shape, dtype=np.uint64) for _ in range(n - 1)]
    return [*parts, np.bitwise_xor.reduce([value, *parts])]


def compare(rng, n: int, size: int, spec: blocks.CompareSpec) -> tuple[np.ndarray, np.ndarray]:
    """Random D and l, a third of them within one of each other; the shared result and the plain one."""
    d, mask = (rng.integers(0, 2**64, size, dtype=np.uint64) for _ in range(2))
    mask[: size // 3] = d[: size // 3] + rng.integers(0, 3, size // 3).astype(np.uint64) - np.uint64(1)
    sizes, parties = blocks.sizes(spec, size), [reference_blocks.climb(spec, size, i == 0) for i in range(n)]
    shares = shared(rng, reference_blocks.deal_tables(mask, size, spec)[0], n)
    assert shares[0].size == blocks.padded(size) // 64 * spec.table_words
    opened = d
    for number, words in enumerate(sizes.opened):
        total = rng.integers(0, 2**64, words, dtype=np.uint64)
        masks = shared(rng, total, n)
        steps = zip(parties, shares, masks, strict=True)
        opened = np.bitwise_xor.reduce([party.open(opened, share, m) for party, share, m in steps])
        shares = shared(rng, reference_blocks.deal_products(spec, number, size, total), n)
    result = np.bitwise_xor.reduce([party.close(opened, share) for party, share in zip(parties, shares, strict=True)])
    low = [(v >> np.uint64(spec.drop)) & np.uint64((1 << spec.width) - 1) for v in (d, mask)]
    if spec.equal:
        return kernels.unpack(result, size), low[0] == low[1]
    sign = d >> np.uint64(spec.drop + spec.width) & np.uint64(1) if spec.drop + spec.width < 64 else 0
    return kernels.unpack(result, size), (low[0] < low[1]) ^ (sign != 0)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 4096, 5000])
@pytest.mark.parametrize(("block", "radix"), [(4, 4), (6, 8), (3, 2), (5, 3)])
def test_comparison(n, size, block, radix, rng):
    for drop, width in [(0, 63), (0, 47), (18, 44), (0, 32), (10, 20), (0, 3), (0, 1), (0, 64), (62, 0)]:
        for spec in (blocks.compare_spec(drop, width, block, radix), blocks.equal_spec(width, drop, block, radix)):
            got, expected = compare(rng, n, size, spec)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("width", "opened", "products", "tables"), [(63, 33, 96, 16), (47, 25, 72, 12), (44, 23, 66, 11), (32, 16, 44, 8)]
)
def test_costs_are_those_of_the_design(width, opened, products, tables):
    """Bits an element: 33 online and 16 tables of 2 bytes plus 12 bytes of products for 63 bits, and so on."""
    spec = blocks.compare_spec(0, width)
    assert len(spec.levels) == 2
    assert sum(level.opened for level in spec.levels) == opened
    assert sum(level.products for level in spec.levels) <= products
    assert spec.table_words == 16 * tables


def test_one_round_variant():
    assert len(blocks.compare_spec(18, 44, block=6, radix=8).levels) == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        blocks.compare_spec(10, 60)
