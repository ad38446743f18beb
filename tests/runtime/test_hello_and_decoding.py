"""The first messages, and every decoder of the runtime on bytes it should not trust."""

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpcrt
from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, ProtocolError, UsageError
from mpcrt.plan.types import Type
from mpcrt.runtime import agreement, commands, trees
from mpcrt.runtime.agreement import Extras, read_body
from mpcrt.runtime.commands import End, Publish, Report, Reveal, Run, Share

alice, bob = mpcrt.party("alice"), mpcrt.party("bob")


def nothing(session):
    return None


def test_versions_are_compared_by_release(world):
    world(nothing, versions={"alice": "0.1.0", "bob": "0.1.7", "dealer": "0.1.2"}).check()
    made = world(nothing, versions={"alice": "0.1.0", "bob": "0.2.0", "dealer": "0.1.0"})
    texts = [str(e) for e in made.failures.values() if isinstance(e, DisagreementError)]
    assert any("bob runs mpcrt 0.2.0, this process 0.1.0" in t for t in texts)


def test_other_cluster_files_are_refused_with_the_first_difference(world):
    from mpcrt.cluster import config as configs

    other = configs.local(2, tls="off", fraction_bits=20)
    made = world(nothing, clusters={"bob": other})
    texts = [str(e) for e in made.failures.values() if isinstance(e, DisagreementError)]
    assert texts and all("cluster file" in t and "devices.spu.fraction_bits" in t for t in texts)


def test_somebody_must_have_the_program(world):
    made = world(nothing, workers=("alice", "bob"))
    assert len(made.failures) == 3
    assert any(isinstance(e, UsageError) and "no party" in str(e) for e in made.failures.values())


def test_a_tampered_call_is_refused_by_the_dealer_and_named(world):
    """Bob's announcement of a plan is changed on its way to the dealer, who gets two versions of one call."""

    def tamper(peer, address, arrays):
        if peer == "dealer" and address.kind == 2 and address.call == 2:
            body = msgpack.unpackb(bytes(arrays[0]))
            body[2] = "something else"
            return [msgpack.packb(body), bytes(arrays[1])]
        return arrays

    def program(session):
        x = bob(lambda: np.ones(3, np.float32))()
        return mpcrt.spu("spu")(lambda v: v + 1)(x).to(bob)

    made = world(program, tamper={"bob": tamper})
    assert isinstance(made.failures["dealer"], DisagreementError) and "call 2" in str(made.failures["dealer"])
    assert all(isinstance(e, PeerFailed) and e.code == 4 for n, e in made.failures.items() if n != "dealer")


def test_a_plan_leaves_when_all_agree_and_another_than_the_agreed_one_is_refused(world):
    """By its hash, before it is decoded; what comes with a call unasked is refused as well."""

    def program(session):
        x = bob(lambda: np.ones(3, np.float32))()
        secure = mpcrt.spu("spu")(lambda v: v + 1)
        secure(x).to(bob)
        return secure(x).to(bob)

    def add(peer, address, arrays):
        return [*arrays, arrays[0]] if peer == "dealer" and address[:3] == (2, 2, 0) else arrays

    made = world(program, tamper={"bob": add})
    assert "bob sent a malformed call" in str(made.failures["dealer"])

    def change(peer, address, arrays):
        return [np.frombuffer(b"\xc1 not a plan", np.uint8)] if address[:3] == (2, 2, 2) else arrays

    made = world(program, tamper={"alice": change})
    assert "runs plan" in str(made.failures["dealer"]) and "alice sent another" in str(made.failures["dealer"])

    sent = []

    def see(peer, address, arrays):
        sent.append((peer, address[:3]))
        return arrays

    for parties, names in ((2, ("alice", "bob")), (3, ("alice", "bob", "carol"))):
        sent.clear()
        made = world(program, parties, tamper=dict.fromkeys(names, see)).check()
        plans = [i for i, (_, address) in enumerate(sent) if address[0] == 2 and address[2] == 2]
        assert [sent[i] for i in plans] == [("dealer", (2, 2, 2))], "once, of two calls"
        announced = [i for i, (peer, address) in enumerate(sent) if peer == "alice" and address == (2, 2, 0)]
        assert len(announced) == parties - 1 and max(announced) < plans[0]


def test_a_plan_that_parties_do_not_agree_on_never_leaves(world):
    sent = []

    def see(peer, address, arrays):
        sent.append((peer, address[:3]))
        return arrays

    def program(session):
        x = bob(lambda: np.ones(3, np.float32))()
        more = {"alice": 1.0}.get(session.me, 2.0)
        return mpcrt.spu("spu")(lambda v: v + more)(x).to(bob)

    for parties in (2, 3):
        made = world(program, parties, tamper=dict.fromkeys(("alice", "bob"), see))
        assert any(isinstance(e, DisagreementError) for e in made.failures.values())
        assert sent and not [peer for peer, address in sent if peer == "dealer" and address[0] == 2 and address[2]]


