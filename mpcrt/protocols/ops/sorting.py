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
    for attempt in range(256):
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


def sample_pairs(spec: SortSpec) -> tuple[np.ndarray, np.ndarray]:
    """[rows, S (S - 1) / 2] flat positions a and b, a before b: by b, then a."""
    b, a = np.tril_indices(spec.sample, -1)
    rows = (np.arange(spec.rows) * spec.n)[:, None]
    return rows + a, rows + b


def differences(ctx, array: np.ndarray) -> np.ndarray:
    """Differences of the keys of the first batch, of D or of the mask."""
    spec: SortSpec = ctx.attrs["spec"]
    keys = array.reshape(2, -1)[1]
    a, b = sample_pairs(spec)
    return (keys[a] - keys[b]).reshape(-1)


@online("sort_sample")
def sort_sample_online(ctx, wire: Wire) -> Wire:
    return Wire(differences(ctx, wire.opened), None)


@dealer("sort_sample")
def sort_sample_dealer(ctx, wire: Wire) -> Wire:
    return Wire(None, Known(differences(ctx, wire.mask.words())))


@online("sort_pairs")
def sort_pairs_online(ctx, shares: np.ndarray, order: "Order") -> np.ndarray:
    """Shares of the differences of a batch's pairs, and zeros to fill it."""
    keys = shares.reshape(2, -1)[1]
    out = np.zeros(ctx.step.size, np.uint64)
    a, b = order.pairs
    np.subtract(keys[a], keys[b], out=out[: a.size])
    return out


@online("disclose")
def disclose_online(ctx, u: np.ndarray):
    """The bits in the clear: the dealer shares what it defers and the opening's masks, so they cancel."""
    share = u ^ ctx.dealt(RESULT, ctx.words, per=1, xor=True).words()
    return (yield ctx.open_bits(share, MASK, per=1, out=ctx.out))


@dealer("disclose")
def disclose_dealer(ctx, deferred):
    mask = ctx.mask(MASK, ctx.words, per=1, xor=True)
    ctx.deal(RESULT, mask if deferred is None else mask ^ deferred, per=1, xor=True)
    yield


@cost("disclose")
def disclose_cost(shape: Shape) -> Traffic:
    return Traffic((8 * shape.words,), 8 * shape.words)


# -- the order, known to the parties


class Order:
    """What opened comparisons have told of the order, the same at all parties; and the next batch's `pairs`."""

    pairs: tuple[np.ndarray, np.ndarray]

    def told(self, less: np.ndarray) -> "Order":
        """After the pairs' results: 1 where key a < key b."""
        raise TypeError(f"{type(self).__name__} has no next step")


class Search(Order):
    """The sorted sample, and how many of it are below each other element, `low` or up to `width` - 1 more."""

    def __init__(self, spec: SortSpec, sample: np.ndarray, low: np.ndarray, step: int) -> None:
        self.spec, self.sample, self.low, self.step = spec, sample, low, step
        self.width = int(np.prod(spec.radices[step:]))
        self.others = (np.arange(spec.rows) * spec.n)[:, None] + np.arange(spec.sample, spec.n)
        radix = spec.radices[step]
        at = low[..., None] + np.arange(1, radix) * (self.width // radix) - 1
        pivot = np.take_along_axis(sample, at.reshape(spec.rows, -1), 1).reshape(-1)
        self.pairs = pivot, np.repeat(self.others.reshape(-1), radix - 1)

    def told(self, less: np.ndarray) -> Order:
        spec, radix = self.spec, self.spec.radices[self.step]
        below = less.reshape(*self.low.shape, radix - 1).sum(2, dtype=np.intp)
        low = self.low + below * (self.width // radix)
        if self.step + 1 < len(spec.radices):
            return Search(spec, self.sample, low, self.step + 1)
        rows = (np.arange(spec.rows) * (2 * spec.sample + 1))[:, None]
        elements = np.concatenate([self.sample, self.others], 1).reshape(-1)
        places = np.concatenate(
            [np.broadcast_to(rows + 2 * np.arange(spec.sample) + 1, self.sample.shape), rows + 2 * low], 1
        )
        left = len(spec.batches) - 1 - len(spec.radices)
        return Gaps(spec, *arranged(elements, places.reshape(-1)), left)


class Gaps(Order):
    """`elements` in order, but for runs of equal `places`, of which nothing is known; `left` batches to go."""

    def __init__(self, spec: SortSpec, elements: np.ndarray, places: np.ndarray, left: int) -> None:
        self.spec, self.elements, self.left = spec, elements, left
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        sizes = np.diff(starts, append=places.size)
        if not left:
            if starts.size < places.size:
                raise ProtocolError("a sort did not finish; that has a probability below 2^-40")
            return
        chosen = sizes if left == 1 else pivots(sizes)
        total, budget = int(comparisons(sizes, chosen).sum()), spec.batches[len(spec.batches) - left]
        if total > budget:
            raise ProtocolError("a sort needs more comparisons than planned; that has a probability below 2^-40")
        self.start = np.repeat(starts, sizes)
        inside = np.arange(places.size) - self.start
        self.chosen = inside < np.repeat(chosen, sizes)
        count = np.minimum(inside, np.repeat(chosen, sizes))
        self.b = np.repeat(np.arange(places.size), count)
        self.a = np.arange(total) - np.repeat(np.cumsum(count) - count - self.start, count)
        self.pairs = elements[self.a], elements[self.b]

    def told(self, less: np.ndarray) -> Order:
        """A chosen element with r chosen ones below goes to place 2 r + 1 of its run, another one to 2 r."""
        size = self.elements.size
        won = less.view(np.bool_)
        above = ~won & self.chosen[self.b]
        rank = np.bincount(self.b[won], minlength=size) + np.bincount(self.a[above], minlength=size)
        places = 2 * (self.start + rank) + self.chosen
        return Gaps(self.spec, *arranged(self.elements, places), self.left - 1)


def arranged(elements: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements and places by place, and within a place by element."""
    size = elements.size
    packed = places * size + elements
    packed.sort()
    return packed % size, packed // size


def sample_order(spec: SortSpec, less: np.ndarray) -> Order:
    """After the first batch, of all pairs of the sample."""
    size = spec.sample
    won = np.zeros((spec.rows, size, size), np.uint8)
    b, a = np.tril_indices(size, -1)
    won[:, b, a] = less.reshape(spec.rows, -1)  # [b above a]
    rank = won.sum(2, dtype=np.intp) + (size - 1 - np.arange(size)) - won.sum(1, dtype=np.intp)
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
    return order.told(kernels.unpack(bits, order.pairs[0].size))


@online("sorted")
def sorted_online(ctx, shares: np.ndarray, order: Gaps) -> np.ndarray:
    return shares.reshape(2, -1)[0][order.elements].reshape(ctx.result.type.shape)


@dealer("sort_pairs", "sort_start", "sort_refine", "sorted")
def unknown_to_the_dealer(ctx, *operands) -> None:
    return None


@cost("sort_keys", "permute", "sort_sample", "sort_pairs", "sort_start", "sort_refine", "sorted")
def local_cost(shape: Shape) -> Traffic:
    return Traffic()
