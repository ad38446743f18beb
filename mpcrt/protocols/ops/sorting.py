"""sort: a secret shuffle, then comparisons whose results are opened. Exact; n + 4 B - 1 rounds for B batches.

Per row of the last axis, x_0 .. x_{m-1} with s = ceil(log2 m), parties 1 .. n:
1. Keys k_i = 2^s x_i + i, local on the wire of x: equal values get distinct keys, so ties show nothing. Precondition:
   differences of x fit `bits` bits and bits + s <= 64.
2. For p = 1 .. n (`permute`, `expose`): values and keys are a wire, D = v + l. Party p draws a uniform permutation pi
   from its stream with the dealer; pi(v) = pi(D) - pi(l), where p knows the first term and the dealer the second. All
   open pi(D) + sum_i s_i with fresh masks: D' = pi(v) + l', l' = pi(l) + sum s_i, which the dealer knows. 1 round a
   party, 16 B an element and party.
3. The dealer shares the last l (16 B): each party has shares of the values and keys in their shuffled order.
4. Batches of comparisons (plan/sorting.py): the first is of fixed positions, D and l differ as the wires do; in each
   other one, parties expose the differences of the pairs under fresh masks (1 round, 8 B), so the dealer need not know
   which they are. Each takes `msb` (2 rounds) and `disclose` (1 round, 1 bit), which opens the results in the clear.
   Batches have fixed sizes, filled up with comparisons of an element with itself.
5. The order is now known to the parties: each rearranges its shares of the values. They are plain shares.

What is seen. Any n - 1 parties miss one permutation pi_p, uniform and independent of all they see: D' is uniform by
the masks. So the shuffled order of the keys, which are distinct, is a uniform permutation whatever the data, and all
opened results follow from it. The other openings are masked. Step 5 opens nothing, so the order stays unrelated to the
positions in x. The dealer knows every pi and l; it receives nothing, and what it sends has fixed sizes.
With probability below 2^-40 a batch does not suffice, which ends the run with an error.
Sorting by opened comparisons of shuffled values: Hamada et al., ICISC 2012.
"""

import math

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.plan import Node
from mpcrt.plan.sorting import SortSpec, comparisons, index_bits, pivots
from mpcrt.protocols.rules import Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Known, Wire
from mpcrt.ring import kernels

RESULT, MASK = 0, 1  # roles of disclose


@plaintext("sort")
def sort(node: Node, x: np.ndarray) -> np.ndarray:
    return np.sort(x.view(np.int64), axis=-1).view(np.uint64)


# -- shuffle


@online("sort_keys")
def sort_keys_online(ctx, x: Wire) -> Wire:
    """[2, rows, n]: the values, and their keys."""
    values = x.opened.reshape(ctx.result.type.shape[1:])
    n = values.shape[1]
    return Wire(np.stack([values, (values << np.uint64(index_bits(n))) + np.arange(n, dtype=np.uint64)]), None)


@dealer("sort_keys")
def sort_keys_dealer(ctx, x: Wire) -> Wire:
    mask = x.mask.words()
    n = ctx.result.type.shape[2]
    return Wire(None, Known(np.concatenate([mask, mask << np.uint64(index_bits(n))])))


def permutation(ctx, party: str) -> np.ndarray:
    """[rows, n]: a uniform permutation of each row, known to `party` and the dealer: the order of distinct words."""
    _, rows, n = ctx.result.type.shape
    for attempt in range(255):
        words = ctx.known_to(party, attempt, rows * n).reshape(rows, n)
        order = np.argsort(words, axis=1)
        ordered = np.take_along_axis(words, order, 1)
        if (ordered[:, 1:] != ordered[:, :-1]).all():
            return order
    raise ProtocolError("a stream of random words repeats itself")


@online("permute")
def permute_online(ctx, wire: Wire) -> np.ndarray:
    party = ctx.run.parties[ctx.attrs["party"]]
    if ctx.run.me != party:
        return np.zeros(ctx.result.type.shape, np.uint64)
    return np.take_along_axis(wire.opened.reshape(ctx.result.type.shape), permutation(ctx, party)[None], 2)


@dealer("permute")
def permute_dealer(ctx, wire: Wire) -> np.ndarray:
    party = ctx.run.parties[ctx.attrs["party"]]
    mask = wire.mask.words().reshape(ctx.result.type.shape)
    return np.negative(np.take_along_axis(mask, permutation(ctx, party)[None], 2))


