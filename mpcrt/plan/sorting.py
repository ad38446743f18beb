"""The fixed schedule of a sort after its shuffle: how many comparisons each batch makes, whatever the data.

Each row of n distinct keys is in uniformly random order. Batches of comparisons, their results opened:
1. The first S positions of a row, a random sample, are sorted by all pairs, in S floor(S / 2) comparisons.
2. For each radix k, every other element is compared with k - 1 evenly spaced ones of the sample elements it may still
   lie between; S + 1 is the product of the radices, so it ends in one of S + 1 gaps. The count is exact.
3. The gaps are sorted by all pairs within each; where that would cost more, by `pivots(g)` of a gap's g elements first
   and then by all pairs within the parts. These counts depend on chance, never on the data: the batches have budgets
   that do not suffice with probability below 2^-40.

The budgets. A row's gaps g_0 .. g_S are a uniform composition of m = n - S, so P(g >= t) = C(m-t+S, S) / C(m+S, S).
They are independent geometric variables conditioned on their sum, hence negatively associated (Joag-Dev and Proschan
1983, 2.8), so for nondecreasing f >= 0 and G gaps in all rows, E exp(a sum f(g_i)) <= (E exp(a f(g)))^G. With f cut
off at a size t that no gap reaches but with probability 2^-42, Chernoff's bound gives
  P(sum f(g_i) > M) <= 2^-42 + exp(-a M) (E exp(a f(min(g, t))))^G,
and M makes the second term 2^-42 at the best a of a grid. For the parts the same holds given g: p pivots cut g - p
elements by a uniform composition into p + 1 parts; their moment, made nondecreasing in g, takes the place of
exp(a f(g)).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

FAILURE = 2.0**-42
"""Each of the at most four events that a sort does not finish for: 2^-40 in all."""
BATCH = 40_000
"""Comparisons that cost about as much as a batch's four rounds: 1.5 ms on one machine, 50 to 100 ms apart."""
WHOLE = 8
"""Gaps of up to this many elements are sorted by all pairs at once."""
ROUNDING = 512


@dataclass(frozen=True, slots=True)
class SortSpec:
    """`sample` S = n: all pairs are compared in one batch. `batches[k]`: the comparisons of batch k, in all rows."""

    rows: int
    n: int
    sample: int
    radices: tuple[int, ...]
    batches: tuple[int, ...]

    @property
    def index_bits(self) -> int:
        return index_bits(self.n)


def index_bits(n: int) -> int:
    """Bits of an element's index within its row."""
    return (n - 1).bit_length()


def pivots(sizes: np.ndarray) -> np.ndarray:
    """How many elements of a gap split it, where two batches sort it: all of a small one."""
    few = np.ceil(1.35 * np.sqrt(sizes)).astype(sizes.dtype)
    return np.where(sizes <= WHOLE, sizes, few)


