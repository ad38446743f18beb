"""DESIGN section 2's rules that keep parties in step, each on in-memory links in threads."""

import contextlib
import gc
import os
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.errors import DisagreementError, InputError, PeerFailed, TraceError, UsageError, UserFunctionError
from mpcrt.runtime.engine import failure_of

alice, bob, carol, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.party("carol"), mpcrt.spu("spu")
STEP = 2.0**-17
"""Two units in the last place. An input rounds to half a unit, a product is off by up to one more, times factors
below 2; a sum of three products stays within eight."""


@alice
def weights():
    return {"w": np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2), "b": np.array([0.5, -0.5], np.float32)}


@bob
def rows():
    return np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)


def layer(params, x):
    return jnp.maximum(x @ params["w"] + params["b"], 0)


def expected():
    return np.asarray(layer(weights.function(), rows.function()))


def test_both_spellings_at_two_and_three_parties(world):
    def program(session):
        seen = []
        short = spu(layer)(weights(), rows()).to(bob)
        secure_rows, secure_weights = bob(rows.function)().to(spu), alice(weights.function)().to(spu)
        long = spu(layer)(secure_weights, secure_rows).to(bob)
        bob(lambda *ys: seen.extend(ys))(short, long)
        session.finish()
        return seen

    for parties in (2, 3):
        made = world(program, parties).check()
        assert [len(made.results[p]) for p in ("alice", "bob")] == [0, 2]
        for y in made.results["bob"]:
            assert y.dtype == np.float32
            np.testing.assert_allclose(y, expected(), atol=8 * STEP)


def test_rule_1_main_sees_handles_only(world):
    def program(session):
        h, y = rows(), spu(layer)(weights(), rows())
        looks = [
            bool,
            float,
            int,
            len,
            iter,
            np.asarray,
            jnp.asarray,
            lambda v: v + 1,
            lambda v: v == 1,
            lambda v: 1 < v,
            lambda v: v.sum(),
        ]
        for handle in (h, y):
            for look in looks:
                with pytest.raises((UsageError, TypeError), match=r"\.to\("):
                    look(handle)
        assert h.shape == (4, 3) and h.dtype == np.float32
        assert y.shape == (4, 2) and weights()["w"].shape == (3, 2)
        with pytest.raises(UsageError, match="not one array"):
            _ = weights().shape
        return True

    made = world(program).check()
    assert made.results == {"alice": True, "bob": True}


def test_rule_1_public_values_are_known_to_all(world):
    def program(session):
        y = spu(lambda x: x.sum())(rows()).to(mpcrt.public)
        shown = rows().to(mpcrt.public)
        assert y.item() == float(y)
        return float(y), np.asarray(shown), y > 1, [r.shape for r in shown]

    made = world(program, 2, outside=("carol",)).check()
    assert len(made.results) == 3
    for total, shown, more, shapes in made.results.values():
        assert abs(total) < 16 * STEP and not more and shapes == [(3,)] * 4
        np.testing.assert_array_equal(shown, rows.function())


def test_rule_2_other_programs_end_at_the_first_call_that_differs(world):
    shared = []

    def one(session):
        x = rows()
        session.test_recorder = shared
        return spu(lambda v: v * 2)(x).to(bob)

    def other(session):
        return spu(lambda v: v * 3)(weights()["w"]).to(bob)

    made = world({"alice": one, "bob": other})
    assert {type(e) for e in made.failures.values()} <= {DisagreementError, PeerFailed}
    messages = [str(e) for e in made.failures.values() if isinstance(e, DisagreementError)]
    assert any("call 1" in m and "rows() on bob" in m and "weights() on alice" in m for m in messages)
    assert all(getattr(e, "code", 4) == 4 for e in made.failures.values())


def test_rule_2_plans_that_differ_by_a_constant_are_refused_before_anything_is_masked(world):
    def program(session):
        factor = 2.0 if session.me == "bob" else 2.0001
        return spu(lambda p, x: x @ p["w"] * factor)(weights(), rows()).to(bob)

    made = world(program)
    assert any("another plan" in str(e) and "test_rules.py" in str(e) for e in made.failures.values())
    told = [failure_of(e, "alice", "f", 2).reason for e in made.failures.values()]
    assert any(told) and not any(os.sep in reason for reason in told), "a reason has no local path"
    for engine in made.engines.values():
        assert engine.link.statistics.total("sent", kind=4).messages == 0


