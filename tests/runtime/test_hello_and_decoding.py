"""The first messages, and every decoder of the runtime on bytes it should not trust."""

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, ProtocolError, UsageError
from mpcrt.plan.types import Type
from mpcrt.runtime import agreement, commands, counters, trees
from mpcrt.runtime.agreement import Extras, read_body
from mpcrt.runtime.commands import End, Publish, Report, Reveal, Run, Share
from mpcrt.runtime.executor import receive_public
from mpcrt.runtime.hello import greet
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.memory import MemoryNetwork

alice, bob = mpcrt.party("alice"), mpcrt.party("bob")


def nothing(session):
    return None


def test_versions_are_compared_by_release(world):
    world(nothing, versions={"alice": "0.1.0", "bob": "0.1.7", "dealer": "0.1.2"}).check()
    made = world(nothing, versions={"alice": "0.1.0", "bob": "0.2.0", "dealer": "0.1.0"})
    texts = [str(e) for e in made.failures.values() if isinstance(e, DisagreementError)]
    assert any("bob runs mpcrt 0.2.0, this process 0.1.0" in t for t in texts)


def test_other_cluster_files_are_refused_with_the_first_difference(world):
    other = configs.local(2, tls="off", fraction_bits=20)
    made = world(nothing, clusters={"bob": other})
    texts = [str(e) for e in made.failures.values() if isinstance(e, DisagreementError)]
    assert texts and all("cluster file" in t and "devices.spu.fraction_bits" in t for t in texts)


def test_a_dealer_that_says_it_has_the_program_is_refused(world):
    """Whoever has the program has a say in what is run and can be sent values, which no dealer may."""

    def tamper(peer, address, arrays):
        if address.kind == 1:
            fields = msgpack.unpackb(bytes(arrays[0]))
            assert fields[3] is False
            fields[3] = True
            return [msgpack.packb(fields)]
        return arrays

    made = world(nothing, tamper={"dealer": tamper})
    refusals = [f for f in made.failures.values() if "dealer is a dealer and says that it has the program" in str(f)]
    assert refusals and all(isinstance(refusal, DisagreementError) for refusal in refusals)


def test_a_dealer_is_given_no_program():
    network = MemoryNetwork(("alice", "bob", "dealer"), idle=1)
    with pytest.raises(UsageError, match="dealer is a dealer, which takes no program"):
        greet(network["dealer"], configs.local(2, tls="off"), has_program=True, version="1.0")
    assert network["dealer"].statistics.total("sent").messages == 0


@pytest.mark.parametrize(
    ("place", "value", "kind", "words"),
    [
        (None, [], ProtocolError, "bob sent a malformed hello"),
        (None, {}, ProtocolError, "bob sent a malformed hello"),
        (None, [1], ProtocolError, "bob sent a malformed hello"),
        (0, "1", ProtocolError, "bob sent a malformed hello"),
        (0, True, ProtocolError, "bob sent a malformed hello"),
        (0, 2, DisagreementError, "bob speaks protocol version 2, this process 1"),
        (1, 3, ProtocolError, "bob sent a malformed hello"),
        (2, [], ProtocolError, "bob sent a malformed hello"),
        (3, 1, ProtocolError, "bob sent a malformed hello"),
        (4, "x" * 32, ProtocolError, "bob sent a malformed hello"),
        (4, b"x" * 31, ProtocolError, "bob sent a malformed hello"),
        (5, b"x" * 33, ProtocolError, "bob sent a malformed hello"),
    ],
)
def test_each_field_of_a_hello_is_checked(world, place, value, kind, words):
    def tamper(peer, address, arrays):
        if address.kind != 1:
            return arrays
        fields = msgpack.unpackb(bytes(arrays[0]))
        changed = value if place is None else [value if i == place else field for i, field in enumerate(fields)]
        return [msgpack.packb(changed)]

    made = world(nothing, tamper={"bob": tamper})
    failures = made.failures.values()  # who finds it first tells the others
    assert any(type(failure) is kind and words in str(failure) for failure in failures), failures


def test_a_large_hello_is_refused_unread(world):
    def tamper(peer, address, arrays):
        return [np.concatenate([arrays[0], np.zeros(1 << 20, np.uint8)])] if address.kind == 1 else arrays

    made = world(nothing, tamper={"bob": tamper})
    texts = [str(failure) for failure in made.failures.values()]
    assert any("bytes for HELLO" in text and "at most 1048576" in text for text in texts), texts


