"""Block comparison in NumPy: the oracle of the native kernels. Layouts and trees: mpcrt/ring/blocks.py."""

from math import prod

import numpy as np

from mpcrt.ring.blocks import LANE_TYPES, CompareSpec, Level, padded, sizes, words_per_plane
from mpcrt.ring.sources import Drawing, Source, drawn

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


def deal_products(spec: CompareSpec, number: int, n: int, masks: Source, less: tuple[Drawing, ...] = ()) -> np.ndarray:
    """Words of the products of the masks of a level's opened planes, [superblock][products][W], less what others draw
    of them."""
    level, size = spec.levels[number], sizes(spec, n)
    superblocks, width = size.superblocks, size.width
    masks = planes_of(masks, (superblocks, level.opened, width))
    out = np.empty((superblocks, level.products, width), np.uint64)
    for node in level.nodes:
        made: dict[int, np.ndarray] = {1 << i: masks[:, node.opened + i] for i in range(len(node.symbols))}
        for i, subset in enumerate(node.products):
            low = subset & -subset
            made[subset] = np.bitwise_and(made[low], made[subset ^ low], out=out[:, node.shared + i])
    out ^= planes_of(less, out.shape)
    return out.ravel()


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


class Climb:
    """One party's way up the tree of one comparison of n elements: its shares of lt and eq, between openings."""

    def __init__(self, spec: CompareSpec, n: int, lead: bool) -> None:
        self.spec, self.n, self.lead, self.at = spec, n, lead, 0

    def open(self, opened: np.ndarray, share: Source, mask: Source) -> np.ndarray:
        """The words that the next level opens under `mask`, from what was opened last (D at first) and my share of what
        the dealer shared for that (the tables at first, then products). ValueError where no level is left."""
        if self.at >= len(self.spec.levels):
            raise ValueError("the tree has fewer levels")
        self._advance(opened, share)
        self.mask, self.at = mask, self.at + 1
        return gather(self.spec.levels[self.at - 1], self.lt, self.eq, mask).ravel()

    def close(self, opened: np.ndarray, share: Source) -> np.ndarray:
        """My share of the result as packed bits, once, after the last opening; without bit drop + width of l.
        ValueError out of turn."""
        if self.at != len(self.spec.levels):
            raise ValueError("it is not at the top, or has been closed")
        self._advance(opened, share)
        self.at += 1
        bits = (self.eq if self.spec.equal else self.lt).ravel()[: -(-self.n // 64)]
        return bits ^ self.sign if self.lead and self.sign.size else bits

    def _advance(self, opened: np.ndarray, share: Source) -> None:
        if not self.at:
            self.lt, self.eq, self.sign = look_up(opened, share, self.spec, self.lead)
            return
        level = self.spec.levels[self.at - 1]
        self.lt, self.eq = evaluate(level, opened, self.mask, share, self.lt, self.eq, self.lead)


def climb(spec: CompareSpec, n: int, lead: bool) -> Climb:
    """A party's way up the tree of a comparison."""
    return Climb(spec, n, lead)


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
