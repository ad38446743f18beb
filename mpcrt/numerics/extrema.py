"""Maximum, minimum and where they are.

A group of k values is decided at once by all k (k - 1) / 2 comparisons, ties for the lower index, so that exactly one
wins: 2 rounds. Up to 5 values, the winner's bit is an AND of k - 1 bits (1 round for 3, 2 for 4 and 5); up to 16, each
value's losses are counted in the ring and compared with 0, which is local from an opened count of 4 bits (2 rounds).
Opening the bits takes one more, and the sum of selects is exposed for the next level: 16 values take 5 rounds, 256
take 11.
"""

import math
from itertools import combinations

import numpy as np

from mpcrt.numerics.fuzzy import argument
from mpcrt.numerics.notes import note_maximum
from mpcrt.plan import Builder, Value

GROUP = 16
BY_ANDS = 5


def maximum(b: Builder, x: Value, y: Value, bits: int | None = None) -> Value:
    """The larger, elementwise; `bits`: the width of the difference where it is known (33 for int32). 3 rounds."""
    x, y = b.aligned(x, y)
    return b.where(b.less(x, y, bits), y, x)


def minimum(b: Builder, x: Value, y: Value, bits: int | None = None) -> Value:
    """The smaller, elementwise. 3 rounds."""
    x, y = b.aligned(x, y)
    return b.where(b.less(x, y, bits), x, y)


def relu(b: Builder, x: Value) -> Value:
    """max(x, 0), of an untruncated product too. 3 rounds from a wire."""
    return b.select(b.not_(b.negative(x)), x)


def max_reduce(b: Builder, x: Value, axes, bits: int | None = None, approximate: bool = False) -> Value:
    """The maximum over `axes` (removed). `approximate` is accepted for a stabiliser; dropping bits would let near ties
    beat each other in a circle, so the comparison stays exact."""
    result, _ = _tournament(b, _flattened(b, x, axes), bits, False)
    if x.fraction:
        note_maximum(b, result, x, tuple(sorted(a % len(x.shape) for a in axes)))
    return result


def min_reduce(b: Builder, x: Value, axes, bits: int | None = None) -> Value:
    """The minimum over `axes` (removed)."""
    return b.neg(_tournament(b, _flattened(b, b.neg(x), axes), bits, False)[0])


def argmax(b: Builder, x: Value, axis: int, bits: int | None = None) -> Value:
    """The index of the first maximum along an axis (removed): an integer."""
    _, index = _tournament(b, _flattened(b, x, (axis,)), bits, True)
    assert index is not None
    return index


def argmin(b: Builder, x: Value, axis: int, bits: int | None = None) -> Value:
    """The index of the first minimum along an axis (removed): an integer."""
    return argmax(b, b.neg(x), axis, bits)


def _flattened(b: Builder, x: Value, axes) -> Value:
    """[rest..., n]: the axes last, as one."""
    axes = sorted(a % len(x.shape) for a in axes)
    rest = [i for i in range(len(x.shape)) if i not in axes]
    shape = tuple(x.shape[i] for i in rest)
    return b.reshape(b.transpose(x, rest + axes), (*shape, math.prod(x.shape[a] for a in axes)))


def _tournament(b: Builder, x: Value, bits: int | None, indexed: bool) -> tuple[Value, Value | None]:
    """The maximum along the last axis and, if `indexed`, its index."""
    if x.fraction:
        x = argument(b, x)
        bits = bits or (64 if x.fraction > b.fraction + 2 else 48)
    index = b.integer(np.arange(x.shape[-1])) if indexed else None
    while (n := x.shape[-1]) > 1:
        levels = math.ceil(math.log(n, GROUP) - 1e-9)
        size = n if levels == 1 else max(2, math.ceil(n / GROUP ** (levels - 1)))
        x, index = _level(b, x, index, size, bits)
        if bits == 64 and x.fraction:
            bits = 48
    shape = x.shape[:-1]
    if index is not None:
        index = b.reshape(b.broadcast(index, x.shape), shape)
    return b.reshape(b.truncate(x) if x.fraction else x, shape), index


