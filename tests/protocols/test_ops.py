"""Every plan op through shares against the plaintext reader, and what it declared against what links measured."""

import numpy as np
import pytest
from harness import NAMES, check, plan_of, run
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt import numerics
from mpcrt.plan import OPS, PUBLIC, Builder, Type
from mpcrt.plan.schedule import CHUNK, schedule
from mpcrt.protocols import plaintext
from mpcrt.protocols.rules import PLAINTEXT, RULES
from mpcrt.ring.codec import encode


@pytest.fixture(autouse=True, params=["threads", "processes"])
def links(request):
    """Every test here runs on in-memory links and, at 2 and 3 parties, on ZeroMQ between processes."""
    if request.param == "processes":
        if request.node.callspec.params.get("n") == 5:
            pytest.skip("five parties run in threads")
        request.getfixturevalue("on_processes")


SHAPES = [(), (1,), (0,), (7,), (3, 5), (2, 0, 3), (5000,)]
PARTIES = [2, 3, 5]


def real(*shape, visibility="secret") -> Type:
    return Type(shape, "ring", 18, visibility)


def whole(*shape) -> Type:
    return Type(shape, "ring", 0, "secret")


def bit(*shape) -> Type:
    return Type(shape, "bit", 0, "secret")


def reals(rng, *shape, scale=10.0) -> np.ndarray:
    return encode(rng.normal(size=shape) * scale, 18)


def words(rng, *shape) -> np.ndarray:
    return rng.integers(0, 2**64, shape, dtype=np.uint64)


def bits(rng, *shape) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(np.uint8)


def test_every_op_has_all_readers():
    control = {"input", "loop"}
    assert set(OPS) - control <= set(PLAINTEXT)
    executed_apart = {"public"}
    for name, rule in RULES.items():
        assert rule.cost is not None, name
        if name not in executed_apart:
            assert rule.online is not None and rule.dealer is not None, name
    assert len(RULES) > 15


LAYOUTS = {
    "reshape": lambda b, x: b.reshape(x, (15,)),
    "transpose": lambda b, x: b.transpose(x, (1, 0)),
    "broadcast": lambda b, x: b.broadcast(x, (4, 3, 5)),
    "slice": lambda b, x: b.slice(x, (0, 1), (3, 5), (2, 3)),
    "pad": lambda b, x: b.pad(x, (1, 0), (0, 2), (1, 2)),
    "concat": lambda b, x: b.concat([x, x], 1),
    "take": lambda b, x: b.take(x, np.array([[14, -1], [0, 3], [3, 3]])),
}


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_of_wires_shares_and_bits(n, name, rng):
    f = LAYOUTS[name]

    def function(b, wire, shares, bit_wire, bit_shares):
        fork = b.truncate(b.mul(wire, wire))
        return f(b, wire), f(b, shares), f(b, bit_wire), f(b, bit_shares), f(b, fork)

    plan = plan_of(function, *[real(3, 5)] * 2, *[bit(3, 5)] * 2, wires=["masked", "shared"] * 2)
    outcome = check(plan, [*(reals(rng, 3, 5) for _ in range(2)), *(bits(rng, 3, 5) for _ in range(2))], n, ulp=1)
    assert outcome.rounds == 1


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_linear(n, shape, rng):
    def function(b, x, y, public):
        axes = tuple(range(len(shape)))
        return (
            b.add(x, y), b.neg(x), b.neg(y), b.sub(x, y), b.sum(x, axes), b.sum(y, axes[:1]), b.add(x, public),
            b.add(y, public), b.mul(x, public), b.mul(y, public), b.mul(x, b.real(np.float64(-1.5))),
            b.one("shift", y, bits=3), b.one("scale", x, fraction=17), b.add(x, x),
        )  # fmt: skip

    plan = plan_of(
        function, real(*shape), real(*shape), real(*shape, visibility=PUBLIC), wires=["masked", "shared", None]
    )
    outcome = check(plan, [words(rng, *shape) for _ in range(3)], n)
    assert (outcome.rounds, outcome.dealer_bytes) == (0, 0)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_mul_is_exact_in_the_ring_and_takes_no_round(n, shape, rng):
    plan = plan_of(lambda b, x, y: b.mul(x, y), whole(*shape), whole(*shape))
    outcome = check(plan, [words(rng, *shape), words(rng, *shape)], n)
    assert outcome.rounds == 0


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(
    "owners", [("owner", "owner"), ("alice", "bob"), ("bob", "owner"), ("owner", "alice"), ("bob", "bob")]
)
def test_products_by_owner(n, owners, rng):
    """Owner-held masks take fewer products; the value and the traffic are the same."""
    types = [real(2, 3, 4), real(2, 4, 5), real(2, 3, 4)]
    kinds = [*owners, owners[0]]
    types = [
        t if who == "owner" else t.with_(visibility=f"private({who})") for t, who in zip(types, kinds, strict=True)
    ]

    def function(b, x, y, z):
        return b.truncate(b.dot(x, y)), b.truncate(b.mul(x, z)), x, b.add(x, z)

    inputs = [reals(rng, *t.shape) for t in types]
    outcome = check(plan_of(function, *types), inputs, n, ulp=1, owners=kinds)
    assert outcome.rounds == 1


