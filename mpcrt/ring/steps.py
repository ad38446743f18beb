"""Elementwise protocol steps on one chunk: flat uint64 arrays in, one flat array out. All arithmetic modulo 2^64.

Each is a few passes over a chunk that fits the cache; inputs are never written to.
"""

import numpy as np

from mpcrt.ring import kernels

ONE = np.uint64(1)
OFFSET = 1 << 62


def cross(dx: np.ndarray, dy: np.ndarray, lx: np.ndarray | None, ly: np.ndarray | None, lead: bool) -> np.ndarray:
    """lead dx dy - dx ly - lx dy; None is a mask share of zeros."""
    if ly is None:
        out = np.subtract(dx, lx) if lead and lx is not None else dx.copy() if lead else _negative(lx, dx.size)
        out *= dy
        return out
    out = np.subtract(dy, ly) if lead else np.negative(ly)
    out *= dx
    if lx is not None:
        out -= lx * dy
    return out


def _negative(x: np.ndarray | None, size: int) -> np.ndarray:
    return np.zeros(size, np.uint64) if x is None else np.negative(x)


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
    public, carry = fork_public(opened, bits)
    carry *= sign
    if not lead:
        return carry
    public += carry
    return public


def spread(bits: np.ndarray, n: int) -> np.ndarray:
    """Packed bits as n words: all ones where 1, zero where 0."""
    out = kernels.unpack(bits, n).astype(np.uint64)
    return np.negative(out, out=out)


def flip(beta: np.ndarray, c: np.ndarray, lead: bool) -> np.ndarray:
    """Where c (words of all ones or zero), lead - beta, else beta: a share of c + (1 - 2c) beta."""
    out = np.bitwise_xor(beta, c)
    out -= c  # c = -1 where set: -beta
    if lead:
        out -= c
    return out


def choose(crossed: np.ndarray, share: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Where c, share - crossed, else crossed: a share of c a + (1 - 2c) beta a."""
    out = np.bitwise_xor(crossed, c)
    out -= c
    out += share & c
    return out