def test_rule_2_calls_from_threads_and_party_functions_raise(world):
    def program(session):
        caught = []

        def elsewhere():
            try:
                rows()
            except UsageError as error:
                caught.append(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert len(caught) == 1 and "thread" in caught[0]
        return alice(lambda: rows())()

    made = world(program)
    assert isinstance(made.failures["alice"], UsageError) and "placement function" in str(made.failures["alice"])


def test_rule_2_secure_functions_inline_in_secure_functions(world):
    inner = spu(lambda x: x * 2)

    def program(session):
        got = []
        y = spu(lambda x: inner(x) + 1)(rows()).to(bob)
        bob(got.append)(y)
        session.finish()
        return got

    (y,) = world(program).check().results["bob"]
    np.testing.assert_allclose(y, rows.function() * 2 + 1, atol=4 * STEP)


def test_rule_3_at_most_16_calls_are_outstanding(world):
    gate, high = threading.Event(), []

    def program(session):
        if session.me == "alice":
            threading.Timer(0.3, gate.set).start()
        for _ in range(40):
            alice(lambda: gate.wait(10) and None)()
            high.append(session._outstanding)
        return None

    world(program).check()
    assert max(high) == 16


def test_rule_4_values_move_only_by_to(world):
    def program(session):
        x, p = rows(), weights()
        with pytest.raises(UsageError, match=r"\.to\(alice\)"):
            alice(len)(x)
        with pytest.raises(UsageError, match=r"\.to\(bob\)"):
            bob(len)(spu(layer)(p, x))
        seen = []
        both = x.to(alice, bob)
        alice(seen.append)(both)
        bob(seen.append)(both)
        alice(seen.append)(spu(layer)(p, both).to(alice, bob))
        session.finish()
        return seen

    made = world(program, outside=("carol",)).check()
    assert [len(made.results[p]) for p in ("alice", "bob", "carol")] == [2, 1, 0]
    np.testing.assert_array_equal(made.results["alice"][0], rows.function())


def test_rule_5_a_failure_poisons_the_session_even_if_main_catches_it(world):
    def fails():
        raise ValueError("of no concern to others")

    def program(session):
        with contextlib.suppress(mpcrt.MpcrtError):
            _ = alice(fails)().shape
        with pytest.raises(mpcrt.MpcrtError):
            rows()

    made = world(program)
    assert isinstance(made.failures["alice"], UserFunctionError) and "ValueError" in str(made.failures["alice"])
    assert isinstance(made.failures["bob"], PeerFailed) and "alice failed in" in str(made.failures["bob"])
    assert "concern" not in "".join(map(str, made.failures.values()))
    assert isinstance(made.failures["dealer"], PeerFailed)


def test_rule_7_public_floats_come_from_one_party(world):
    """A public value that enters a secure function is encoded once, by the first computing party, and sent."""

    def program(session):
        scale = rows().to(mpcrt.public)
        got = []
        y = spu(lambda s, p, x: x @ p["w"] * jnp.exp(s[0, :2]))(scale, weights(), rows()).to(bob)
        bob(got.append)(y)
        session.finish()
        return got

    made = world(program).check()
    want = rows.function() @ weights.function()["w"] * np.exp(rows.function()[0, :2])
    np.testing.assert_allclose(made.results["bob"][0], want, atol=8 * STEP)
    sent = {name: e.link.statistics.total("sent", kind=8).messages for name, e in made.engines.items()}
    assert sent == {"alice": 2, "bob": 0}


def test_rule_8_trees_shapes_and_dtypes_are_plain_jaxs(world):
    tree = {
        "f": np.float32(1.5), "i": np.array([[1, -2], [3, 4]], np.int32), "flag": np.array([True, False]),
        "none": None, "deep": [(np.zeros((0, 3), np.float32), 2.5), {"k": np.arange(3, dtype=np.int8)}],
    }  # fmt: skip

    def function(t):
        return {"same": t, "more": (t["i"] * 2, t["f"] > 1, t["deep"][1]["k"] + 1)}

    def program(session):
        got = []
        bob(got.append)(spu(function)(alice(lambda: tree)()).to(bob))
        session.finish()
        return got

    (got,) = world(program).check().results["bob"]
    want = jax.tree.map(np.asarray, jax.jit(function)(tree))
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(np.asarray(g, np.float64), np.asarray(w, np.float64), atol=STEP)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"w": [np.ones(2), np.array([1.0, np.nan])]}, r"\['w'\]\[1\]: contains NaN"),
        ({"w": [np.ones(2), np.array([np.inf, 1.0])]}, r"\['w'\]\[1\]: contains infinity"),
        ({"w": [np.ones(2), np.array([1e30, 1.0])]}, r"\['w'\]\[1\]: magnitude"),
        ({"w": [np.ones(2), np.array([1 << 40, 1])]}, r"\['w'\]\[1\]: int64 values that int32 would cut"),
    ],
)
def test_rule_8_bad_inputs_are_refused_by_their_owner(world, value, message):
    def program(session):
        return spu(lambda p, x: p["w"][0] * p["w"][1] * x[0, 0])(alice(lambda: value)(), rows()).to(bob)

    made = world(program)
    assert isinstance(made.failures["alice"], InputError)
    with pytest.raises(InputError, match=message):
        raise made.failures["alice"]
    assert made.engines["alice"].link.statistics.total("sent", kind=4).messages == 0 or "w" in message


def test_rule_8_what_cannot_cross_is_refused(world):
    def keys(session):
        return alice(lambda: {1: np.ones(2), "a": 2})().shape

    def objects(session):
        return alice(lambda: {"w": object()})().to(bob)

    made = world(keys)
    assert isinstance(made.failures["alice"], UserFunctionError) and "cannot sort" in str(made.failures["alice"])
    made = world(objects)
    assert all(
        "no array" in str(made.failures[p]) or isinstance(made.failures[p], PeerFailed) for p in ("alice", "bob")
    )


