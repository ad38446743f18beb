"""Calls that fail before anything of them is shared: skipped everywhere, told to every main alike; the run goes on."""

import threading

import jax.numpy as jnp
import numpy as np
import pytest

import mpcrt
from mpcrt.errors import DisagreementError, InputError, PeerFailed, TraceError, UsageError, UserFunctionError

alice, bob, carol, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.party("carol"), mpcrt.spu("spu")
INPUT = 4
"""The kind of a masked input's message."""


@bob
def rows():
    return np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)


@alice
def broken():
    return np.array([1.0, np.nan, 2.0], np.float32)


def untraceable(x):
    return jnp.float32(1.0) if x.sum() > 0 else x


def double(x):
    return x * 2


def goes_on(session, caught):
    """What every party can still do; its result is right only if numbers, steps and wires are in step."""
    return caught, np.asarray(spu(double)(rows()).to(mpcrt.public))


def inputs_sent(made):
    return {name: e.link.statistics.total("sent", kind=INPUT).messages for name, e in made.engines.items()}


@pytest.mark.parametrize("workers", [(), ("carol",)])
def test_a_function_that_cannot_be_traced_is_caught_and_the_run_goes_on(world, workers):
    def program(session):
        x = rows()
        y = spu(untraceable)(x)
        with pytest.raises(TraceError, match=r"not known while a function is traced.*jnp\.where") as caught:
            y.block_until_ready()
        with pytest.raises(TraceError):
            y.to(bob)
        return goes_on(session, str(caught.value))

    made = world(program, 3 if workers else 2, workers=workers).check()
    assert len(made.results) == 2
    assert len({caught for caught, _ in made.results.values()}) == 1
    for _, shown in made.results.values():
        np.testing.assert_allclose(shown, rows.function() * 2, atol=2**-16)


@pytest.mark.parametrize("function", [lambda x, r: x[0] * r, lambda x, r: jnp.log(x)[0] * r])
def test_an_input_that_its_owner_refuses_is_caught_by_all_and_nothing_is_shared(world, function):
    """Masked as it is, and prepared by the owner first: bob shares nothing of the call either."""

    def program(session):
        y = spu(function)(broken(), rows())
        with pytest.raises(InputError) as caught:
            y.block_until_ready()
        with pytest.raises(InputError):
            y.to(bob)
        return goes_on(session, str(caught.value))

    made = world(program, outside=("carol",)).check()
    texts = {name: caught for name, (caught, _) in made.results.items()}
    assert "contains NaN" in texts["alice"] and "result of broken()" in texts["alice"]
    for other in ("bob", "carol"):
        assert texts[other].startswith("alice cannot give its input of <lambda>() (call ")
        assert "NaN" not in texts[other]
    assert inputs_sent(made) == {"alice": 0, "bob": 1, "carol": 0}, "bob's rows, in the call that goes on"
    for _, shown in made.results.values():
        np.testing.assert_allclose(shown, rows.function() * 2, atol=2**-16)


def test_a_refused_input_is_shared_by_the_next_call_that_can(world):
    """What a skipped call would have shared is not taken for shared; what `.to(spu)` refuses is skipped alike."""

    def program(session):
        x, bad = rows(), broken()
        with pytest.raises(InputError):
            spu(lambda a, b: a[0] * b)(bad, x).block_until_ready()
        with pytest.raises(InputError):
            bad.to(spu).block_until_ready()
        with pytest.raises(InputError):
            bad.to(spu).block_until_ready()
        return np.asarray(spu(double)(x).to(mpcrt.public))

    made = world(program).check()
    for shown in made.results.values():
        np.testing.assert_allclose(shown, rows.function() * 2, atol=2**-16)
    assert inputs_sent(made)["alice"] == 0