@pytest.mark.parametrize("n", PARTIES)
def test_a_computing_party_provides_secrets_masked_by_all(n, rng):
    """Visibility "secret" from a computing provider: every party has a random share of the mask."""
    plan = plan_of(lambda b, x, y, c: b.select(c, b.mul(x, y)), whole(7), whole(7), bit(7))
    inputs = [words(rng, 7), words(rng, 7), bits(rng, 7)]
    check(plan, inputs, n, owners=["alice", "bob", "alice"])


CONVOLUTIONS = [
    ((2, 6, 5, 4), (3, 2, 2, 6),
     dict(strides=(1, 2), padding=[(1, 0), (0, 1)], lhs_dilation=(1, 1), rhs_dilation=(1, 2), groups=2)),
    ((1, 7, 3), (3, 3, 2), dict(strides=(2,), padding=[(1, 1)], lhs_dilation=(2,), rhs_dilation=(1,), groups=1)),
]  # fmt: skip


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("case", range(len(CONVOLUTIONS)))
def test_conv(n, case, rng):
    x, k, attrs = CONVOLUTIONS[case]
    plan = plan_of(lambda b, a, c: b.truncate(b.conv(a, c, **attrs)), real(*x), real(*k))
    assert check(plan, [reals(rng, *x), reals(rng, *k)], n, ulp=1).rounds == 1


@pytest.mark.parametrize("n", PARTIES)
def test_products_chain_through_forks_and_remasks(n, rng):
    """Elementwise products of truncated values take one round each; contractions re-mask first."""

    def function(b, x, y, z):
        u, v = b.truncate(b.mul(x, y)), b.truncate(b.mul(y, z))
        return (
            b.truncate(b.mul(u, v)), b.truncate(b.mul(u, x)), b.truncate(b.mul(u, u)), b.mul(u, b.integer(3)),
            b.truncate(b.mul(b.broadcast(b.slice(u, (0, 0), (1, 6)), (6, 6)), v)), b.add(u, x),
        )  # fmt: skip

    shape = (6, 6)
    outcome = check(plan_of(function, *[real(*shape)] * 3), [reals(rng, *shape, scale=3) for _ in range(3)], n, ulp=100)
    assert outcome.rounds == 2

    def contracted(b, x, y):
        return b.truncate(b.dot(b.truncate(b.dot(x, y)), y))

    outcome = check(
        plan_of(contracted, *[real(1, 6, 6)] * 2), [reals(rng, 1, 6, 6, scale=3) for _ in range(2)], n, ulp=300
    )
    assert outcome.rounds == 3