def test_what_a_hello_says_is_shown_plain(world):
    text = "9\x1b[31m[/red]\u202e\nmpcrt: alice: done" + "x" * 10_000

    def tamper(peer, address, arrays):
        if address.kind != 1:
            return arrays
        fields = msgpack.unpackb(bytes(arrays[0]))
        fields[1 if peer == "alice" else 2] = text if peer == "alice" else fields[2] | {text: text, "name": text}
        return [msgpack.packb(fields)]

    made = world(nothing, tamper={"bob": tamper})
    shown = [str(failure) for failure in made.failures.values()]
    assert all(text.isprintable() and len(text) < 500 for text in shown), shown
    assert any("9[/red] mpcrt: alice: done" in text or "first difference" in text for text in shown), shown


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


def change_of(name, at, value):
    """Puts `value` in place `at` of the commands `name`; a function gets the row."""

    def change(rows):
        for row in rows:
            if row[0] == name:
                row[at] = value(row) if callable(value) else value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (wrong_steps, "has step 1 after step"),
        (wrong_wires, "makes a wire that there is already"),
        (change_of("run", 6, lambda row: row[6] * 2), "makes a wire that there is already"),
        (change_of("run", 1, "gpu"), "names a device 'gpu'"),
        (change_of("share", 4, "nobody"), "wants an input of 'nobody'"),
        (change_of("share", 4, "dealer"), "wants an input of 'dealer'"),
        (change_of("share", 5, lambda row: [[1 << 20, 1 << 19], *row[5][1:]]), "values; too many"),
        (change_of("run", 4, "0" * 64), "to other steps than the parties with the program"),
        (change_of("run", 5, lambda row: row[5] * 2), "with the wrong number of wires"),
        (change_of("run", 6, lambda row: [*row[6], 77]), "with the wrong number of wires"),
        (change_of("reveal", 6, ["nobody"]), "names unknown receivers"),
    ],
)
def test_all_parties_together_cannot_mislead_the_dealer(world, change, says):
    """The same changed call from everybody: step numbers only rise, a wire is made once, and names and sizes fit."""

    def tamper(peer, address, arrays):
        if peer == "dealer" and address.kind == 2 and not address.path:
            body = msgpack.unpackb(bytes(arrays[0]))
            before = msgpack.packb(body)
            if any(row[0] in ("run", "reveal") for row in body[3]):
                change(body[3])
            if msgpack.packb(body) != before:
                return [msgpack.packb(body), *arrays[1:]]
        return arrays

    def program(session):
        x = bob(lambda: np.ones(3, np.float32))()
        return mpcrt.spu("spu")(lambda v: v + 1)(x).to(bob)

    made = world(program, tamper={"alice": tamper, "bob": tamper})
    kind = DisagreementError if "other steps" in says else ProtocolError
    assert isinstance(made.failures["dealer"], kind) and says in str(made.failures["dealer"]), made.failures


