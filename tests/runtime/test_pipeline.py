"""Calls announced ahead of their turn, rounds of independent calls beside each other, runs dealt before their call."""

import random
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.cluster.config import Party
from mpcrt.errors import MpcrtError, ProtocolError
from mpcrt.runtime.commands import Ahead, Run, decode, encode
from mpcrt.runtime.executor import AHEAD_RUNS
from mpcrt.transport.link import Kind

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
UNIT = 2.0**-18
"""A value keeps 18 fraction bits: an input is off by half a unit, relu and sums add nothing to it."""


@alice
def ours(k):
    return np.array([k, -k, 0.5], np.float32)


@bob
def theirs(k):
    return np.array([0.25, k, -k], np.float32)


@spu
def relu(x, y):
    return jnp.maximum(x + y, 0)


@spu
def scaled(x, y):
    return x * 2 - y


@spu
def shrunk(x, y):
    return x * 0.5 * y


def plain(function, x, y):
    return np.asarray(function.function(x, y))


def pile_up(session, work, held=True):
    """What `work` asks for while alice's and bob's engines are held by a party function, so that it is all queued;
    here they are not unless `held`."""
    free = threading.Event()
    if not held:
        free.set()
    for party in (alice, bob):
        party(lambda: free.wait(20) and None)()
    made = work()
    free.set()
    return made


def pairs_of(count):
    return [(ours(k).to(spu), theirs(0.5 * k).to(spu)) for k in range(count)]


def warm(pairs):
    for function in (relu, scaled):
        np.asarray(function(*pairs[0]).to(mpcrt.public))


class Sends:
    """What a party sends, in order; each message a random moment late, where `jitter` is given."""

    def __init__(self, jitter=None):
        self.addresses, self._jitter = [], jitter

    def __call__(self, peer, address, buffers):
        self.addresses.append(address)
        if self._jitter is not None:
            time.sleep(self._jitter.random() * 2e-3)
        return buffers

    def of(self, kind, after=0):
        return [a.call for a in self.addresses if a.kind == kind and a.call > after]


@pytest.mark.parametrize("parties", [2, 3])
def test_what_is_asked_for_at_once_is_announced_at_once(world, parties):
    """Of five calls and their reveals all ten announcements leave before the first reveal, and so do all openings'
    first messages: the rounds travel together."""
    sends = {name: Sends() for name in ("alice", "bob", "carol")[:parties]}
    numbers = {}

    def program(session):
        pairs = pairs_of(5)
        warm(pairs)

        def work():
            numbers[session.me] = session.number
            return [relu(*pair).to(mpcrt.public) for pair in pairs]

        return [np.asarray(y) for y in pile_up(session, work)]

    made = world(program, parties, tamper=sends).check()
    for me, sent in sends.items():
        for k, y in enumerate(made.results[me]):
            np.testing.assert_allclose(y, plain(relu, ours.function(k), theirs.function(0.5 * k)), atol=2 * UNIT)
        addresses = sent.addresses
        begun = next(i for i, a in enumerate(addresses) if a.kind == Kind.STEP and a.call > numbers[me])
        revealed = next(i for i, a in enumerate(addresses) if i > begun and a.kind == Kind.REVEAL)
        before = addresses[begun:revealed]
        assert len({a.call for a in before if a.kind == Kind.STEP}) == 10
        assert len({a.call for a in before if a.kind == Kind.OPEN}) == 5


