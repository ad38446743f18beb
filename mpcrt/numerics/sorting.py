"""Sorting along the last axis: by ranks up to 16 values, above by a secret shuffle and opened comparisons.

Where keys with their indices do not fit 64 bits, a bitonic network of exchanges takes over: 4 rounds a stage,
log2(n) (log2(n) + 1) / 2 stages. Nothing about order or ties shows in any of them.
"""

import math

import numpy as np

from mpcrt.numerics.extrema import GROUP, losses, pairs
from mpcrt.plan import Builder, Value
from mpcrt.plan.sorting import index_bits

FILLING_BITS = 46


def sort(b: Builder, x: Value, bits: int | None = None) -> Value:
    """x in ascending order along the last axis; `bits`: the width of a difference where it is known."""
    n = x.shape[-1]
    if n <= 1:
        return x
    x = b.truncate(x) if x.fraction else x
    bits = bits or (48 if x.fraction else 64)
    if n <= GROUP:
        return by_ranks(b, x, bits)
    if bits + index_bits(n) <= 64:
        return b.one("sort", x, bits=bits)
    return by_network(b, x, bits)


def by_ranks(b: Builder, x: Value, bits: int) -> Value:
    """Each value's place is n - 1 less how many beat it; output p is the sum of selects. 5 rounds."""
    n, rest = x.shape[-1], x.shape[:-1]
    lost = b.reshape(losses(b, pairs(b, x, bits), n), (*rest, 1, n))
    places = b.integer(np.arange(n)[::-1].reshape(n, 1))
    here = b.equal(b.broadcast(lost, (*rest, n, n)), places, 4)
    wide = b.broadcast(b.reshape(x, (*rest, 1, n)), (*rest, n, n))
    return b.sum(b.one("select", here, wide), (len(rest) + 1,))


def by_network(b: Builder, x: Value, bits: int) -> Value:
    """Bitonic stages; filled up to a power of two with a value above all."""
    n, rest = x.shape[-1], x.shape[:-1]
    size = 1 << (n - 1).bit_length()
    if size > n:
        top = (1 << FILLING_BITS) - 1 if x.fraction or bits > FILLING_BITS + 2 else (1 << (bits - 2)) - 1
        filling = b.ring_constant(np.asarray(top, np.uint64), x.fraction)
        x = b.one("concat", x, b.broadcast(filling, (*rest, size - n)), axis=len(rest))
    rows = math.prod(rest)
    block = 2
    while block <= size:
        step = block // 2
        while step:
            x = _stage(b, x, rows, size, block, step, bits)
            step //= 2
        block *= 2
    return b.slice(b.reshape(x, (*rest, size)), (0,) * (len(rest) + 1), (*rest, n))


def _stage(b: Builder, x: Value, rows: int, size: int, block: int, step: int, bits: int) -> Value:
    """Exchanges at distance `step`, ascending in even blocks and descending in odd ones."""
    x = b.reshape(x, (rows, size // (2 * step), 2, step))
    shape = (rows, size // (2 * step), 1, step)
    low = b.slice(x, (0, 0, 0, 0), shape)
    high = b.slice(x, (0, 0, 1, 0), (*shape[:2], 2, step))
    difference = b.sub(high, low)
    descending = (np.arange(size // (2 * step)) * 2 * step // block) % 2
    signs = np.where(descending, -1, 1).reshape(1, -1, 1, 1)
    directed = difference
    if descending.any():
        directed = b.mul(b.broadcast(b.integer(signs), shape), difference)
    moved = b.one("select", b.negative(directed, bits, 0), difference)
    return b.concat([b.add(low, moved), b.sub(high, moved)], 2)