def test_what_is_queued_for_a_worker_is_bounded():
    """Commands, what travels beside them, and dropped wires: before anything is decoded."""
    body = [1, b"d", "f" * commands.MAX_BODY, [], []]
    beside = [[], [["s" * (agreement.MAX_EXTRAS // agreement.MAX_RELEASED), 1]] * agreement.MAX_RELEASED, ""]
    for large, decode in ((body, read_body), (beside, Extras.decode)):
        with pytest.raises(ProtocolError):  # though nothing else is wrong with it
            decode(commands.pack(large), "bob")
    many = [["spu", n] for n in range(agreement.MAX_RELEASED + 1)]
    with pytest.raises(ProtocolError):
        Extras.decode(commands.pack([[], many, ""]), "bob")
    assert Extras.decode(commands.pack([[], many[1:], ""]), "bob").released
    for refused in ("PolicyError", 7, []):
        with pytest.raises(ProtocolError):
            Extras.decode(commands.pack([[], [], refused]), "bob")


TYPES = [Type((2, 3), "ring", 18, "secret"), Type((), "bit", 0, "private(alice)"), Type((0,), "ring", 0, "public")]
COMMANDS = [
    Share("spu", 1, 2, "alice", TYPES[0]), Publish("spu", 3, 4, "bob", TYPES[2]),
    commands.Fail("TraceError", "call 3"), Run("spu", 5, "0" * 64, "1" * 64, (2, 4), (6,)),
    Reveal("spu", 7, 6, TYPES[1], "shared", ("alice", "bob")), Report(8), End(),
]  # fmt: skip


def test_commands_survive_encoding():
    rows = commands.unpack(commands.pack(commands.encode(COMMANDS)), "test")
    assert commands.decode(rows) == COMMANDS


SHARE, RUN, REVEAL = (commands.encode([COMMANDS[i]])[0] for i in (0, 3, 4))


@pytest.mark.parametrize(
    "rows",
    [
        None, {}, "share", 7, [7], [[]], [["halt"]], [["end", 1]], [["report"]], [["report", "1"]], [["report", True]],
        [["report", -1]], [["report", 1 << 32]], [SHARE[:-1]], [[*SHARE, 1]], [[*RUN, 1]], [RUN[:-1]],
        *([[*row[:at], value, *row[at + 1 :]]]
          for row, at, values in (
              (SHARE, 1, ("", "x" * 201, 1, None)), (SHARE, 2, (-1, 1.0)), (SHARE, 3, ("2", 1 << 32)),
              (SHARE, 4, ("", b"alice")),
              (SHARE, 5, ([], [[2], "ring", 18], [(), "ring", 64, "secret"], [[-1], "ring", 0, "secret"],
                          [[1 << 40], "ring", 0, "secret"], [[1.0], "ring", 0, "secret"], [{2: 2}, "ring", 0, "secret"],
                          [[1] * 65, "ring", 0, "secret"], [[2], "float", 0, "secret"], [[2], "ring", -1, "secret"],
                          [[2], "ring", 0, ""], [[2], "ring", 0, 3], [[2], "ring", True, "secret"])),
              (RUN, 3, ("0" * 63, 0, b"0" * 64, None)), (RUN, 4, ("0" * 65, 0, b"0" * 64)),
              (RUN, 5, ({}, "12", [-1], ["1"], None)), (RUN, 6, ({}, [True], [1 << 32])), (RUN, 7, (1, None, "")),
              (REVEAL, 6, ([], {"alice": 1}, "alice", [""], [1], ["a"] * 1001)), (REVEAL, 5, ("", 1)),
          ) for value in values),
    ],
)  # fmt: skip
def test_a_malformed_command_is_refused(rows):
    with pytest.raises(ProtocolError, match="malformed command"):
        commands.decode(rows)


def test_so_many_commands_are_refused(monkeypatch):
    monkeypatch.setattr(commands, "MAX_COMMANDS", 3)
    assert len(commands.decode([["end"]] * 3)) == 3
    with pytest.raises(ProtocolError, match="malformed command"):
        commands.decode([["end"]] * 4)
    with pytest.raises(ProtocolError, match="malformed command"):
        commands.decode([[*RUN[:5], [1, 2, 3, 4], *RUN[6:]]])


@pytest.mark.parametrize(
    "row", [None, {}, [], [0] * 5, [0] * 7, [-1, *[0] * 5], ["0", *[0] * 5], [True, *[0] * 5], [1 << 62, *[0] * 5],
            [float("nan"), *[0] * 5], {0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0}],
)  # fmt: skip
def test_a_malformed_report_is_refused(row):
    assert counters._report([1, 2, 3, 4.0, 5.0, 6.0], "bob").party_bytes == 2
    with pytest.raises(ProtocolError, match="bob sent a malformed report"):
        counters._report(row, "bob")


@pytest.mark.parametrize(
    "fields", [None, {}, "fives", [1, b"", "f", []], [1, b"", "f", [], [], 6], ["1", b"", "f", [], []],
               [True, b"", "f", [], []], [1, "", "f", [], []], [1, b"", 3, [], []], [1, b"", "f", {}, []],
               [1, b"", "f", [[]], []], [1, b"", "f", ["run"], []], [1, b"", "f", [], {}], [1, b"", "f", [], 5],
               [1, b"", "f", [], [["a", b"1" * 15]]], [1, b"", "f", [], [["a" * 201, b"1" * 16]]],
               [1, b"", "f", [], [["a", "1" * 16]]], [1, b"", "f", [], [[b"a", b"1" * 16]]],
               [1, b"", "f", [], [["a"]]], [1, b"", "f", [], [["a", b"1" * 16]] * 4097]],
)  # fmt: skip
def test_a_malformed_call_is_refused(fields):
    good = [1, b"d", "f()", [["end"]], [["what", b"1" * 16]]]
    assert read_body(commands.pack(good), "bob") == tuple(good)
    with pytest.raises(ProtocolError, match="bob sent a malformed call"):
        read_body(commands.pack(fields), "bob")


@pytest.mark.parametrize(
    "extras", [None, [], [[], []], [[], [], "", ""], [[1] * 17, [], ""], [[-1], [], ""], [[1.0], [], ""],
               [[True], [], ""], [[1 << 63], [], ""], [["1"], [], ""], [[], [["spu"]], ""], [[], [["spu", 1, 2]], ""],
               [[], [[3, 1]], ""], [[], [["spu", "1"]], ""], [[], [["spu", True]], ""], [[], 3, ""],
               [[], [], "PeerLost"], [[], [], None], [[], [], ["InputError"]], [[], [], b"InputError"]],
)  # fmt: skip
def test_malformed_extras_are_refused(extras):
    good = Extras.decode(commands.pack([[1] * 16, [["spu", 4]], "InputError"]), "bob")
    assert (good.released, good.refused) == ([("spu", 4)], "InputError")
    with pytest.raises(ProtocolError, match="bob sent a malformed call"):
        Extras.decode(commands.pack(extras), "bob")


LEAF = [[2], "float32", ""]


@pytest.mark.parametrize(
    "described",
    [
        None, [0], [0, [LEAF], 1], [0, []], [0, [LEAF, LEAF]], [1, [LEAF]], ["l", [LEAF]], [[], []], [["x", 0], [LEAF]],
        [{"l": 0}, [LEAF]], [True, [LEAF]],
        [["d", ["b", "a"], 0, 1], [LEAF] * 2], [["d", ["a", "a"], 0, 1], [LEAF] * 2],
        [["d", ["a"], 0, 1], [LEAF] * 2], [["d", [1.5], 0], [LEAF]], [["d", "a", 0], [LEAF]], [["l", 1, 0], [LEAF] * 2],
        [0, [[[2], "float128", ""]]], [0, [[[2], 32, ""]]], [0, [[2, "float32", ""]]], [0, [[{"2": 2}, "float32", ""]]],
        [0, [[[1] * 33, "float32", ""]]], [0, [[[-1], "float32", ""]]], [0, [[[1 << 40], "float32", ""]]],
        [0, [[[1.0], "float32", ""]]], [0, [[[True], "float32", ""]]],
        [0, [[[2], "float32"]]], [0, [[[2], "float32", "str"]]], [0, [[[2], "float32", 1]]],
        [0, [[[], "object", "a b"]]], [0, [[[], "object", 3]]],
        [["r", "a b", ["x"], 0], [LEAF]], [["r", 1, ["x"], 0], [LEAF]], [["r", "m:C", ["x", "x"], 0, 1], [LEAF] * 2],
        [["r", "m:C"], []], [["r"], []], [["r", "m:C", ["x"], 0, 1], [LEAF] * 2],
    ],
)  # fmt: skip
def test_a_malformed_description_of_a_value_is_refused(described):
    assert trees.decode(commands.pack([["d", ["a", "b"], 0, ["l", None, 1]], [LEAF, [[], "object", "C"]]]))
    with pytest.raises(ProtocolError, match=r"of a (value|leaf)"):
        trees.decode(commands.pack(described))


def test_so_many_leaves_are_refused(monkeypatch):
    monkeypatch.setattr(trees, "MAX_LEAVES", 3)
    assert len(trees.decode(commands.pack([["l", 0, 1, 2], [LEAF] * 3]))[1]) == 3
    with pytest.raises(ProtocolError, match="leaves do not fit"):
        trees.decode(commands.pack([["l", 0, 1, 2, 3], [LEAF] * 4]))


@pytest.mark.parametrize("depth", [trees.MAX_DEPTH, trees.MAX_DEPTH + 5, 900])
def test_a_value_is_nested_so_deep_and_no_deeper(depth):
    value, structure = 1.0, 0
    for _ in range(depth):
        value, structure = [value], ["l", structure]
    described = trees.encode(structure, [trees.LeafType((), "float32")])
    if depth == trees.MAX_DEPTH:
        assert trees.flatten(value)[0] == trees.decode(described)[0] == structure
        return
    with pytest.raises(UsageError, match="nested deeper than 64 cannot"):
        trees.flatten(value)
    with pytest.raises(ProtocolError, match="nested too deep"):
        trees.decode(described)


def test_a_public_value_of_another_type_is_refused():
    links = MemoryNetwork(("alice", "bob"), idle=5)
    for number, words in enumerate((np.zeros(7, np.uint64), np.zeros(6, np.int64), np.zeros(5, np.uint64))):
        links["alice"].send("bob", Address(Kind.PUBLISH, number), words)
        says = "at most 48 are allowed" if words.nbytes > 48 else "values of"
        with pytest.raises(ProtocolError, match=f"alice sent .* {says}"):
            receive_public(links["bob"], "alice", Address(Kind.PUBLISH, number), TYPES[0])


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
    with pytest.raises(MpcrtError, match="cannot sort"):
        trees.flatten({1: 2, "a": 3})
