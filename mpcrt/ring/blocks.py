"""Block comparison on packed bit planes: [D_low < l_low] and [D_low = l_low] of a public D and a dealer-known mask l.

The `width` bits from `drop` are cut into blocks of `block` bits, the last perhaps narrower. For block j the dealer
shares a table of 2^block bits whose bit v says v < l_j (or v = l_j); a party reads bit D_j of its share. The blocks'
bits meet in a tree: a node of k children opens masked bits and uses dealer-shared products of the masks.
Checked against plain comparison in tests; ePrint 2020/338 and 2023/1269 for the setting.

Layouts (words are uint64, little-endian; `n` elements padded with zeros to whole superblocks):
  superblock  512 elements, 64 where n <= 4096; W = 8 or 1 words a plane.
  planes      [superblock][plane][W]: bit e of a plane's words is element e of the superblock.
  tables      [group][block][lanes] of 2^block-bit lanes, one 512-bit vector a (group, block); lane i is element
              lanes * group + i. 32 lanes for blocks of 4 bits, 8 for blocks of 6.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product as cartesian
from math import prod

import numpy as np

SMALL = 4096
LANE_TYPES = {3: np.dtype("<u1"), 4: np.dtype("<u2"), 5: np.dtype("<u4"), 6: np.dtype("<u8")}


def words_per_plane(n: int) -> int:
    """W: the words of one plane of one superblock for a tensor (or chunk) of n elements."""
    return 1 if n <= SMALL else 8


def padded(n: int) -> int:
    """n rounded up to whole superblocks."""
    size = 64 * words_per_plane(n)
    return -(-n // size) * size


# -- the tree


@dataclass(frozen=True, slots=True)
class Node:
    """A node over children first .. first+k-1 (the last most significant).

    `symbols`: what it opens, as (kind, child) with kind 0 for eq and 1 for lt; `opened` is its first plane among the
    level's opened planes. `terms`: masks over symbols, one a monomial of lt' (of eq' in `eq_terms`). `products`: the
    masks over symbols of which the dealer shares products, from plane `shared` on.
    """

    first: int
    k: int
    symbols: tuple[tuple[int, int], ...]
    opened: int
    terms: tuple[int, ...]
    eq_terms: tuple[int, ...]
    products: tuple[int, ...]
    shared: int


@dataclass(frozen=True, slots=True)
class Level:
    """One round of the tree: `opened` and `products` planes, one output a node."""

    nodes: tuple[Node, ...]
    opened: int
    products: int


@dataclass(frozen=True, eq=False)  # one of a kind, see `_spec`: what is cached of it is found by identity
class CompareSpec:
    """`equal`: [D = l] instead of [D < l]. `levels` is the number of rounds."""

    drop: int
    width: int
    block: int
    equal: bool
    levels: tuple[Level, ...]

    @cached_property
    def blocks(self) -> int:
        """At least one, if of no bits: then nothing is less, and all is equal."""
        return max(1, -(-self.width // self.block))

    @cached_property
    def table_words(self) -> int:
        """Words of tables for 64 elements."""
        return self.blocks << self.block

    @cached_property
    def opened(self) -> tuple[int, ...]:
        """Planes that each level opens."""
        return tuple(level.opened for level in self.levels)

    @cached_property
    def products(self) -> tuple[int, ...]:
        """Planes of products that each level uses."""
        return tuple(level.products for level in self.levels)

    def low_bits(self, j: int) -> int:
        """The width of block j."""
        return min(self.block, self.width - j * self.block)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the comparison of n elements: `superblocks` of `width` words a plane; words of the `tables`, of what each
    level has `opened` and of its `products`, of `packed` bits, and of the `sign`, which an equality lacks."""

    superblocks: int
    width: int
    tables: int
    opened: tuple[int, ...]
    products: tuple[int, ...]
    packed: int
    sign: int


@cache
def sizes(spec: CompareSpec, n: int) -> Sizes:
    words, width, packed = padded(n) // 64, words_per_plane(n), -(-n // 64)
    sign = 0 if spec.equal or spec.drop + spec.width > 63 else packed
    opened, products = (tuple(words * planes for planes in each) for each in (spec.opened, spec.products))
    return Sizes(words // width, width, words * spec.table_words, opened, products, packed, sign)


def _node(first: int, k: int, need_eq: bool, equal: bool, opened: int, shared: int) -> Node:
    if k == 1:
        return Node(first, 1, (), opened, (), (), (), shared)
    if equal:
        symbols = tuple((0, first + i) for i in range(k - 1, -1, -1))
    else:
        symbols = tuple((0, first + i) for i in range(k - 1, -1 if need_eq else 0, -1))
        symbols += tuple((1, first + i) for i in range(k - 2, -1, -1))
    place = {s: 1 << i for i, s in enumerate(symbols)}
    above = [sum(place[0, first + i] for i in range(j + 1, k)) for j in range(k)]
    terms = () if equal else tuple(place[1, first + j] | above[j] for j in range(k - 1))
    eq_terms = (above[0] | place[0, first],) if equal or need_eq else ()
    products = sorted({s for t in terms + eq_terms for s in range(1, t + 1) if s & t == s and s & (s - 1)})
    return Node(first, k, symbols, opened, terms, eq_terms, tuple(products), shared)


def _level(inputs: int, radix: int, equal: bool) -> Level:
    """Groups of at most `radix`, larger ones first: the lowest needs no eq."""
    groups = -(-inputs // radix)
    sizes = [inputs // groups + (i < inputs % groups) for i in range(groups)]
    nodes, first, opened, shared = [], 0, 0, 0
    for i, k in enumerate(sizes):
        node = _node(first, k, i > 0, equal, opened, shared)
        nodes.append(node)
        first, opened, shared = first + k, opened + len(node.symbols), shared + len(node.products)
    return Level(tuple(nodes), opened, shared)


def _tree(blocks: int, radices: tuple[int, ...], equal: bool) -> tuple[Level, ...]:
    levels = []
    for radix in radices:
        levels.append(_level(blocks, radix, equal))
        blocks = len(levels[-1].nodes)
    return tuple(levels)


@cache
def _spec(drop: int, width: int, block: int, radix: int, equal: bool) -> CompareSpec:
    """The tree with the fewest rounds at this largest radix, and of those the one with the least traffic."""
    if not (drop >= 0 and width >= 0 and drop + width <= 64 and block in LANE_TYPES and radix >= 2):
        raise ValueError(f"cannot compare {width} bits above {drop} in blocks of {block} with radix {radix}")
    blocks, rounds = max(1, -(-width // block)), 0
    while radix**rounds < blocks:
        rounds += 1
    choices = [r for r in cartesian(range(2, radix + 1), repeat=rounds) if prod(r) >= blocks]
    trees = [_tree(blocks, r, equal) for r in choices]
    levels = min(trees, key=lambda t: sum(level.products + 2 * level.opened for level in t))
    return CompareSpec(drop, width, block, equal, levels)


def compare_spec(drop: int, width: int, block: int = 4, radix: int = 4) -> CompareSpec:
    """[D_low < l_low] on bits drop .. drop + width - 1. Two rounds for 17 to 64 bits; with block 6 and radix 8, one
    to 48."""
    return _spec(drop, width, block, radix, False)


def equal_spec(width: int, drop: int = 0, block: int = 4, radix: int = 4) -> CompareSpec:
    """[D_low = l_low] on bits drop .. drop + width - 1."""
    return _spec(drop, width, block, radix, True)