# -- comparisons


def differences(ctx, array: np.ndarray) -> np.ndarray:
    """Of the keys of the first batch, of D or of the mask: [rows, distance, S], each sample element less the one that
    comes 1 .. S // 2 places later, around the end. So every pair is there, for even S the farthest ones both ways."""
    spec: SortSpec = ctx.attrs["spec"]
    size, far = spec.sample, spec.sample // 2
    keys = array.reshape(2, spec.rows, spec.n)[1, :, :size]
    around = np.concatenate([keys, keys[:, :far]], 1)
    later = np.lib.stride_tricks.sliding_window_view(around, size, 1)[:, 1:]
    return (keys[:, None] - later).reshape(-1)


@online("sort_sample")
def sort_sample_online(ctx, wire: Wire) -> Wire:
    return Wire(differences(ctx, wire.opened), None)


@dealer("sort_sample")
def sort_sample_dealer(ctx, wire: Wire) -> Wire:
    return Wire(None, Known(differences(ctx, wire.mask.words())))


@online("sort_pairs")
def sort_pairs_online(ctx, shares: np.ndarray, order: "Order") -> np.ndarray:
    """Shares of the differences of a batch's pairs, and zeros to fill it."""
    out = np.empty(ctx.step.size, np.uint64)
    found = order.differences(shares.reshape(2, -1)[1])
    out[: found.size] = found.reshape(-1)
    out[found.size :] = 0
    return out


@online("disclose")
def disclose_online(ctx, u: np.ndarray):
    """The bits in the clear: the dealer shares what it defers and the opening's masks, so they cancel."""
    share = u ^ ctx.dealt(RESULT, ctx.words, per=1, xor=True).words()
    return ctx.open_bits(share, MASK, ctx.out)


@dealer("disclose")
def disclose_dealer(ctx, deferred):
    mask = ctx.mask(MASK, ctx.words, per=1, xor=True)
    ctx.deal(RESULT, mask if deferred is None else mask ^ deferred, per=1, xor=True)


@cost("disclose")
def disclose_cost(shape: Shape) -> Traffic:
    return Traffic((8 * shape.words,), 8 * shape.words)


# -- the order, known to the parties


class Order:
    """What opened comparisons have told of the order, the same at all parties; and the next batch's `count` pairs.
    Elements are numbered through the rows, in shuffled order."""

    count: int

    def differences(self, keys: np.ndarray) -> np.ndarray:
        """key a - key b of each pair."""
        raise TypeError(f"{type(self).__name__} compares nothing")

    def told(self, less: np.ndarray) -> "Order":
        """After the pairs' results: 1 where key a < key b."""
        raise TypeError(f"{type(self).__name__} has no next step")


class Search(Order):
    """The sorted `sample` [rows, S], and how many of it are below each other element: `low`, or less than `width` more.

    Pairs [radix - 1, rows, n - S]: an evenly spaced sample element, and each other one.
    """

    def __init__(self, spec: SortSpec, sample: np.ndarray, low: np.ndarray, step: int) -> None:
        self.spec, self.sample, self.low, self.step = spec, sample, low, step
        self.radix = spec.radices[step]
        self.part = math.prod(spec.radices[step:]) // self.radix
        at = low + (np.arange(spec.rows) * spec.sample)[:, None]
        steps = np.arange(1, self.radix) * self.part - 1
        self.pivots = sample.reshape(-1)[at + steps[:, None, None]]
        self.count = self.pivots.size

    def differences(self, keys: np.ndarray) -> np.ndarray:
        return keys[self.pivots] - keys.reshape(self.spec.rows, -1)[:, self.spec.sample :]

    def told(self, less: np.ndarray) -> Order:
        spec = self.spec
        below = less.reshape(self.pivots.shape).sum(0, dtype=np.uint8)  # radices are below 256
        low = self.low + self.part * below.astype(np.intp)
        if self.step + 1 < len(spec.radices):
            return Search(spec, self.sample, low, self.step + 1)
        rows = np.arange(spec.rows)[:, None]
        within = np.broadcast_to(np.arange(spec.sample) * 2 + 1, self.sample.shape)
        places = np.concatenate([within, 2 * low], 1) + rows * (2 * spec.sample + 1)
        elements = np.concatenate([self.sample, rows * spec.n + np.arange(spec.sample, spec.n)], 1)
        left = len(spec.batches) - 1 - len(spec.radices)
        return Gaps(spec, *arranged(elements.reshape(-1), places.reshape(-1)), left)