@pytest.mark.parametrize("parties", [2, 3])
def test_random_programs_give_what_they_give_call_by_call(world, parties):
    """Dependent and independent calls, inputs, party functions and reveals in random order, on links with jitter."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")

    def program(session):
        rng, values, shown = random.Random(seed), [], []
        for k in range(3):
            values.append((ours(k).to(spu), ours.function(k)))
            values.append((theirs(k), theirs.function(k)))
        for _ in range(40):
            choice = rng.random()
            if choice < 0.6:
                function = rng.choice([relu, scaled])
                (x, px), (y, py) = rng.choice(values), rng.choice(values)
                if np.abs(px).max(initial=0) + np.abs(py).max(initial=0) < 1000:
                    values.append((function(x, y), plain(function, px, py)))
            elif choice < 0.75:
                k = rng.randrange(9)
                values.append((ours(k), ours.function(k)))
            else:
                y, py = rng.choice(values)
                shown.append((y.to(mpcrt.public), py))
                if rng.random() < 0.3:
                    np.asarray(shown[-1][0])
        return [(np.asarray(y), py) for y, py in shown]

    names = ("alice", "bob", "carol", "dealer")
    tamper = {name: Sends(random.Random(f"{seed}{name}")) for name in names}
    made = world(program, parties, tamper=tamper).check()
    for rows in made.results.values():
        for y, wanted in rows:
            # each of up to 40 calls doubles what its operands are off by, which grows with the value
            np.testing.assert_allclose(y, wanted, atol=UNIT * 3 * (1 + np.abs(wanted).max()) * 64)


@pytest.mark.parametrize("reader", ["alice", "bob"])
@pytest.mark.parametrize("parties", [2, 3])
def test_nobody_waits_for_the_dealer_in_a_call_that_another_has_not_asked_for(world, parties, reader):
    """One party reads a result before it asks for more calls, the others ask for all at once. The dealer deals none of
    these before everybody has asked for it, and whoever waited for it there would leave the first call's rounds."""

    def program(session):
        pairs = pairs_of(5)
        warm(pairs)

        def work():
            shown = [relu(*pairs[0]).to(mpcrt.public)]
            if session.me == reader:
                np.asarray(shown[0])
            return shown + [relu(*pair).to(mpcrt.public) for pair in pairs[1:]]

        return [np.asarray(y) for y in pile_up(session, work, held=session.me != reader)]

    for rows in world(program, parties, idle=5.0).check().results.values():
        for k, y in enumerate(rows):
            np.testing.assert_allclose(y, plain(relu, ours.function(k), theirs.function(0.5 * k)), atol=2 * UNIT)


def test_a_run_that_goes_on_as_before_was_dealt_before_its_call(world):
    """The same inputs, or the results of the run before; anything else is dealt when it is called. Nothing that was
    dealt in vain stays behind, and no position masks two values: a link refuses a second message of one address."""
    sends = {"dealer": Sends()}

    def program(session):
        x, y = ours(1).to(spu), theirs(2).to(spu)
        shown = [np.asarray(relu(x, y).to(mpcrt.public)) for _ in range(4)]
        z = theirs(3).to(spu)
        shown.append(np.asarray(relu(x, z).to(mpcrt.public)))  # what was dealt for y is in vain
        carried = x
        for _ in range(6):
            carried = shrunk(carried, y)
            np.asarray(carried.to(mpcrt.public))
        return shown, np.asarray(carried.to(mpcrt.public))

    made = world(program, tamper=sends).check()
    wanted = ours.function(1)
    for _ in range(6):
        wanted = plain(shrunk, wanted, theirs.function(2))
    for me in ("alice", "bob"):
        shown, carried = made.results[me]
        for i, y in enumerate(shown):
            np.testing.assert_allclose(y, plain(relu, ours.function(1), theirs.function(3 if i == 4 else 2)), atol=UNIT)
        np.testing.assert_allclose(carried, wanted, atol=4 * UNIT)  # a unit a product, which |y| / 2 <= 1 does not grow
    ended = [a.call for a in sends["dealer"].addresses if a.kind == Kind.DEAL and a.path == 1]
    # runs 2 to 4 of relu foresee one each, the last in vain; shrunk has a plan for what is masked, then one for
    # shares, and of this one runs 2 to 5 foresee one each
    assert len(set(ended)) == 3 + 4, ended
    for engine in made.engines.values():
        assert not engine.devices._vain


@pytest.mark.parametrize("parties", [2, 3])
def test_calls_that_were_dealt_ahead_may_overtake_each_other(world, parties):
    """Of equal calls asked for at once a younger one may begin its rounds first; each uses what was dealt for it."""

    def program(session):
        x, y = ours(1).to(spu), theirs(2).to(spu)
        for _ in range(3):
            np.asarray(relu(x, y).to(mpcrt.public))
        made = pile_up(session, lambda: [relu(x, y) for _ in range(12)])
        return [np.asarray(y.to(mpcrt.public)) for y in made]

    for rows in world(program, parties).check().results.values():
        for y in rows:
            np.testing.assert_allclose(y, plain(relu, ours.function(1), theirs.function(2)), atol=2 * UNIT)


