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

from mpcrt.ring.sources import Drawing, Source, drawn

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


@dataclass(frozen=True, slots=True, eq=False)  # one of a kind, see `_spec`: what is cached of it is found by identity
class Level:
    """One round of the tree: `opened` and `products` planes, `inputs` children, one output a node."""

    nodes: tuple[Node, ...]
    inputs: int
    opened: int
    products: int


@dataclass(frozen=True, eq=False)  # one of a kind, as levels are
class CompareSpec:
    """`equal`: [D = l] instead of [D < l]. `levels` is the number of rounds."""

    drop: int
    width: int
    block: int
    equal: bool
    levels: tuple[Level, ...]

    @cached_property
    def blocks(self) -> int:
        return -(-self.width // self.block)

    @cached_property
    def table_words(self) -> int:
        """Words of tables for 64 elements."""
        return self.blocks << self.block

    def low_bits(self, j: int) -> int:
        """The width of block j."""
        return min(self.block, self.width - j * self.block)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the comparison of n elements: `words` of a bit each, in `superblocks` of `width` words a plane; `tables` in
    words; the shape of the blocks' `planes`; words of `packed` bits, and of the `sign`, which an equality lacks."""

    words: int
    superblocks: int
    width: int
    tables: int
    planes: tuple[int, int, int]
    packed: int
    sign: int


@cache
def sizes(spec: CompareSpec, n: int) -> Sizes:
    words, width, packed = padded(n) // 64, words_per_plane(n), -(-n // 64)
    sign = 0 if spec.equal or spec.drop + spec.width > 63 else packed
    planes = words // width, spec.blocks, width
    return Sizes(words, words // width, width, words * spec.table_words, planes, packed, sign)


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
    return Level(tuple(nodes), inputs, opened, shared)


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
    blocks, rounds = -(-width // block), 0
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


# -- tables


def _digits(values: np.ndarray, spec: CompareSpec) -> np.ndarray:
    """Block values [group][block][lane] of uint64[n], padded with zeros."""
    size, lane = padded(values.size), LANE_TYPES[spec.block]
    lanes = 64 // lane.itemsize
    if values.size != size:
        values = np.concatenate([values, np.zeros(size - values.size, np.uint64)])
    out = np.empty((size // lanes, spec.blocks, lanes), lane)
    grouped = values.reshape(-1, lanes)
    for j in range(spec.blocks):
        shifted = grouped >> np.uint64(spec.drop + j * spec.block)
        np.bitwise_and(shifted, np.uint64((1 << spec.low_bits(j)) - 1), out=shifted)
        out[:, j] = shifted
    return out


def deal_tables(
    mask: Source, n: int, spec: CompareSpec, less: tuple[Drawing, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of n masks less what others draw of them, and the masks' signs as `look_up` gives the values'."""
    values = drawn(mask, n)
    digits = _digits(values, spec)
    one = digits.dtype.type(1)
    tables = np.left_shift(one, digits)
    if not spec.equal:
        tables -= one
    words = tables.reshape(-1).view(np.uint64)
    for prg, stream, offset in less:
        prg.xor(stream, words, offset)
    return words, sign_bits(values, spec)


def sign_bits(values: np.ndarray, spec: CompareSpec) -> np.ndarray:
    """Bit drop + width of each value, packed: the sign's; empty for an equality or where there is none."""
    position = spec.drop + spec.width
    if spec.equal or position > 63:
        return np.zeros(0, np.uint64)
    bits = np.zeros(-(-values.size // 64) * 64, np.uint8)
    bits[: values.size] = (values >> np.uint64(position)) & np.uint64(1)
    return np.packbits(bits, bitorder="little").view(np.uint64)


def look_up(
    opened: np.ndarray, tables: Source, spec: CompareSpec, lead: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes, from D uint64[n] and my share of the tables; and D's signs.

    eq_j = lt_j(D_j) ^ lt_j(D_j - 1), with 1 (at the lead) for lt_j(-1) ^ ... where D_j = 0: v <= l_j less v < l_j.
    Equality tables give no lt, in whose place eq stands again, and eq is read directly.
    """
    digits = _digits(opened, spec)
    lane = digits.dtype.type
    words = drawn(tables, digits.nbytes // 8, xor=True)
    table = words.view(digits.dtype).reshape(digits.shape)
    first = (table >> digits) & lane(1)
    if spec.equal:
        eq = _planes(first, opened.size)
        return eq, eq, sign_bits(opened, spec)
    step = table ^ (table << lane(1))
    if lead:
        step ^= lane(1)
    step >>= digits
    step &= lane(1)
    return _planes(first, opened.size), _planes(step, opened.size), sign_bits(opened, spec)


def _planes(bits: np.ndarray, n: int) -> np.ndarray:
    """[group][block][lane] of 0 and 1 -> planes [superblock][block][W]."""
    groups, blocks, lanes = bits.shape
    packed = np.packbits(bits.astype(np.uint8, copy=False), axis=2, bitorder="little")
    per = 64 * words_per_plane(n) // lanes
    packed = packed.reshape(groups // per, per, blocks, lanes // 8).transpose(0, 2, 1, 3)
    planes = np.ascontiguousarray(packed).reshape(groups // per, blocks, per * lanes // 8)
    return planes.view(np.uint64)


# -- the tree on planes


def gather(level: Level, lt: np.ndarray, eq: np.ndarray, mask: Source) -> np.ndarray:
    """The planes this level opens under my mask, [superblock][opened][W]."""
    out = np.empty((lt.shape[0], level.opened, lt.shape[2]), np.uint64)
    for node in level.nodes:
        for i, (kind, child) in enumerate(node.symbols):
            out[:, node.opened + i] = (lt if kind else eq)[:, child]
    out ^= planes_of(mask, out.shape)
    return out


def deal_products(
    level: Level, superblocks: int, width: int, masks: Source, less: tuple[Drawing, ...] = ()
) -> np.ndarray:
    """The products of the masks of the opened planes, [superblock][products][W], less what others draw of them."""
    masks = planes_of(masks, (superblocks, level.opened, width))
    out = np.empty((superblocks, level.products, width), np.uint64)
    for node in level.nodes:
        made: dict[int, np.ndarray] = {1 << i: masks[:, node.opened + i] for i in range(len(node.symbols))}
        for i, subset in enumerate(node.products):
            low = subset & -subset
            made[subset] = np.bitwise_and(made[low], made[subset ^ low], out=out[:, node.shared + i])
    out ^= planes_of(less, out.shape)
    return out


def evaluate(
    level: Level,
    opened: np.ndarray,
    masks: Source,
    products: Source,
    lt: np.ndarray,
    eq: np.ndarray,
    lead: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each node's lt' and eq', [superblock][node][W], from opened words, mask shares and product shares.

    lt' = lt_{k-1} ^ XOR_j lt_j AND eq_{j+1..k-1}; eq' = AND eq_j. A monomial over symbols T with opened values o and
    masks m is XOR over subsets S of T of (AND of o outside S) (AND of m in S).
    """
    superblocks, width = lt.shape[0], lt.shape[2]
    opened = opened.reshape(superblocks, level.opened, width)
    masks = planes_of(masks, (superblocks, level.opened, width))
    products = planes_of(products, (superblocks, level.products, width))
    shape = (superblocks, len(level.nodes), width)
    out_lt, out_eq = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
    for g, node in enumerate(level.nodes):
        top = node.first + node.k - 1
        out_lt[:, g] = lt[:, top]
        if node.k == 1:
            out_eq[:, g] = eq[:, top]
            continue
        values = _Conjunctions(opened, node.opened)
        shares = {1 << i: masks[:, node.opened + i] for i in range(len(node.symbols))}
        shares |= {s: products[:, node.shared + i] for i, s in enumerate(node.products)}
        _monomials(out_lt[:, g], node.terms, values, shares, lead)
        _monomials(out_eq[:, g], node.eq_terms, values, shares, lead)
    return out_lt, out_eq


def planes_of(source: Source, shape: tuple[int, int, int]) -> np.ndarray:
    """Planes from memory or drawn."""
    return drawn(source, prod(shape), xor=True).reshape(shape)


class _Conjunctions:
    """ANDs of opened planes by set of symbols, each computed once."""

    def __init__(self, opened: np.ndarray, first: int) -> None:
        self.opened, self.first = opened, first
        self.known: dict[int, np.ndarray] = {}

    def __getitem__(self, symbols: int) -> np.ndarray:
        if symbols not in self.known:
            low = symbols & -symbols
            plane = self.opened[:, self.first + low.bit_length() - 1]
            self.known[symbols] = plane & self[symbols ^ low] if symbols != low else plane
        return self.known[symbols]


def _monomials(out: np.ndarray, terms: tuple[int, ...], values: _Conjunctions, shares: dict, lead: bool) -> None:
    """out ^= my share of the sum of the monomials."""
    coefficients: dict[int, np.ndarray | None] = {}
    for term in terms:
        subset = term
        while subset:
            rest = term ^ subset
            known = coefficients.get(subset)
            if not rest:
                coefficients[subset] = None
            else:
                coefficients[subset] = values[rest] if known is None else known ^ values[rest]
            subset = (subset - 1) & term
        if lead:
            out ^= values[term]
    for subset, coefficient in coefficients.items():
        out ^= shares[subset] if coefficient is None else coefficient & shares[subset]