def test_calls_on_a_missing_result_are_skipped_and_the_error_is_told_once(world):
    def program(session):
        y = spu(untraceable)(rows())
        z = spu(double)(y).to(alice, bob)
        alice(print)(z)
        with pytest.raises(TraceError):
            np.asarray(rows().to(mpcrt.public))  # the first point at which main knows
        return np.asarray(rows().to(mpcrt.public)).shape

    assert world(program).check().results == {"alice": (4, 3), "bob": (4, 3)}


def test_main_is_told_at_the_same_call_by_every_party(world):
    """A party that runs ahead and one that waits in between get the error at the same of 40 calls."""

    def program(session):
        spu(untraceable)(rows())
        for n in range(40):
            try:
                alice(lambda: None)()
            except TraceError:
                return n
            if session.me == "bob":
                session._wait(lambda: session._outstanding == 0)
        return None

    told = world(program).check().results
    assert told["alice"] == told["bob"] == 15


def test_an_error_that_nobody_catches_ends_the_run_at_the_end_of_main(world):
    def program(session):
        spu(untraceable)(rows()).to(bob)

    made = world(program)
    assert set(made.failures) == {"alice", "bob", "dealer"}
    assert all(isinstance(made.failures[p], TraceError) for p in ("alice", "bob"))
    assert isinstance(made.failures["dealer"], PeerFailed) and "untraceable (call 2)" in str(made.failures["dealer"])

    def refused(session):
        bob(print)(spu(double)(broken()).to(bob))

    made = world(refused)
    assert isinstance(made.failures["alice"], InputError) and made.failures["alice"].exit_code == 1
    assert made.failures["bob"].exit_code == 3 and "alice" in str(made.failures["bob"])
    assert "alice failed in double (call 2)" in str(made.failures["dealer"])


def test_a_function_that_only_one_party_can_trace_is_a_disagreement(world):
    def program(session):
        function = untraceable if session.me == "bob" else double
        spu(lambda x: function(x))(rows()).block_until_ready()

    made = world(program)
    assert all(isinstance(made.failures[p], DisagreementError | PeerFailed) for p in ("alice", "bob"))
    assert any("fails with TraceError" in str(made.failures[p]) for p in ("alice", "bob"))
    assert inputs_sent(made) == {"alice": 0, "bob": 0}


def test_other_kinds_of_calls_that_cannot_be_made_are_skipped(world):
    def program(session):
        words = bob(lambda: {"name": "x"})()
        for attempt in (lambda: words["name"].to(alice), lambda: spu(double)(words["name"])):
            with pytest.raises(UsageError, match="no array"):
                attempt().block_until_ready()
        with pytest.raises(UserFunctionError, match=r"bob cannot give|preparing"):
            spu(lambda x: prepared(x) * 2)(bob(lambda: np.ones(3, np.float32))()).block_until_ready()
        return goes_on(session, "")

    import jax

    def fails(x):
        raise ValueError("of no concern to others")

    def prepared(x):
        return jax.pure_callback(fails, jax.ShapeDtypeStruct((3,), np.float32), x)

    made = world(program)
    if any("pure_callback" in str(e) for e in made.failures.values()):
        pytest.skip("callbacks are refused")
    for _, shown in made.check().results.values():
        np.testing.assert_allclose(shown, rows.function() * 2, atol=2**-16)


def test_an_argument_that_is_refused_spoils_no_call_beside_it(world):
    """Looking ahead, an engine meets the argument while another call is under way."""

    def program(session):
        product, x = spu(lambda x, y: x * y), rows().to(spu)
        np.asarray(product(x, x).to(mpcrt.public))
        free, errors = threading.Event(), []
        for party in (alice, bob):
            party(lambda: free.wait(20) and None)()
        made = [product(x, b) for b in (x, "text", x, object(), x, np.array(["2020"], "datetime64[Y]"), x)]
        free.set()
        for y in made:
            try:
                y.block_until_ready()
            except UsageError as error:
                errors.append(error)
        return len(errors), np.asarray(made[-1].to(mpcrt.public))

    for errors, shown in world(program).check().results.values():
        assert errors == 3
        np.testing.assert_allclose(shown, rows.function() ** 2, atol=2**-15)