@given(
    values=st.lists(st.integers(-(2**62), 2**62 - 1), min_size=1, max_size=40),
    bits=st.integers(1, 60),
    masked=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_truncation_is_within_one_ulp_above(values, bits, masked):
    x = np.array(values, np.int64).view(np.uint64)
    t = Type(x.shape, "ring", 60, "secret")
    plan = plan_of(lambda b, v: b.one("truncate", v, bits=bits), t, wires=["masked" if masked else "shared"])
    outcome = run(plan, [x])
    error = (outcome.values[0] - plaintext.run(plan, [x])[0]).view(np.int64)
    assert set(error.tolist()) <= {0, 1}
    assert outcome.rounds == (0 if masked else 1)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("drop", "width"), [(0, 64), (0, 48), (0, 33), (18, 45), (0, 2), (10, 20), (0, 17)])
def test_msb(n, drop, width, rng):
    span = 1 << (drop + width - 1)
    top = span - (1 << drop)
    drawn = [int(v) % (2 * span) - span for v in words(rng, 600)]
    values = [min(v, top - 1) for v in [*drawn, 0, -1, 1, span, -span, 1 - span]]
    x = np.array([v for v in values if not drop or not -(1 << drop) < v < 0], np.int64).view(np.uint64)
    plan = plan_of(lambda b, v: b.negative(v, bits=width, drop=drop), whole(x.size))
    outcome = check(plan, [x], n)
    assert outcome.rounds <= 2
    assert (outcome.values[0] == (x.view(np.int64) < 0)).all()


def test_sign_of_a_product_is_the_sign_of_its_truncation(rng):
    """Read from the bits above the fraction it agrees with the truncated value for every input, small ones too."""
    x = rng.integers(-(2**20), 2**20, 3000).astype(np.uint64)
    plan = plan_of(lambda b, v: (b.truncate(v), b.negative(v)), Type((3000,), "ring", 36, "secret"))
    truncated, sign = run(plan, [x]).values
    assert ((truncated.view(np.int64) < 0) == sign).all() and 0 < sign.mean() < 1


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("width", [64, 33, 16, 3])
def test_eqz(n, width, rng):
    x = np.concatenate([words(rng, 200), np.zeros(100, np.uint64), np.uint64(1) << np.arange(64, dtype=np.uint64)])
    plan = plan_of(lambda b, v: b.one("eqz", v, bits=width), whole(x.size))
    check(plan, [x], n)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_bits(n, shape, rng):
    def function(b, x, y, z):
        both = b.and_(x, y)
        return b.xor(x, y), b.xor(x, z), b.not_(z), both, b.and_(both, z), b.or_(y, z), b.to_ring(x), b.to_ring(both)

    plan = plan_of(function, *[bit(*shape)] * 3, wires=["masked", "masked", "shared"])
    check(plan, [bits(rng, *shape) for _ in range(3)], n)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_select(n, shape, rng):
    public = bits(rng, *shape)

    def function(b, c, x, y, z):
        product = b.mul(x, x)
        return (
            b.select(c, x), b.select(c, y), b.select(c, b.real(np.full(shape, 2.5))),
            b.select(b.bit_constant(public), x), b.select(b.bit_constant(public), y),
            b.select(c, b.truncate(product)), b.where(c, x, y), b.where(c, z, c), b.select(c, product),
        )  # fmt: skip

    plan = plan_of(
        function, bit(*shape), real(*shape), real(*shape), bit(*shape), wires=["shared", "masked", "shared", "shared"]
    )
    check(plan, [bits(rng, *shape), reals(rng, *shape), reals(rng, *shape), bits(rng, *shape)], n, ulp=1)


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_relu(n, shape, rng):
    plan = plan_of(lambda b, x: b.where(b.negative(x), b.real(0.0), x), real(*shape))
    assert check(plan, [reals(rng, *shape)], n).rounds == 3


