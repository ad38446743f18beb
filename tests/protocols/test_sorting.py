"""Sort: exact, as declared, and nothing that is opened or sent depends on the values."""

from collections import Counter, defaultdict
from itertools import combinations_with_replacement
from types import SimpleNamespace

import numpy as np
import pytest
from harness import check, plan_of, run

import mpcrt.plan.sorting as planned
from mpcrt.errors import ProtocolError
from mpcrt.plan import PUBLIC, Builder, Type
from mpcrt.plan.declare import PlanError
from mpcrt.plan.sorting import SortSpec, sort_spec
from mpcrt.protocols.corrections import Writer
from mpcrt.protocols.ops import sorting
from mpcrt.protocols.rules import RULES
from mpcrt.ring.codec import encode
from mpcrt.transport import Kind


def ints(values) -> np.ndarray:
    return np.asarray(values, np.int64).view(np.uint64)


def plan(shape, bits: int = 33, fraction: int = 0, wire: str = "masked"):
    return plan_of(lambda b, x: b.one("sort", x, bits=bits), Type(shape, "ring", fraction), wires=[wire])


def drawn(rng, kind: str, shape) -> np.ndarray:
    size = int(np.prod(shape))
    values = {
        "any": rng.integers(-(2**31), 2**31, size),
        "ties": rng.integers(-3, 3, size),
        "all equal": np.full(size, -7),
        "sorted": np.arange(size) - size // 2,
        "reversed": size // 2 - np.arange(size),
    }[kind]
    return ints(values.reshape(shape))


# -- results


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("shape", [(0,), (1,), (2,), (3,), (17,), (300,), (3, 0), (0, 3), (4, 1), (7, 2), (3, 2, 5)])
def test_small(n, shape, rng):
    outcome = check(plan(shape), [drawn(rng, "any", shape)], n)
    assert outcome.rounds == (n + 3 if shape[-1] > 1 and 0 not in shape else 0)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("kind", ["any", "ties", "all equal", "reversed"])
def test_with_a_sample(n, kind, rng):
    """Sizes at which a sample, a search and the gaps in one batch or two are used; one opening more for shares."""
    for shape, wire, batches in (((2000,), "masked", 4), ((40, 100), "shared", 3)):
        outcome = check(plan(shape, wire=wire), [drawn(rng, kind, shape)], n)
        assert len(sort_spec(int(np.prod(shape[:-1])), shape[-1]).batches) == batches
        assert outcome.rounds == n + 4 * batches - 1 + (wire == "shared")


def test_ten_thousand_reals(rng):
    outcome = check(plan((10_000,), 48, 18), [encode(rng.normal(size=10_000), 18)])
    assert outcome.rounds == 25
    assert outcome.party_bytes < 12_000_000 and outcome.dealer_bytes < 23_000_000


