"""Products of a secret wire with an input whose whole mask is its owner's: exact, the owner in one product."""

import numpy as np
import pytest
from harness import NAMES, check, plan_of

from mpcrt.plan import SECRET, Builder, Type, private
from mpcrt.protocols.ops import bilinear


def words(rng, *shape):
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


SECRETS = {
    "input": lambda b, x: x,
    "opened product": lambda b, x: b.mul(x, x),
    "exposed sum": lambda b, x: b.add(b.mul(x, x), x),
    "moved": lambda b, x: b.neg(b.transpose(b.mul(x, x), (0, 2, 1))),
    "part": lambda b, x: b.concat([b.slice(b.mul(x, x), (0, 0, 0), (1, 2, 4)), b.slice(x, (0, 2, 0), (1, 4, 4))], 1),
}


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("secret", SECRETS)
def test_products_are_exact(secret, n, rng):
    for holder in (NAMES[0], NAMES[n - 1]):
        for left in (True, False):

            def function(b, x, w, left=left):
                h = SECRETS[secret](b, x)
                return b.dot(w, h) if left else b.dot(h, w)

            types = [Type((1, 4, 4), "ring", 0, v) for v in (SECRET, private(holder))]
            check(plan_of(function, *types), [words(rng, 1, 4, 4) for _ in types], n, owners=["owner", holder])


@pytest.mark.parametrize("n", [2, 3])
def test_shares_dealt_in_chunks(n, rng):
    def function(b, x, w):
        return b.dot(b.mul(x, x), w)

    types = [Type((1, 2, 40_000), "ring", 0), Type((1, 40_000, 1), "ring", 0, private("bob"))]
    check(plan_of(function, *types), [words(rng, *t.shape) for t in types], n, owners=["owner", "bob"])


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("owners", [(0, 1), (1, 0), (-1, 0), (0, -1)])
def test_the_other_factor_joins_owners_inputs(n, owners, rng):
    """Whose masks have a share at one party each; transposed and in a loop's slices too."""
    first, second = (NAMES[:n][i] for i in owners)
    body = Builder()
    c, x, w = (body.input(Type((1, 4, 4), "ring", 0, v)) for v in (SECRET, SECRET, private(second)))
    plan = body.finish(body.add(c, body.dot(body.transpose(x, (0, 2, 1)), w)))

    def function(b, left, right, w):
        both = b.concat([left, right], 2)
        (summed,) = b.loop(
            plan, 2, [], [b.dot(both, w)], [b.reshape(b.concat([both, both], 0), (2, 1, 4, 4)), two(b, w)]
        )
        return summed

    def two(b, w):
        return b.reshape(b.concat([w, w], 0), (2, 1, 4, 4))

    kinds = [first, second, second]
    shapes = [(1, 4, 2), (1, 4, 2), (1, 4, 4)]
    types = [Type(s, "ring", 0, private(who)) for s, who in zip(shapes, kinds, strict=True)]
    check(plan_of(function, *types), [words(rng, *s) for s in shapes], n, owners=kinds)


def test_in_a_loop(rng):
    body = Builder()
    c, x, w = (body.input(Type((1, 2, 2), "ring", 0, v)) for v in (SECRET, SECRET, private("alice")))
    plan = body.finish(body.add(body.dot(c, w), body.dot(x, w)))

    def function(b, c, x, w):
        return b.loop(plan, 3, [], [c], [b.mul(x, x), w])

    types = [Type((1, 2, 2), "ring", 0), Type((3, 1, 2, 2), "ring", 0), Type((3, 1, 2, 2), "ring", 0, private("alice"))]
    check(plan_of(function, *types), [words(rng, *t.shape) for t in types], owners=["owner", "owner", "alice"])


def test_the_owner_multiplies_once(monkeypatch, rng):
    """As does each other reader: 3 products at two parties, which were 4."""
    count = []
    times = bilinear.TIMES["dot"]
    monkeypatch.setitem(bilinear.TIMES, "dot", lambda *a: count.append(1) or times(*a))
    types = [Type((1, 4, 4), "ring", 0, v) for v in (SECRET, private("alice"))]
    plan = plan_of(lambda b, x, w: b.dot(b.mul(x, x), w), *types)
    check(plan, [words(rng, 1, 4, 4) for _ in types], owners=["owner", "alice"])
    assert len(count) == 3


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("table", [private("alice"), SECRET], ids=["owned", "secret"])
@pytest.mark.parametrize("owner", ["bob", "owner"])
def test_who_knows_one_hot_rows_picks(monkeypatch, rng, n, owner, table):
    """Its product is none: one less than with any other rows, and the same result, for rows of zeros too."""
    count = []
    times = bilinear.TIMES["dot"]
    monkeypatch.setitem(bilinear.TIMES, "dot", lambda *a: count.append(1) or times(*a))
    hot = np.eye(5, dtype=np.uint64)[rng.integers(0, 5, (1, 7))]
    hot[0, 2] = 0
    types = [
        Type((1, 7, 5), "ring", 0, private("bob") if owner == "bob" else SECRET),
        Type((1, 5, 3), "ring", 0, table),
    ]
    owners = [owner, "alice" if table != SECRET else "owner"]
    made = []
    for picks in (False, True):
        plan = plan_of(lambda b, x, y, picks=picks: b.dot(x, y, picks=picks), *types)
        check(plan, [hot, words(rng, 1, 5, 3)], n, owners=owners)
        made.append(len(count))
        count.clear()
    assert made[0] - made[1] == (owner == "bob")
