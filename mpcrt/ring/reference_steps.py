"""Elementwise protocol steps on a chunk, in NumPy: flat uint64 arrays in, one out; inputs are never written to."""

from collections.abc import Sequence

import numpy as np

OFFSET = 1 << 62
ONE = np.uint64(1)


def cross(dx: np.ndarray, dy: np.ndarray, lx: np.ndarray | None, ly: np.ndarray | None, lead: bool) -> np.ndarray:
    """lead dx dy - dx ly - lx dy: a party's share of a product; None is a mask share of zeros."""
    dx, dy = dx.reshape(-1), dy.reshape(-1)
    out = dy.copy() if lead else np.zeros_like(dy)
    if ly is not None:
        out -= ly
    out *= dx
    if lx is not None:
        out -= lx * dy
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


def settle(opened: np.ndarray, bits: int, sign: np.ndarray, lead: bool) -> np.ndarray:
    """lead P + q 2^(64-k) m of D and a share m of the masks' sign; `sign` may be uint32, for bits <= 32."""
    public, carry = fork_public(opened.reshape(-1), bits)
    carry *= sign
    if not lead:
        return carry
    public += carry
    return public


def select(
    bits: np.ndarray,
    beta: np.ndarray,
    lead: bool,
    factor: np.ndarray | None,
    terms: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = (),
) -> np.ndarray:
    """A (c + g beta) + sum of c_j (c a_j + g beta a_j), with g = 1 - 2c: my share of a selected value.

    Args:
        bits: the public c, packed.
        beta: my share of the bit's mask, as ring elements.
        lead: whether this party adds public terms.
        factor: the public A; None for 1.
        terms: (my share of a_j, my share of beta a_j, c_j); the shares may be uint32; c_j None for -1.
    """
    unpacked = np.unpackbits(bits.view(np.uint8), bitorder="little", count=beta.size)
    c = np.negative(unpacked.astype(np.uint64))
    out = np.bitwise_xor(beta, c)
    out -= c  # c is -1 where set: -beta
    if lead:
        out -= c
    if factor is not None:
        out *= factor.reshape(-1)
    for share, crossed, coefficient in terms:
        part = np.bitwise_xor(crossed, c)
        part -= c
        part += share & c
        if coefficient is None:
            out -= part
        else:
            part *= coefficient
            out += part
    return out