def test_rule_9_large_closures_are_refused_unless_public(world):
    big = np.ones((200, 200), np.float32)

    def program(session):
        return spu(lambda x: x * big)(bob(lambda: np.ones((200, 200), np.float32))()).to(bob)

    made = world(program)
    assert isinstance(made.failures["alice"], TraceError | PeerFailed)
    assert any("mpcrt.public" in str(e) for e in made.failures.values())
    marked = mpcrt.public(big)

    def allowed(session):
        got = []
        bob(got.append)(spu(lambda x, p: (x @ p["w"][:2]) @ marked[:2])(rows.function_two(), weights()).to(bob))
        session.finish()
        return got

    rows.function_two = bob(lambda: np.ones((4, 2), np.float32))
    (y,) = world(allowed).check().results["bob"]
    assert y.shape == (4, 200)


BIG, SMALL = np.ones((4, 5000), np.float32), np.ones((4, 2100), np.float32)


@pytest.mark.parametrize(
    "given", [(BIG,), ({"w": [BIG]},), (SMALL, SMALL + 1), ([SMALL, (SMALL + 1, 2.0)],)],
    ids=["one", "nested", "two", "nested twice"],
)  # fmt: skip
def test_rule_9_large_arguments_that_nobody_owns_are_refused_unless_public(world, given):
    """Alone or together, at two and three parties: nothing leaves, the plan neither."""

    def function(x, *rest):
        return sum((jnp.sum(x[0, 0] * leaf) for leaf in jax.tree.leaves(rest)), jnp.zeros(()))

    def program(session):
        return spu(function)(rows(), *given).to(bob)

    for parties in (2, 3):
        made = world(program, parties)
        errors = [e for e in made.failures.values() if not isinstance(e, PeerFailed)]
        assert errors and all(isinstance(e, TraceError) for e in errors), made.failures
        assert all("mpcrt.public" in str(e) and "function() has arguments of" in str(e) for e in errors)

    def allowed(session):
        got = []
        marked = jax.tree.map(lambda a: mpcrt.public(a) if np.ndim(a) else a, given)
        bob(got.append)(spu(function)(rows(), *marked).to(bob))
        session.finish()
        return got

    (y,) = world(allowed).check().results["bob"]
    want = function(rows.function(), *given)
    assert abs(float(y) - float(want)) <= sum(np.size(leaf) for leaf in jax.tree.leaves(given)) * STEP


def test_rule_9_many_numbers_are_an_array_too(world):
    numbers = [float(n) for n in range(9000)]

    def function(x, w):
        return x[0, 0] * jnp.sum(jnp.asarray(w))

    made = world(lambda session: spu(function)(rows(), numbers).to(bob))
    assert any("function() has arguments of 72000 bytes" in str(e) for e in made.failures.values())
    world(lambda session: spu(function)(rows(), mpcrt.public(numbers)).to(bob)).check()


def test_rule_11_dropped_handles_are_released_with_a_later_call(world):
    def program(session):
        for _ in range(5):
            y = spu(layer)(weights(), rows()).to(bob)
            del y
        gc.collect()
        rows()
        rows().to(mpcrt.public)
        session.finish()

    made = world(program).check()
    for engine in made.engines.values():
        assert engine.devices.held <= 8


def test_weights_are_shared_once_for_all_calls(world):
    def program(session):
        p = weights()
        for _ in range(4):
            y = spu(layer)(p, rows())
        return y.shape

    made = world(program).check()
    sent = made.engines["alice"].link.statistics.total("sent", peer="bob", kind=4)
    assert sent.messages == 2
    assert made.engines["bob"].link.statistics.total("sent", peer="alice", kind=4).messages == 4


def test_a_party_that_does_not_compute_provides_and_receives(world):
    def program(session):
        got = []
        x = carol(rows.function)()
        carol(got.append)(spu(layer)(weights(), x).to(carol))
        session.finish()
        return got

    made = world(program, outside=("carol",)).check()
    np.testing.assert_allclose(made.results["carol"][0], expected(), atol=8 * STEP)


def test_a_value_may_be_used_on_two_devices(world):
    """What was shared with one device is shared anew with another."""
    two = mpcrt.spu("two")
    config = configs.local(2, tls="off")
    devices = {**config.devices, "two": config.devices["spu"]}
    both = config.replace(devices=devices)

    def program(session):
        x, y = rows(), weights()["w"]
        first = spu(lambda x, w: x @ w)(x, y).to(mpcrt.public)
        second = two(lambda x, w: x @ w)(x, y).to(mpcrt.public)
        return np.asarray(first), np.asarray(second)

    made = world(program, clusters=dict.fromkeys(config.names, both)).check()
    product = rows.function() @ weights.function()["w"]
    for y in made.results["alice"]:
        np.testing.assert_allclose(y, product, atol=8 * STEP)