@pytest.mark.parametrize("bits", [2, 8, 33, 48, 60])
def test_differences_of_all_widths(bits, rng):
    """The largest differences that the width allows, either way, and equal values beside them."""
    top = 2 ** (bits - 1) - 1
    low = -(top // 2)
    values = [low, low + top, low, low + top, *rng.integers(low, low + top + 1, 12)]
    check(plan((16,), bits), [ints(values)])


def test_forks_and_products_are_sorted(rng):
    def function(b, x, y):
        return b.one("sort", b.truncate(b.mul(x, y)), bits=48), b.one("sort", b.add(x, y), bits=48)

    real = Type((40,), "ring", 18)
    check(plan_of(function, real, real), [encode(rng.normal(size=40), 18) for _ in range(2)], ulp=1)


def test_in_a_loop(rng):
    """Trips shuffle anew: their positions differ, which the readers' debugging asserts."""
    inner = Builder()
    c, x = inner.input(Type((30,))), inner.input(Type((30,)))
    body = inner.finish(inner.add(inner.one("sort", inner.add(c, x), bits=40), x))

    def function(b, c, xs):
        return b.loop(body, 3, [], [c], [xs])

    inputs = [drawn(rng, "any", (30,)), drawn(rng, "ties", (3, 30))]
    assert check(plan_of(function, Type((30,)), Type((3, 30))), inputs, 3).rounds == 3 * 7


def test_owned_and_public_values(rng):
    x = drawn(rng, "ties", (30,))
    for visibility, owner in (("private(alice)", "alice"), (PUBLIC, "owner")):
        t = Type((30,), "ring", 0, visibility)
        check(plan_of(lambda b, v: b.one("sort", v, bits=33), t), [x], owners=[owner])


@pytest.mark.parametrize(("shape", "bits"), [((), 33), ((5,), 62), ((2**20,), 48), ((4,), 1)])
def test_what_cannot_be_sorted_is_refused(shape, bits):
    with pytest.raises(PlanError, match="sort"):
        plan(shape, bits)


# -- the schedule of batches


def by_batches(spec: SortSpec, keys: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The keys [rows, n], in uniformly random order, put in order as the parties do; and the pairs of each batch."""

    def less(differences):
        return (differences.reshape(-1) >> np.uint64(63)).astype(np.uint8)

    ctx = SimpleNamespace(attrs={"spec": spec})
    differences = sorting.differences(ctx, np.stack([keys, keys]))
    used = [differences.size]
    order = sorting.sample_order(spec, less(differences))
    for _ in spec.batches[1:]:
        used.append(order.count)
        order = order.told(less(order.differences(keys.reshape(-1))))
    assert isinstance(order, sorting.Gaps)
    return keys.reshape(-1)[order.elements].reshape(keys.shape), used


@pytest.mark.parametrize(("rows", "n"), [(1, 10_000), (1, 2000), (50, 100), (3, 700), (1, 401), (1, 30_000)])
def test_batches_put_all_in_order_within_their_budgets(rows, n, rng):
    spec = sort_spec(rows, n)
    most = np.zeros(len(spec.batches))
    for _ in range(5):
        keys = np.argsort(rng.random((rows, n)), 1).astype(np.uint64)
        ordered, used = by_batches(spec, keys)
        assert (ordered == np.arange(n, dtype=np.uint64)).all()
        most = np.maximum(most, used)
    fixed = len(spec.radices) + 1
    assert (most[:fixed] == spec.batches[:fixed]).all()
    assert (most[fixed:] <= spec.batches[fixed:]).all()
    print(f"{spec}: used {most}")


def test_a_batch_that_does_not_suffice_ends_the_run(rng):
    spec = sort_spec(1, 2000)
    keys = rng.permutation(2000).astype(np.uint64)[None]
    short = SortSpec(1, 2000, spec.sample, spec.radices, (*spec.batches[:-1], 1000))
    with pytest.raises(ProtocolError, match="2\\^-40"):
        by_batches(short, keys)


@pytest.mark.parametrize(("m", "parts"), [(5, 3), (1, 2), (0, 4), (7, 4)])
def test_the_law_of_a_gap(m, parts):
    """By counting: a composition is a choice of parts - 1 bars among the elements."""
    sizes = Counter(sum(bar == 0 for bar in c) for c in combinations_with_replacement(range(parts), m))
    total = sum(sizes.values())
    tail = [sum(v for k, v in sizes.items() if k >= t) / total for t in range(m + 1)]
    np.testing.assert_allclose(planned._tail(m, parts), tail)


def test_budgets_bound_the_tail_that_can_be_seen(rng, monkeypatch):
    """With a failure of 2% an event in place of 2^-42, at most 8% of 500 runs (and deviations: 8% + 6 * 1.2%) fail;
    with bounds that are not far too wide, the largest use is over half of the budget."""
    monkeypatch.setattr(planned, "FAILURE", 0.02)
    for rows, n, radices, two in ((1, 600, (4, 4), False), (2, 600, (3, 4), True)):
        spec = planned._sampled(rows, n, radices, two)
        failed, most = 0, np.zeros(1 + two)
        wide = SortSpec(rows, n, spec.sample, radices, (*spec.batches[: 1 + len(radices)], *[10**9] * (1 + two)))
        for _ in range(500):
            _, used = by_batches(wide, np.argsort(rng.random((rows, n)), 1).astype(np.uint64))
            last = np.array(used[1 + len(radices) :])
            failed += bool((last > spec.batches[1 + len(radices) :]).any())
            most = np.maximum(most, last)
        assert failed <= 500 * 0.15
        assert (most > 0.5 * np.array(spec.batches[1 + len(radices) :])).all()


# -- what is seen


def opened_orders(monkeypatch, x: np.ndarray, n: int) -> np.ndarray:
    """[rows, n]: what all opened results tell, at one party: the shuffled places of the elements in order."""
    found = []
    original = sorting.sorted_online

    def recorded(ctx, shares, order):
        found.append(order.elements)
        return original(ctx, shares, order)

    monkeypatch.setattr(RULES["sorted"], "online", recorded)
    outcome = run(plan(x.shape), [x], n)
    assert (outcome.values[0] == ints(np.sort(x.view(np.int64), 1))).all()
    assert len(found) == n and all((f == found[0]).all() for f in found)
    return found[0].reshape(x.shape) % x.shape[1]


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2).sum() / expected)


def patterns(orders: np.ndarray) -> np.ndarray:
    """How often each of the 24 orders of 4 elements occurs."""
    codes = orders @ np.array([64, 16, 4, 1])
    values, counts = np.unique(codes, return_counts=True)
    assert values.size <= 24
    return np.append(counts, np.zeros(24 - values.size))


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("kind", ["sorted", "reversed", "all equal", "ties"])
def test_opened_orders_are_uniform_whatever_the_values(n, kind, monkeypatch, rng):
    """2400 rows of 4, the same in each row: 23 degrees of freedom, below 85 (p = 5e-9; the randomness is the
    system's)."""
    x = np.tile(drawn(rng, kind, (1, 4)), (2400, 1))
    assert chi_square(patterns(opened_orders(monkeypatch, x, n))) < 85


@pytest.mark.parametrize("kind", ["sorted", "all equal"])
def test_opened_orders_are_uniform_after_a_sample(kind, monkeypatch, rng):
    """How often place i comes j-th, 40 x 40 counts of 400 rows: the statistic has mean 40 * 39 and deviation about 40
    sqrt 2; six of them either way."""
    rows, n = 400, 40
    assert sort_spec(rows, n).sample < n
    orders = opened_orders(monkeypatch, np.tile(drawn(rng, kind, (1, n)), (rows, 1)), 2)
    counts = np.zeros((n, n))
    np.add.at(counts, (orders, np.broadcast_to(np.arange(n), orders.shape)), 1)
    assert abs(chi_square(counts) - n * (n - 1)) < 6 * n * 2**0.5


def test_the_test_sees_a_missing_shuffle(monkeypatch, rng):
    def unshuffled(ctx, party):
        _, rows, n = ctx.result.type.shape
        return np.tile(np.arange(n), (rows, 1))

    monkeypatch.setattr(sorting, "permutation", unshuffled)
    x = np.tile(drawn(rng, "reversed", (1, 4)), (2400, 1))
    assert chi_square(patterns(opened_orders(monkeypatch, x, 2))) > 10_000


def test_one_honest_party_hides_the_order(monkeypatch, rng):
    """The orders stay uniform where all parties but one do not shuffle."""
    shuffled = sorting.permutation

    def one(ctx, party):
        _, rows, n = ctx.result.type.shape
        return shuffled(ctx, party) if party == "bob" else np.tile(np.arange(n), (rows, 1))

    monkeypatch.setattr(sorting, "permutation", one)
    x = np.tile(drawn(rng, "all equal", (1, 4)), (2400, 1))
    assert chi_square(patterns(opened_orders(monkeypatch, x, 3))) < 85


def test_words_that_repeat_are_drawn_again():
    words = [np.array([5, 5, 1, 2], np.uint64), np.array([9, 5, 1, 2], np.uint64)]
    ctx = SimpleNamespace(
        result=SimpleNamespace(type=Type((2, 1, 4))), known_to=lambda party, attempt, count: words[attempt]
    )
    assert sorting.permutation(ctx, "alice").tolist() == [[2, 3, 1, 0]]


def test_sizes_do_not_depend_on_the_values(monkeypatch, rng):
    """Every message of a sort, by sender, receiver, address and bytes; of the dealer's stream every item in order,
    since time says which of them share a message. The dealer gets the input's seeds alone."""
    seen, items, add = {}, [], Writer.add

    def told(writer, receiver, words):
        items.append((receiver, words.size))
        add(writer, receiver, words)

    monkeypatch.setattr(Writer, "add", told)
    for kind in ("sorted", "all equal", "any"):
        sizes = set()
        items.clear()

        def recorder(name, sizes=sizes):
            def record(direction, peer, address, buffers):
                if direction == "sent" and address.kind is not Kind.DEAL:
                    sizes.add((name, peer, tuple(address), sum(np.asarray(b).nbytes for b in buffers)))

            return record

        run(plan((2000,)), [drawn(rng, kind, (2000,))], 3, recorder=recorder)
        assert {(sender, at[0]) for sender, receiver, at, _ in sizes if receiver == "dealer"} == {("owner", Kind.INPUT)}
        seen[kind] = sizes, list(items)
    assert len(seen["any"][0]) > 100 and len(seen["any"][1]) > 10
    assert seen["sorted"] == seen["all equal"] == seen["any"]


@pytest.mark.parametrize("kind", ["sorted", "all equal"])
def test_what_leaves_a_process_is_uniform(kind, rng):
    """Bytes by (sender, kind of message): 255 degrees of freedom, below 391 (p = 1e-7)."""
    counts = defaultdict(lambda: np.zeros(256, np.int64))

    def recorder(name):
        def record(direction, peer, address, buffers):
            if direction == "sent" and address.kind in (Kind.OPEN, Kind.DEAL):
                for array in buffers:
                    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
                    counts[name, Kind(address.kind).name] += np.bincount(data, minlength=256)

        return record

    run(plan((2000,)), [drawn(rng, kind, (2000,))], 2, debug=False, recorder=recorder)
    assert set(counts) == {("alice", "OPEN"), ("bob", "OPEN"), ("dealer", "DEAL")}
    for key, found in counts.items():
        assert chi_square(found) < 391, key