@pytest.mark.parametrize("n", [2, 3])
def test_chunks(n, rng):
    """Over a chunk, with a ragged last one: large openings leave by themselves."""
    size = CHUNK + 777

    def function(b, x, y):
        p = b.mul(x, y)
        return b.truncate(p), b.where(b.negative(p), b.real(0.0), p), b.where(b.negative(x), b.real(0.0), x)

    outcome = check(plan_of(function, real(size), real(size)), [reals(rng, size), reals(rng, size)], n, ulp=1)
    assert outcome.rounds == 4


def again(b, u):
    """Something that exposes a ring element u, and shows what it is."""
    return b.one("truncate", u, bits=4)


def settled(b, x, y, c):
    u, size = b.truncate(b.mul(x, y)), x.type.size
    return b.truncate(b.dot(b.reshape(u, (size, 1, 1)), b.reshape(y, (size, 1, 1))))


EXPOSED = {
    "linear": lambda b, x, y, c: again(b, b.add(b.select(c, x), b.select(c, y))),
    "linear of bits": lambda b, x, y, c: b.select(b.xor(b.negative(x), b.negative(y)), x),
    "product": lambda b, x, y, c: again(
        b, b.dot(b.reshape(x, (1, x.type.size, 1)), b.slice(b.reshape(y, (1, y.type.size, 1)), (0, 0, 0), (1, 1, 1)))
    ),
    "settle": settled,
    "join": lambda b, x, y, c: again(b, b.truncate(b.mul(x, y))),
    "select": lambda b, x, y, c: (again(b, b.select(c, x)), again(b, b.select(c, y))),
    "lift_select": lambda b, x, y, c: again(b, b.select(c, x)),
    "multiply": lambda b, x, y, c: b.truncate(b.mul(b.truncate(b.mul(x, x)), y)),
    "onehot": lambda b, x, y, c: b.mul(*[b.one("onehot", b.to_ring(c), depth=2)] * 2),
    "samples": lambda b, x, y, c: again(b, numerics.sigmoid(b, b.mul(x, b.real(2.0**-7)))),
    "msb": lambda b, x, y, c: b.select(b.negative(x), y),
    "eqz": lambda b, x, y, c: b.select(b.equal(x, y), y),
    "and": lambda b, x, y, c: b.select(b.and_(b.negative(x), c), y),
}
CHUNKWISE = set(EXPOSED) - {"linear", "linear of bits", "product", "onehot", "samples"}


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("name", "size"), [(name, 70) for name in EXPOSED] + [(name, CHUNK + 777) for name in EXPOSED])
def test_steps_that_expose_what_they_make(name, size, n, rng):
    """Each rule that an exposure may follow in one step: of one chunk, and of two where the rule goes by chunks."""
    plan = plan_of(EXPOSED[name], real(size), real(size), bit(size), wires=["masked", "masked", "shared"])
    x, y = reals(rng, size), reals(rng, size, scale=1)
    y[::3] = x[::3]
    # A factor off by a unit, times the other, which is below 60; else at most three units off (a truncation, a sample's
    # rounding, the argument's), one more after 4 bits were cut off, and that truncation's own.
    ulp = 64 if name in ("settle", "multiply") else 2
    outcome = check(plan, [x, y, bits(rng, size)], n, ulp=ulp)
    found = {s.name for s in outcome.schedule.steps}
    assert (f"{name.split()[0]}+expose" in found) == (size < CHUNK or name in CHUNKWISE)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("trips", [0, 1, 3])
def test_loop(n, trips, rng):
    inner = Builder()
    w, c, f, x = (inner.input(t) for t in (real(1, 4, 4), real(1, 4, 4), bit(4), real(1, 4, 4)))
    h = inner.truncate(inner.add(inner.dot(c, w), inner.align(x, 36)))
    flips = inner.xor(f, inner.reshape(inner.slice(inner.negative(h), (0, 0, 0), (1, 1, 4)), (4,)))
    body = inner.finish(inner.where(inner.negative(h), inner.real(0.0), h), flips, inner.truncate(inner.mul(h, x)), f)

    def function(b, w, c, f, xs):
        u = b.truncate(b.mul(w, w))
        return b.loop(body, trips, [u], [c, f], [xs])

    types = [real(1, 4, 4), real(1, 4, 4), bit(4), real(trips, 1, 4, 4)]
    inputs = [
        reals(rng, 1, 4, 4, scale=1),
        reals(rng, 1, 4, 4, scale=1),
        bits(rng, 4),
        reals(rng, trips, 1, 4, 4, scale=1),
    ]
    outcome = check(plan_of(function, *types), inputs, n, ulp=3000)
    assert outcome.rounds == 2 + 5 * trips