def _level(b: Builder, x: Value, index: Value | None, size: int, bits: int | None) -> tuple[Value, Value | None]:
    """Groups of `size` neighbours, those at the end one smaller, to their winners."""
    n = x.shape[-1]
    groups = math.ceil(n / size)
    larger = n - groups * (n // groups)
    parts, indices = [], []
    start = 0
    for count, k in ((larger, n // groups + 1), (groups - larger, n // groups)):
        if not count:
            continue
        part = _cut(b, x, start, start + count * k, (count, k))
        places = None if index is None else _cut(b, index, start, start + count * k, (count, k))
        start += count * k
        value, place = _winner(b, part, places, bits)
        parts.append(value)
        indices.append(place)
    last = len(x.shape) - 1
    joined = b.concat(parts, last)
    if index is None:
        return joined, None
    return joined, b.concat(indices, last)


def _cut(b: Builder, x: Value, low: int, high: int, shape: tuple[int, ...]) -> Value:
    """x[..., low:high] with the last axis reshaped."""
    rest = x.shape[:-1]
    part = b.slice(x, (0,) * len(x.shape[:-1]) + (low,), (*rest, high))
    return b.reshape(part, (*rest, *shape))


def _winner(b: Builder, x: Value, index: Value | None, bits: int | None) -> tuple[Value, Value | None]:
    """The largest along the last axis, and its index."""
    k = x.shape[-1]
    value = b.truncate(x) if x.fraction else x
    if k == 1:
        return b.reshape(value, x.shape[:-1]), None if index is None else _sole(b, index, x)
    last = (len(x.shape) - 1,)
    if k == 2:
        bit = b.negative(_difference(b, _column(b, x, 0), _column(b, x, 1)), bits, 0)
        one, two = _column(b, value, 0), _column(b, value, 1)
        result = b.add(one, b.select(bit, b.sub(two, one)))
        places = None
        if index is not None:
            left, right = _column(b, index, 0), _column(b, index, 1)
            places = b.reshape(b.add(left, b.select(bit, b.sub(right, left))), x.shape[:-1])
        return b.reshape(result, x.shape[:-1]), places
    won = one_hot(b, x, bits)
    result = b.sum(b.one("select", won, value), last)
    if index is None:
        return result, None
    return result, b.sum(b.one("select", won, b.broadcast(index, x.shape)), last)


def _sole(b: Builder, index: Value, x: Value) -> Value:
    return b.reshape(b.broadcast(index, x.shape), x.shape[:-1])


def _column(b: Builder, x: Value, i: int) -> Value:
    start = (0,) * (len(x.shape) - 1) + (i,)
    return b.slice(x, start, (*x.shape[:-1], i + 1))


def _difference(b: Builder, x: Value, y: Value) -> Value:
    """x - y of values with the same fraction bits, however many: no truncation, no round."""
    return b.one("add", x, b.neg(y))


def pairs(b: Builder, x: Value, bits: int | None) -> Value:
    """[x_i < x_j] for i < j in lexicographic order, along the last axis: a public matrix makes the differences."""
    k, rest = x.shape[-1], x.shape[:-1]
    chosen = list(combinations(range(k), 2))
    matrix = np.zeros((k, len(chosen)), np.int64)
    for p, (i, j) in enumerate(chosen):
        matrix[i, p], matrix[j, p] = 1, -1
    rows = b.reshape(x, (1, math.prod(rest), k))
    differences = b.one("dot", rows, b.ring_constant(matrix.view(np.uint64)[None]), picks=False)
    return b.negative(b.reshape(differences, (*rest, len(chosen))), bits, 0)


def one_hot(b: Builder, x: Value, bits: int | None) -> Value:
    """The bit of the largest along the last axis, the first of equals; 3 to 16 values."""
    k = x.shape[-1]
    less = pairs(b, x, bits)
    if k > BY_ANDS:
        return b.equal(losses(b, less, k), b.integer(np.zeros((), np.int64)), 4)
    place = {pair: p for p, pair in enumerate(combinations(range(k), 2))}
    columns = [_column(b, less, p) for p in range(len(place))]
    result = []
    for i in range(k):
        won = [columns[place[j, i]] if j < i else b.not_(columns[place[i, j]]) for j in range(k) if j != i]
        while len(won) > 1:
            won = [b.and_(*won[m : m + 2]) if m + 1 < len(won) else won[m] for m in range(0, len(won), 2)]
        result.append(won[0])
    return b.concat(result, len(x.shape) - 1)


def losses(b: Builder, less: Value, k: int) -> Value:
    """How many of the k values beat each: a public matrix times the comparisons' bits in the ring."""
    matrix, constant = np.zeros((k * (k - 1) // 2, k), np.int64), np.arange(k)
    for p, (i, j) in enumerate(combinations(range(k), 2)):
        matrix[p, i], matrix[p, j] = 1, -1
    rest = less.shape[:-1]
    rows = b.reshape(b.to_ring(less), (1, math.prod(rest), less.shape[-1]))
    counted = b.one("dot", rows, b.ring_constant(matrix.view(np.uint64)[None]), picks=False)
    return b.reshape(b.add(counted, b.integer(constant)), (*rest, k))
