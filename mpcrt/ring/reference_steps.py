"""Elementwise protocol steps on a chunk, in NumPy: flat uint64 arrays in, one out; inputs are never written to."""

from collections.abc import Sequence

import numpy as np

from mpcrt.ring.sources import Drawing, Source, drawn

OFFSET = 1 << 62
ONE = np.uint64(1)
Row = tuple[int, bool, tuple[Drawing, ...]]
"""A vector to deal: the mask's shift to the right, whether it goes as 32-bit values, and what others draw of it."""

Factor = tuple[np.ndarray, int, Source, Source]
"""D, and my shares of what the dealer knows: of a wire (0, l, None); of a fork (k, R, m), m narrow for k <= 32."""
TermProduct = tuple[int, int, bool, Source]
"""(i, j, narrow, share): of l or R (0) or m (1) of one factor times that of the other, modulo 2^32 where narrow."""


def cross(
    dx: np.ndarray, dy: np.ndarray, lx: Source, ly: Source, mask: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead dx dy - dx ly - lx dy + mask: a party's share of a product, masked."""
    dx, dy = dx.reshape(-1), dy.reshape(-1)
    out = placed(out, dx.size)
    np.subtract(dy if lead else np.uint64(0), drawn(ly, dx.size), out=out)
    out *= dx
    out -= drawn(lx, dx.size) * dy
    out += drawn(mask, dx.size)
    return out


def absorb(lx: Source, ly: Source, mask: Source, out: np.ndarray) -> np.ndarray:
    """mask - lx ly: the mask of an opened product, at the dealer."""
    np.subtract(drawn(mask, out.size), drawn(lx, out.size) * drawn(ly, out.size), out=out)
    return out


def fork_public(opened: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """(P, q 2^(64-k)) of D, k = bits: P = ((D + c) >> k) - (c >> k), q = 1 - msb(D + c), c = 2^62."""
    moved = opened + np.uint64(OFFSET)
    carry = np.right_shift(moved, np.uint64(63))
    carry ^= ONE
    carry <<= np.uint64(64 - bits)
    moved >>= np.uint64(bits)
    moved -= np.uint64(OFFSET >> bits)
    return moved, carry


def settle(
    opened: np.ndarray, bits: int, sign: Source, top: Source, lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """lead P + q 2^(64-k) m - R of D and shares of m and R; m is narrow where k = bits <= 32."""
    opened = opened.reshape(-1)
    public, carry = fork_public(opened, bits)
    carry *= drawn(sign, opened.size, narrow=bits <= 32)
    if lead:
        carry += public
    return np.subtract(carry, drawn(top, opened.size), out=placed(out, opened.size))


def select(
    bits: np.ndarray,
    beta: Source,
    lead: bool,
    opened: np.ndarray,
    drop: int = 0,
    terms: Sequence[tuple[Source, Source]] = (),
    out: np.ndarray | None = None,
) -> np.ndarray:
    """A (c + g beta) + sum of c_j (c a_j + g beta a_j), with g = 1 - 2c: my share of a selected value.

    Args:
        bits: the public c, packed.
        beta: my share of the bit's mask, as ring elements.
        lead: whether this party adds public terms.
        opened: D of the value: A = D, or, where `drop` > 0 bits of it are truncated, A = P.
        terms: my shares of a_j and of beta a_j: none (a public value); of l; or of R and m (narrow for drop <= 32).
    """
    opened = opened.reshape(-1)
    n = opened.size
    unpacked = np.unpackbits(bits.view(np.uint8), bitorder="little", count=n)
    c = np.negative(unpacked.astype(np.uint64))
    public, carry = fork_public(opened, drop) if drop else (opened, None)
    total = np.bitwise_xor(drawn(beta, n), c)
    total -= c  # c is -1 where set: -beta
    if lead:
        total -= c
    total *= public
    for j, (share, crossed) in enumerate(terms):
        narrow = j > 0 and drop <= 32
        part = np.bitwise_xor(drawn(crossed, n, narrow=narrow), c)
        part -= c
        part += drawn(share, n, narrow=narrow) & c
        total += part * carry if j else np.negative(part)
    return np.add(total, 0, out=placed(out, n))


def multiply(
    x: Factor, y: Factor, products: Sequence[TermProduct], lead: bool, out: np.ndarray | None = None
) -> np.ndarray:
    """My share of x y but for (l_x or R_x)(l_y or R_y), the dealer's: [x] A_y + A_x [y - A_y] + sum c_i c_j [a_i a_j],
    where a factor is A + sum of c_j a_j: D - l, or P - R + q 2^(64-k) m."""
    (ax, cx, out_x), (ay, cy, out_y) = _factor(x), _factor(y)
    if lead:
        out_x += ax
    out_x *= ay
    out_y *= ax
    out_x += out_y
    for i, j, narrow, source in products:
        share = drawn(source, ax.size, narrow=narrow)
        if i and j:
            out_x += cx * cy * share
        else:
            out_x -= (cx if i else cy) * share
    return np.add(out_x, 0, out=placed(out, ax.size))


def _factor(factor: Factor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, m's coefficient (0 of a wire), and my share of the value less A."""
    opened, bits, share, sign = factor
    if bits:
        public, carry = fork_public(opened, bits)
        return public, carry, settle(opened, bits, sign, share, False)
    return opened, np.zeros_like(opened), np.negative(drawn(share, opened.size))


def deal(n: int, mask: Source, bits: np.ndarray | None, rows: Sequence[Row]) -> np.ndarray:
    """The dealer's vectors, one after the other, less what others draw of them: each is the mask (None: 1) shifted to
    the right, or zero where `bits`, packed, says so."""
    values = np.ones(n, np.uint64) if mask is None else drawn(mask, n)
    if bits is not None:
        values = values * np.unpackbits(bits.view(np.uint8), bitorder="little", count=n)
    out = []
    for shift, narrow, less in rows:
        row = values >> np.uint64(shift)
        if narrow:
            padded = np.zeros((n + 1) & ~1, np.uint32)
            padded[:n] = row  # modulo 2^32
            row = padded.view(np.uint64)
        for prg, stream, offset in less:
            (prg.subtract_halves if narrow else prg.subtract)(stream, row, offset)
        out.append(row)
    return np.concatenate(out)


def placed(out: np.ndarray | None, n: int) -> np.ndarray:
    """`out`, or a new array."""
    return np.empty(n, np.uint64) if out is None else out