BESIDE = {
    "product": lambda b, x, y: (b.mul(b.mul(x, y), b.mul(x, y)), y),
    "relu": lambda b, x, y: (b.select(b.negative(x), x), b.mul(y, y)),
    "later": lambda b, x, y: (b.select(b.negative(x), x), b.mul(b.select(b.negative(b.mul(y, y), 63), y), y)),
}
"""What opens something in the level in which a loop starts, and what the loop is given."""


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize("size", [9, 20000])
@pytest.mark.parametrize("name", BESIDE)
def test_openings_beside_a_loop(name, size, n, rng):
    """A loop exchanges openings of its own in the midst of a level; those of that level are not mixed up with them."""
    inner = Builder()
    w, c = inner.input(whole(size)), inner.input(whole(size))
    body = inner.finish(inner.add(inner.select(inner.negative(c), inner.mul(c, w)), w))

    def function(b, x, y):
        beside, given = BESIDE[name](b, x, y)
        return beside, *b.loop(body, 2, [given], [x], [])

    x, y = (rng.integers(-99, 100, size).astype(np.int64).view(np.uint64) for _ in range(2))
    check(plan_of(function, whole(size), whole(size)), [x, y], n)


def test_nested_loops_do_not_share_positions(rng):
    inner = Builder()
    c, x = inner.input(real(3)), inner.input(real(3))
    inner_body = inner.finish(inner.truncate(inner.mul(c, x)))
    outer = Builder()
    c, xs = outer.input(real(3)), outer.input(real(2, 3))
    outer_body = outer.finish(*outer.loop(inner_body, 2, [], [c], [xs]))

    def function(b, c, xs):
        return b.loop(outer_body, 3, [], [c], [xs])

    types = [real(3), real(3, 2, 3)]
    check(plan_of(function, *types), [reals(rng, 3, scale=1), reals(rng, 3, 2, 3, scale=1)], ulp=2000)


def test_public_values_are_computed_alike(rng):
    """Public inputs reach all readers, the dealer too; ops on them alone are computed in the clear."""

    def function(b, x, p, q):
        flag = b.negative(p)
        return b.mul(p, q), b.mul(b.truncate(b.mul(p, q)), x), b.select(flag, x), b.where(flag, x, q), flag

    types = [real(9), real(9, visibility=PUBLIC), real(9, visibility=PUBLIC)]
    check(plan_of(function, *types), [reals(rng, 9, scale=1) for _ in types])


def test_outputs_say_how_they_are_held(rng):
    plan = plan_of(
        lambda b, x, y: (x, b.truncate(b.mul(x, y)), b.add(x, y), b.real(1.0), b.negative(x)), real(3), real(3)
    )
    assert schedule(plan, 2).output_wires == ("masked", "shared", "masked", "public", "shared")
    assert NAMES[0] == "alice"


@pytest.mark.parametrize("n", PARTIES)
@pytest.mark.parametrize(("shape", "depth"), [((), 1), ((5,), 7), ((2, 3), 8), ((0,), 3), ((40,), 300)])
def test_onehot(n, shape, depth, rng):
    """No round; exact from -depth to 2 depth - 1, with zeros outside 0 .. depth - 1."""
    plan = plan_of(lambda b, x: b.one("onehot", x, depth=depth), whole(*shape))
    x = rng.integers(-depth, 2 * depth, shape).astype(np.int64).view(np.uint64)
    assert check(plan, [x], n).rounds == 0