def wrong_steps(rows):
    rows[-1][2] = 1


def wrong_wires(rows):
    rows[-1][6] = rows[-1][5][:1]


@pytest.mark.parametrize(
    ("change", "says"), [(wrong_steps, "has step 1 after step"), (wrong_wires, "makes a wire that there is already")]
)
def test_all_parties_together_cannot_make_the_dealer_use_masks_twice(world, change, says):
    """The same changed call from everybody: step numbers only rise, and a wire is made once."""

    def tamper(peer, address, arrays):
        if peer == "dealer" and address.kind == 2 and not address.path:
            body = msgpack.unpackb(bytes(arrays[0]))
            if any(row[0] == "run" for row in body[3]):
                change(body[3])
                return [msgpack.packb(body), *arrays[1:]]
        return arrays

    def program(session):
        x = bob(lambda: np.ones(3, np.float32))()
        return mpcrt.spu("spu")(lambda v: v + 1)(x).to(bob)

    made = world(program, tamper={"alice": tamper, "bob": tamper})
    assert isinstance(made.failures["dealer"], ProtocolError) and says in str(made.failures["dealer"])


def test_what_is_queued_for_a_worker_is_bounded():
    """Commands, what travels beside them, and dropped wires: before anything is decoded."""
    for size, decode in ((commands.MAX_BODY, read_body), (agreement.MAX_EXTRAS, Extras.decode)):
        with pytest.raises(ProtocolError):
            decode(b"\x90" * (size + 1), "bob")
    many = [["spu", n] for n in range(agreement.MAX_RELEASED + 1)]
    with pytest.raises(ProtocolError):
        Extras.decode(commands.pack([[], many]), "bob")
    assert Extras.decode(commands.pack([[], many[1:]]), "bob").released


TYPES = [Type((2, 3), "ring", 18, "secret"), Type((), "bit", 0, "private(alice)"), Type((0,), "ring", 0, "public")]
COMMANDS = [
    Share("spu", 1, 2, "alice", TYPES[0]), Publish("spu", 3, 4, "bob", TYPES[2]),
    Run("spu", 5, "0" * 64, "1" * 64, (2, 4), (6,)),
    Reveal("spu", 7, 6, TYPES[1], "shared", ("alice", "bob")), Report(8), End(),
]  # fmt: skip


def test_commands_survive_encoding():
    rows = commands.unpack(commands.pack(commands.encode(COMMANDS)), "test")
    assert commands.decode(rows) == COMMANDS


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_decoders_refuse_what_is_malformed(data):
    junk = data.draw(PLAIN)
    raw = data.draw(st.one_of(st.binary(max_size=60), st.just(msgpack.packb(junk))))
    for decode in (trees.decode, lambda b: Extras.decode(b, "x"), lambda b: read_body(b, "x")):
        with contextlib.suppress(ProtocolError):
            decode(raw)
    rows = commands.encode(COMMANDS)
    row = data.draw(st.sampled_from(rows))
    at = data.draw(st.integers(0, len(row) - 1))
    changed = [*row[:at], junk, *row[at + 1 :]]
    for candidate in (junk, [junk], [changed]):
        try:
            made = commands.decode(candidate)
        except ProtocolError:
            continue
        assert isinstance(made, list)


@pytest.mark.parametrize("bad", [b"", b"\xc1", msgpack.packb([[0], []]), msgpack.packb([1, [[[], "float32"]]])])
def test_bad_trees_are_protocol_errors(bad):
    with pytest.raises(ProtocolError):
        trees.decode(bad)


def test_trees_keep_structure_and_name_their_leaves():
    tree = {"b": [1.0, None, (np.zeros(2), {})], "a": 3}
    structure, leaves = trees.flatten(tree)
    again = trees.unflatten(structure, leaves)
    assert again["b"][1] is None and again["a"] == 3 and list(again) == ["a", "b"]
    assert list(trees.paths(structure)) == ["['a']", "['b'][0]", "['b'][2][0]"]
    types = tuple(map(trees.leaf_type, leaves))
    assert trees.decode(trees.encode(structure, types)) == (structure, types)
    assert trees.describe(structure, types) == "{a: int64[], b: [float64[], None, (float64[2], {})]}"
    with pytest.raises(MpcrtError, match="string"):
        trees.flatten({1: 2})