def test_functions_of_one_plan_share_what_was_dealt_ahead(world):
    """What was dealt for one function's next run is in vain once another function of the same plan has run."""
    other = spu(lambda x, y: jnp.maximum(x + y, 0))

    def program(session):
        x, y = ours(1).to(spu), theirs(2).to(spu)
        order = [relu] * 4 + [other] * 4 + [relu] * 3 + [other, relu] * 3
        return [np.asarray(function(x, y).to(mpcrt.public)) for function in order]

    for rows in world(program).check().results.values():
        for y in rows:
            np.testing.assert_allclose(y, plain(relu, ours.function(1), theirs.function(2)), atol=2 * UNIT)


def test_a_dealer_follows_what_another_deals_ahead(world):
    """Both read every call, and steps that another device's run foresees are used later by that device alone."""
    config = configs.local(2, tls="off")
    devices = {**config.devices, "two": config.devices["spu"].model_copy(update={"dealer": "second"})}
    config = config.replace(parties={**config.parties, "second": Party()}, devices=devices)
    two = mpcrt.spu("two")
    function = two(relu.function)

    def program(session):
        pairs = [(function, ours(1).to(two), theirs(2).to(two)), (relu, ours(1).to(spu), theirs(2).to(spu))]
        return [np.asarray(f(x, y).to(mpcrt.public)) for _ in range(4) for f, x, y in pairs]

    for rows in world(program, config=config).check().results.values():
        for y in rows:
            np.testing.assert_allclose(y, plain(relu, ours.function(1), theirs.function(2)), atol=2 * UNIT)


def test_few_runs_are_dealt_ahead_at_a_time(world):
    """Many functions, each run a few times and never again, do not fill the inboxes."""
    many = [spu(lambda x, y, k=k: jnp.maximum(x + y + k, 0)) for k in range(AHEAD_RUNS + 4)]

    def program(session):
        x, y = ours(1).to(spu), theirs(2).to(spu)
        shown = [np.asarray(f(x, y).to(mpcrt.public)) for f in many for _ in range(3)]
        return shown + [np.asarray(f(x, y).to(mpcrt.public)) for f in (many[0], many[-1])]

    made = world(program).check()
    for me, engine in made.engines.items():
        assert len(engine.devices._ahead) == AHEAD_RUNS and not engine.devices._vain
        for k, y in zip(
            [k for k in range(len(many)) for _ in range(3)] + [0, len(many) - 1], made.results[me], strict=True
        ):
            np.testing.assert_allclose(y, np.maximum(ours.function(1) + theirs.function(2) + k, 0), atol=2 * UNIT)


def test_commands_say_what_is_dealt_ahead():
    run = Run("spu", 5, "a" * 64, "b" * 64, (1, 2), (3,), False, Ahead(6, (1, 3)))
    assert decode(encode([run])) == [run]
    assert decode(encode([Run("spu", 5, "a" * 64, "b" * 64, (1,), (2,))]))[0].ahead is None
    row = encode([run])[0]
    for bad in (row[:-1], [*row[:-1], 7], [*row[:-2], -1, [1, 3]], [*row, 1], [*row[:-2], True, [1]]):
        with pytest.raises(ProtocolError):
            decode([bad])


@pytest.mark.parametrize("change", ["step", "count", "again"])
def test_a_process_without_the_program_checks_what_it_deals_ahead(world, change):
    """A step that was used before would use its masks twice."""
    from mpcrt.runtime import commands

    original = commands._row

    def changed(command):
        row = original(command)
        if isinstance(command, Run) and command.ahead is not None:
            if change == "step":
                row[-2] = command.step
            elif change == "count":
                row[-1] = [*row[-1], row[-1][0]]
            else:
                row[2] = 1
        return row

    def program(session):
        x, y = ours(1).to(spu), theirs(2).to(spu)
        for _ in range(4):
            np.asarray(relu(x, y).to(mpcrt.public))

    commands._row = changed
    try:
        made = world(program)
    finally:
        commands._row = original
    assert isinstance(made.failures["dealer"], ProtocolError), made.failures
    assert all(isinstance(made.failures[p], MpcrtError) for p in ("alice", "bob"))