def comparisons(sizes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Pairs of a chosen element and any other, in groups of these sizes."""
    return chosen * sizes - chosen * (chosen + 1) // 2


@cache
def sort_spec(rows: int, n: int) -> SortSpec:
    """The cheapest schedule by comparisons and rounds; without data."""
    best = SortSpec(rows, n, n, (), (rows * n * (n // 2),))
    if n > 4 * WHOLE:
        plans = sorted((_estimate(rows, n, r, two), r, two) for r in _choices(n) for two in (False, True))
        for estimate, radices, two in plans[:3]:
            if estimate < _cost(best):
                best = min(best, _sampled(rows, n, radices, two), key=_cost)
    return best


def _cost(spec: SortSpec) -> float:
    return sum(spec.batches) + BATCH * len(spec.batches)


def _choices(n: int) -> list[tuple[int, ...]]:
    """Radices, equal but for one, that leave a sample of less than half."""
    found = {(k,) * steps + (k + 1,) * more for k in range(2, 65) for steps in range(5) for more in range(2)}
    return sorted(r for r in found if r and 4 <= math.prod(r) <= n // 2)


def _fixed(rows: int, n: int, radices: tuple[int, ...]) -> tuple[int, ...]:
    """The comparisons of the sample's batch and of the search."""
    sample = math.prod(radices) - 1
    return (rows * sample * (sample // 2), *(rows * (n - sample) * (k - 1) for k in radices))


def _estimate(rows: int, n: int, radices: tuple[int, ...], two: bool) -> float:
    """About the cost: means, and one largest gap."""
    gaps = rows * math.prod(radices)
    mean = n / math.prod(radices)
    largest = min(mean * math.log(gaps / FAILURE), n)
    last = 4 * (gaps * mean**1.5 + largest**1.5) if two else gaps * mean**2 + largest**2 / 2
    return sum(_fixed(rows, n, radices)) + last + BATCH * (2 + two + len(radices))


def _sampled(rows: int, n: int, radices: tuple[int, ...], two: bool) -> SortSpec:
    sample = math.prod(radices) - 1
    gaps, rest = rows * (sample + 1), n - sample
    reach = _tail(rest, sample + 1)
    largest = _beyond(gaps * reach)
    sizes = np.arange(largest + 1)
    chance = _masses(reach, largest)
    if two:
        first = np.maximum.accumulate(comparisons(sizes, pivots(sizes)))
        last = [_budget(gaps, first, lambda a: _log_moment(chance, a * first)), _parts_budget(gaps, chance)]
    else:
        pairs = comparisons(sizes, sizes)
        last = [_budget(gaps, pairs, lambda a: _log_moment(chance, a * pairs))]
    most = rows * rest * (rest - 1) // 2
    rounded = (min(most, -(-b // ROUNDING) * ROUNDING) for b in last)
    return SortSpec(rows, n, sample, radices, (*_fixed(rows, n, radices), *rounded))


def _parts_budget(gaps: int, chance: np.ndarray) -> int:
    """Comparisons of all pairs within the parts of all gaps; `chance[g]`: a gap has g elements."""
    sizes = np.arange(chance.size)
    chosen = pivots(sizes)
    ends = np.flatnonzero(np.diff(chosen, append=chosen[-1] + 1))  # the largest gap of each number of pivots
    ends = ends[ends > WHOLE]
    if not ends.size:
        return 0
    reaches = [_tail(int(g - p), int(p + 1)) for g, p in zip(ends, chosen[ends], strict=True)]
    of = np.searchsorted(ends, sizes)  # the entry of each size
    weight = np.bincount(of[WHOLE + 1 :], chance[WHOLE + 1 :], ends.size)
    expected = np.zeros(max(r.size for r in reaches))
    for reach, w, p in zip(reaches, weight, chosen[ends], strict=True):
        expected[: reach.size] += gaps * w * (p + 1) * reach
    largest = _beyond(expected)
    parts = np.arange(largest + 1)
    pairs = comparisons(parts, parts)
    masses = [_masses(reach, largest) for reach in reaches]

    def log_moment(a: float) -> float:
        moments = [(p + 1) * _log_moment(m, a * pairs) for m, p in zip(masses, chosen[ends], strict=True)]
        values = np.concatenate([np.zeros(WHOLE + 1), np.maximum.accumulate(moments)[of[WHOLE + 1 :]]])
        return _log_moment(chance, values)

    return _budget(gaps, pairs, log_moment)


def _budget(gaps: int, costs: np.ndarray, log_moment: Callable[[float], float]) -> int:
    """The least M with exp(-a M) moment(a)^gaps <= FAILURE, over a grid of a."""
    top = max(float(costs[-1]), 1.0)
    bounds = ((gaps * log_moment(s / top) - math.log(FAILURE)) / (s / top) for s in np.geomspace(0.3, 60.0, 30))
    return math.ceil(min(bounds))


def _tail(m: int, parts: int) -> np.ndarray:
    """P(g >= t), t = 0 .. m, for a part g of a uniform composition of m into `parts`."""
    logs = _log_factorials(1 << (m + parts).bit_length())
    rest = m - np.arange(m + 1)
    return np.exp(logs[rest + parts - 1] - logs[rest] - logs[m + parts - 1] + logs[m])


@cache
def _log_factorials(count: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])


def _beyond(expected: np.ndarray) -> int:
    """The first size of which fewer than FAILURE are expected; the last one if there is none."""
    return int(np.argmax(np.append(expected, 0.0)[:-1] < FAILURE)) or expected.size - 1


def _masses(reach: np.ndarray, largest: int) -> np.ndarray:
    """P(min(g, largest) = t) for t = 0 .. largest."""
    cut = np.zeros(largest + 2)
    cut[: min(reach.size, largest + 1)] = reach[: largest + 1]
    return cut[:-1] - cut[1:]


def _log_moment(chance: np.ndarray, exponents: np.ndarray) -> float:
    top = float(exponents.max())
    return top + math.log(float(np.sum(chance * np.exp(exponents - top))))