class Gaps(Order):
    """`elements` in order, but for runs of equal `places`, of which nothing is known; `left` batches to go.

    Pairs, by their later element b: the chosen elements of its run before it. Chosen are the first of each run.
    """

    def __init__(self, spec: SortSpec, elements: np.ndarray, places: np.ndarray, left: int) -> None:
        self.spec, self.elements, self.left = spec, elements, left
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        if not left:
            if starts.size < places.size:
                raise ProtocolError("a sort did not finish; that has a probability below 2^-40")
            return
        sizes = np.diff(starts, append=places.size)
        few = sizes if left == 1 else pivots(sizes)
        self.count, budget = int(comparisons(sizes, few).sum()), spec.batches[-left]
        if self.count > budget:
            raise ProtocolError("a sort needs more comparisons than planned; that has a probability below 2^-40")
        self.start, few = np.repeat(starts, sizes), np.repeat(few, sizes)
        inside = np.arange(places.size) - self.start
        self.chosen = inside < few
        self.pairs = np.minimum(inside, few)  # of each element as b
        self.ends = np.cumsum(self.pairs)
        self.a = np.arange(self.count) + np.repeat(self.start + self.pairs - self.ends, self.pairs)

    def differences(self, keys: np.ndarray) -> np.ndarray:
        ordered = keys[self.elements]
        return ordered[self.a] - np.repeat(ordered, self.pairs)

    def told(self, less: np.ndarray) -> Order:
        """A chosen element with r chosen ones below goes to place 2 r + 1 of its run, another one to 2 r."""
        below = np.zeros(less.size + 1, np.intp)
        np.cumsum(less, out=below[1:])
        rank = below[self.ends] - below[self.ends - self.pairs]
        beaten = np.flatnonzero(np.repeat(self.chosen, self.pairs) & (less == 0))
        rank += np.bincount(self.a[beaten], minlength=rank.size)
        return Gaps(self.spec, *arranged(self.elements, 2 * (self.start + rank) + self.chosen), self.left - 1)


def arranged(elements: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements and places by place, and within a place by element."""
    bits = elements.size.bit_length()
    packed = (places << bits) | elements
    packed.sort()
    return packed & ((1 << bits) - 1), packed >> bits


def sample_order(spec: SortSpec, less: np.ndarray) -> Order:
    """After the first batch (`differences`): [rows, distance, S], whether an element is below the later one."""
    size, far = spec.sample, spec.sample // 2
    less = less.reshape(spec.rows, far, size)
    rank = far - less.sum(1, dtype=np.intp)
    ways = (size - 1) // 2
    around = np.ascontiguousarray(np.concatenate([less[:, :ways], less[:, :ways]], 2))
    row, line, one = around.strides
    # [distance, j]: whether the element `distance` places before j, around the end, is below it
    earlier = np.lib.stride_tricks.as_strided(
        around.reshape(-1)[size - 1 :], (spec.rows, ways, size), (row, line - one, one)
    )
    rank += earlier.sum(1, dtype=np.intp)
    sample = np.argsort(rank, axis=1) + (np.arange(spec.rows) * spec.n)[:, None]
    if size == spec.n:
        return Gaps(spec, sample.reshape(-1), np.arange(sample.size), 0)
    return Search(spec, sample, np.zeros((spec.rows, spec.n - size), np.intp), 0)


@online("sort_start")
def sort_start_online(ctx, bits: np.ndarray) -> Order:
    spec: SortSpec = ctx.attrs["spec"]
    return sample_order(spec, kernels.unpack(bits, spec.batches[0]))


@online("sort_refine")
def sort_refine_online(ctx, order: Order, bits: np.ndarray) -> Order:
    return order.told(kernels.unpack(bits, order.count))


@online("sorted")
def sorted_online(ctx, shares: np.ndarray, order: Gaps) -> np.ndarray:
    return shares.reshape(2, -1)[0][order.elements].reshape(ctx.result.type.shape)


@dealer("sort_pairs", "sort_start", "sort_refine", "sorted")
def unknown_to_the_dealer(ctx, *operands) -> None:
    return None


@cost("sort_keys", "permute", "sort_sample", "sort_pairs", "sort_start", "sort_refine", "sorted")
def local_cost(shape: Shape) -> Traffic:
    return Traffic()
