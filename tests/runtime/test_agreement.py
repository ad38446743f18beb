"""What parties compare of a call beside its plan, and of the program before the first call."""

import argparse
import array
import collections
import dataclasses
import enum
import fractions
import functools
import hashlib
import os
import pathlib
import subprocess
import sys
import types
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

import mpcrt
from mpcrt.errors import DisagreementError, PeerFailed
from mpcrt.runtime import programs
from mpcrt.runtime.digests import digest
from mpcrt.transport.link import Kind

alice, bob, carol, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.party("carol"), mpcrt.spu("spu")


@bob
def rows():
    return np.arange(6, dtype=np.float32)


def scaled(x, c):
    return x * c


def prepared(x, c):
    return jnp.exp(x * c)


def public_floats(x, c):
    return x * jnp.exp(c)


def by_static(x, flag):
    assert flag
    return x * 2.0


def at(name, mine, others):
    """What only one party has otherwise."""
    return lambda session: others if session.me == name else mine


Choice = enum.Enum("Choice", "ONE TWO")
CASES = {
    "an array of the plan": (scaled, np.float32([1, 2, 3, 4, 5, 6]), np.float32([1, 2, 3, 4, 5, 7]), (), "argument 2"),
    "a number in what bob prepares": (prepared, 0.5, 0.25, (), "argument 2"),
    "a public float": (public_floats, np.float32(0), np.float32(1), (), "argument 2"),
    "a static one that the plan does not show": (by_static, "two", "2", (1,), "static argument 2"),
    "a static choice": (by_static, Choice.ONE, Choice.TWO, (1,), "static argument 2"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("parties", [2, 3])
def test_arguments_of_secure_functions_are_compared_before_anything_is_shared(world, case, parties):
    function, mine, others, static, says = CASES[case]

    def program(session):
        given = at("alice", mine, others)(session)
        return spu(function, static_argnums=static)(rows(), given).to(bob)

    made = world(program, parties)
    assert set(made.failures) == {*("alice", "bob", "carol")[:parties], "dealer"}
    assert all(isinstance(e, DisagreementError) or e.code == 4 for e in made.failures.values())
    assert any(f"call 2, {function.__name__}(#1, " in str(e) and says in str(e) for e in made.failures.values())
    for engine in made.engines.values():
        for kind in (Kind.INPUT, Kind.PUBLISH, Kind.OPEN):
            assert engine.link.statistics.total("sent", kind=kind).messages == 0


def test_what_is_prepared_is_compared_though_the_plan_is_the_same(world):
    """Two functions of one name and one plan, of which bob's half differs."""

    def program(session):
        factor = np.float32(0.5 if session.me == "alice" else 0.25)
        w = alice(lambda: np.ones(6, np.float32))()
        return spu(lambda x, w: jnp.exp(x * factor) * w)(rows(), w).to(bob)

    made = world(program)
    assert any("what bob computes beforehand" in str(e) for e in made.failures.values())
    assert made.engines["bob"].link.statistics.total("sent", kind=Kind.INPUT).messages == 0


def test_published_floats_are_compared_by_what_they_are_made_of(world):
    """Not by their value, in whose last bits processors differ."""

    def program(session):
        factor = np.float32(0.5 if session.me == "alice" else 0.25)
        scale = rows().to(mpcrt.public)
        w = alice(lambda: np.ones(6, np.float32))()
        return spu(lambda s, x, w: (x + w) * jnp.exp(s * factor))(scale, rows(), w).to(bob)

    made = world(program)
    assert any("is computed in public" in str(e) for e in made.failures.values()), "\n".join(
        map(str, made.failures.values())
    )
    for engine in made.engines.values():
        assert engine.link.statistics.total("sent", kind=Kind.PUBLISH).messages == 0


@pytest.mark.parametrize("kind", ["a function", "a partial", "a closure"])
def test_functions_that_jax_calls_back_are_compared(world, kind):
    """By their source and what they close over; their names may be the same."""
    given = {
        "a function": (lambda v: v * 2, lambda v: v * 3),
        "a partial": (functools.partial(np.multiply, 2), functools.partial(np.multiply, 3)),
        "a closure": tuple([(lambda v, n=n: v * n) for n in (2, 3)]),
    }
    first, second = given[kind]
    if kind == "a function":
        second = lambda v: v * 3  # noqa: E731

    def program(session):
        call = at("alice", first, second)(session)
        w = alice(lambda: np.ones(6, np.float32))()
        shape = jax.ShapeDtypeStruct((6,), np.float32)
        return spu(lambda x, w: w * jax.pure_callback(call, shape, x))(rows(), w).to(bob)

    made = world(program)
    assert any("what bob computes beforehand" in str(e) for e in made.failures.values()), made.failures
    assert made.engines["bob"].link.statistics.total("sent", kind=Kind.INPUT).messages == 0


def test_what_a_secure_function_gives_is_compared(world):
    """The names in it are in no plan."""

    def program(session):
        name = at("alice", "mean", "sum")(session)
        w = alice(lambda: np.ones(6, np.float32))()
        return spu(lambda x, w: {name: x * w})(rows(), w).to(bob)

    made = world(program)
    assert any("what it gives differs" in str(e) for e in made.failures.values()), made.failures


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        (2, 3), (2, 2.0), ("a", "b"), (np.zeros(3), np.ones(3)), ({"k": [1, (2,)]}, {"k": [1, (3,)]}),
        (jnp.zeros(2), jnp.zeros(2, int)), (Choice.ONE, Choice.TWO), (None, 0),
    ],
)  # fmt: skip
def test_plain_arguments_of_party_functions_are_compared(world, mine, others):
    def program(session):
        given = at("alice", mine, others)(session)
        bob(lambda x, n: None)(rows(), given)
        bob(lambda x, n=0: None)(rows(), n=mine)
        return spu(scaled)(rows(), 2.0).to(bob)

    made = world(program)
    shown = [getattr(v, "dtype", type(v)) for v in (mine, others)]
    says = "argument 2 is another here" if shown[0] == shown[1] else "call 2 is "
    assert any("call 2" in str(e) and says in str(e) for e in made.failures.values())
    assert all(isinstance(e, DisagreementError | PeerFailed) for e in made.failures.values())


def test_a_reveal_that_one_party_adds_opens_nothing(world):
    """It is found at its own call; the calls before have run."""

    def program(session):
        y = spu(scaled)(rows(), alice(lambda: np.ones(6, np.float32))())
        if session.me == "bob":
            bob(print)(y.to(bob))
        spu(scaled)(y, 2.0)

    for parties in (2, 3):
        made = world(program, parties)
        assert set(made.failures) == {*("alice", "bob", "carol")[:parties], "dealer"}
        assert any("call 4 is scaled" in str(e) and "#3.to(bob)" in str(e) for e in made.failures.values())
        assert {e.link.statistics.total("sent", kind=Kind.REVEAL).messages for e in made.engines.values()} == {0}


def test_the_values_behind_an_argument_are_compared(world):
    """Handles inside a dataclass too."""

    @functools.partial(jax.tree_util.register_dataclass, data_fields=["x"], meta_fields=[])
    @dataclasses.dataclass
    class Box:
        x: object

    def program(session):
        first, second = rows(), rows()
        return spu(lambda b: b.x * 2)(Box(first if session.me == "alice" else second)).to(bob)

    made = world(program)
    assert all(isinstance(made.failures[p], DisagreementError) for p in ("alice", "bob")), made.failures


def test_what_main_changes_after_a_call_is_no_difference(world):
    """Calls run later than main asks for them, each with what it was given then."""

    def program(session):
        got, rate, listed = [], np.ones(3, np.float32), [1]
        x = bob(lambda: np.ones(3, np.float32))()
        for _ in range(6):
            bob(lambda y, seen: got.append(y))(spu(lambda v, r: v * r)(x, rate).to(bob), listed)
            rate *= 2
            listed.append(2)
        session.finish()
        return [float(y[0]) for y in got]

    for parties in (2, 3):
        made = world(program, parties).check()
        np.testing.assert_allclose(made.results["bob"], [1, 2, 4, 8, 16, 32], atol=2**-16)


def test_what_is_compared_tells_the_dealer_nothing(world):
    """Digests are hashed with a salt that it does not know: two runs of one program show it others."""

    def program(session):
        bob(lambda x, n: None)(rows(), 1234)

    seen = []

    def tamper(peer, address, arrays):
        if peer == "dealer" and address.kind == Kind.STEP and address.call == 2:
            seen.append(bytes(arrays[0]).split(b"argument 2")[1])
        assert peer != "dealer" or address[:2] != (Kind.STEP, 0), "the dealer learns no part of the salt"
        return arrays

    for _ in range(2):
        world(program, tamper={"bob": tamper}).check()
    assert len(set(seen)) == 2 and all(len(digest) == 18 for digest in seen)


# -- digests

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass(frozen=True)
class Options:
    rate: float = 0.5
    names: tuple = ("a",)


def adder(n):
    return lambda x: x + n


def shifted(x, n=0):
    return x + n


def once(function):
    @functools.wraps(function)
    def made(x):
        return function(x) * 1

    return made


def twice(function):
    @functools.wraps(function)
    def made(x):
        return function(x) * 2

    return made


class Flags(enum.Flag):
    ONE = 1
    TWO = 2


class Opaque:
    pass


VALUES = [
    None, True, False, 0, 1, 1.0, -0.0, 0.0, 1j, "1", b"1", "", (), [], {}, set(), (1, 2), [1, 2], [[1], 2], [1, [2]],
    {"a": 1}, {"a": 2}, {"b": 1}, {1: "a"}, {"x", "y", "z"}, frozenset({"x", "y", "z"}), Pair(1, 2), Options(),
    Options(0.25), Options(names=("b",)), Choice.ONE, Choice.TWO, np.float32, np.float64, np.dtype("f4"),
    np.float32(1), np.float64(1), np.int32(1), np.arange(3), np.arange(3.0), np.arange(4), np.zeros((2, 3)),
    np.zeros((3, 2)), np.zeros((0, 3)), np.array(["a", None], object), np.array("2024-01-01", "M8[D]"),
    slice(1, 2), range(3), range(4), adder(1), adder(2), shifted, functools.partial(shifted, n=1),
    functools.partial(shifted, n=2), Opaque(), jax.random.key(0), jax.random.key(1), [Opaque(), 1], [Opaque(), 2],
    lambda x: x + 1, lambda x: x + 2, once(shifted), twice(shifted),
    Flags(0), Flags.ONE, Flags.ONE | Flags.TWO, enum.Enum("Choice", "TWO ONE").ONE,
    10**5000, 10**5000 + 1, fractions.Fraction(1, 3), fractions.Fraction(1, 10**5000), complex(1, -0.0),
    np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), collections.deque([1]), collections.deque([2]),
    array.array("d", [1]), array.array("d", [2]), memoryview(b"1"), memoryview(b"2"), {1: 1}.values(), {1: 2}.values(),
    collections.UserList([1]), collections.UserList([2]), types.SimpleNamespace(a=1), types.SimpleNamespace(a=2),
    argparse.Namespace(a=1), argparse.Namespace(a=2), slice(Opaque()), slice(Opaque(), 1),
]  # fmt: skip


def test_digests_tell_values_apart_and_alike_in_any_process():
    """The same here and in a process with another hash seed; no two alike."""
    made = [digest(v) for v in VALUES]
    for i, a in enumerate(made):
        for j in range(i):
            assert a != made[j], (VALUES[i], VALUES[j])
    here = pathlib.Path(__file__)
    code = (
        f"import sys; sys.path[:0] = [{str(here.parent)!r}]; import test_agreement as t\n"
        "print([t.digest(v).hex() for v in t.VALUES] + [t.digest(t.Opaque()).hex()])"
    )
    environment = dict(os.environ) | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(here.parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([d.hex() for d in made] + [digest(Opaque()).hex()])


def test_values_without_a_structure_count_by_type_and_a_circle_ends():
    assert digest(Opaque()) == digest(Opaque()) != digest(object())
    assert digest(pathlib.Path("/here")) == digest(pathlib.Path("/there")), "a place on one machine"
    circle: list = [1]
    circle.append(circle)
    assert digest(circle) == digest(circle)
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert digest(deep) == digest(deep)
    assert digest(jax.jit(shifted)) == digest(jax.jit(shifted))
    assert digest(mpcrt.public(np.ones(3))) == digest(mpcrt.public(np.ones(3)))


# -- the program, as real processes

PROGRAM = """
import numpy as np
import mpcrt
import helpers.net
alice, bob, carol, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.party("carol"), mpcrt.spu("spu")

@alice
def weights():
    import only_at_alice
    return only_at_alice.W

@bob
def rows():
    print("bob's rows were read", flush=True)
    return np.ones(3, np.float32)

@bob
def report(y):
    print("bob:", y.tolist(), flush=True)

def main():
    report(spu(helpers.net.apply)(weights(), rows()).to(bob))
"""
NET = "def apply(w, x):\n    return w * x\n"
NAMES = ("alice", "bob", "carol")


def companies(launcher, parties, changes=None, arguments=None, **keys):
    """Each party in its own folder; `changes`: files of a party, beside the common ones."""
    cluster = launcher.cluster(parties)
    cluster.write_text(yaml.safe_dump(yaml.safe_load(cluster.read_text()) | keys))
    children = {"dealer": launcher.start("run", cluster, "--party", "dealer")}
    for name in NAMES[:parties]:
        home = launcher.folder / name
        files = {"program.py": PROGRAM, "helpers/net.py": NET} | (changes or {}).get(name, {})
        if name == "alice":
            files["only_at_alice.py"] = "import numpy as np\nW = np.full(3, 2, np.float32)\n"
        for path, text in files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        after = ("--", *(arguments or {}).get(name, ("2",)))
        children[name] = launcher.start("run", cluster, "program.py", "--party", name, *after, cwd=home)
    return {name: launcher.end(child) for name, child in children.items()}


OTHER_NET = "def apply(w, x):\n    return w * x  # at bob\n"
REFUSED = {
    "an import": (2, {"bob": {"helpers/net.py": OTHER_NET}}, None, "'helpers/net.py'"),
    "an import of the third": (3, {"carol": {"helpers/net.py": OTHER_NET}}, None, "'helpers/net.py'"),
    "an appended reveal": (
        2, {"bob": {"program.py": PROGRAM + "    weights().to(bob)\n"}}, None, "another program file",
    ),
    "a further import": (
        2, {"bob": {"program.py": PROGRAM, "helpers/net.py": NET, "helpers/__init__.py": ""}}, None,
        "'helpers/__init__.py'",
    ),
    "arguments": (2, None, {"bob": ("31337",)}, "other arguments after `--`"),
    "arguments of the third": (3, None, {"carol": ("31337", "2")}, "other arguments after `--`"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_programs_and_arguments_are_refused_before_anything_runs(launcher, case):
    parties, changes, arguments, says = REFUSED[case]
    ended = companies(launcher, parties, changes, arguments)
    assert {name: e.code for name, e in ended.items()} == dict.fromkeys(ended, 4), ended
    for name, e in ended.items():
        assert says in e.err.splitlines()[-1], e.err
        assert "bob" in e.out + e.err and "rows were read" not in e.out, e.out
        assert name == "dealer" or "same_program: false" in e.err
        assert "31337" not in e.err or name in (arguments or {}), "a peer's arguments are not shown"


def test_same_program_false_lets_programs_differ_and_calls_are_compared(launcher):
    """What only one party has, or imports inside a function, is its own in any case."""
    changes = {"bob": {"helpers/net.py": OTHER_NET}}
    ended = companies(launcher, 2, changes, {"bob": ("3",)}, same_program=False)
    assert {e.code for e in ended.values()} == {0}, ended
    assert "bob: [2.0, 2.0, 2.0]" in ended["bob"].out
    changes["bob"]["program.py"] = PROGRAM.replace("weights(), rows()", "rows(), weights()")
    ended = companies(launcher, 2, changes, same_program=False)
    assert {e.code for e in ended.values()} == {4}, ended
    assert "call 1 is " in ended["alice"].err.splitlines()[-1]


def places(log, *texts):
    """Where each text begins in a log, which has each once."""
    assert [log.count(text) for text in texts] == [1] * len(texts), log
    return [log.index(text) for text in texts]


CONSTANTS = "import numpy as np\nC, D = np.array([2.5, 1, 0.5]), 1.5\ndef apply(w, x):\n    return (w * x + C) * D\n"


def test_the_same_program_in_other_folders_runs_and_logs_say_things_when_they_happen(launcher):
    changes = {name: {"helpers/net.py": CONSTANTS} for name in NAMES}
    ended = companies(launcher, 3, changes)
    assert {e.code for e in ended.values()} == {0}, ended
    found = places(
        ended["alice"].err, "compared with bob and carol before the first call: program (source files: 2)",
        "weights() gave float32[3]", "apply() is a plan", "sent the plan of apply()", "a constant of 3 numbers (24 B)",
        "shares, masked, 3 values",
    )  # fmt: skip
    assert found == sorted(found)
    assert "stays here" not in ended["alice"].err and "sent the plan" not in ended["bob"].err
    found = places(ended["bob"].err, "rows() gave", "shares, masked, 3 values", "learns result of apply()")
    assert found == sorted(found)


def test_logs_of_a_call_that_is_refused_say_nothing_of_inputs_or_plans(launcher):
    """Its constant is bob's alone: nothing is shared, published or sent."""
    changes = {"alice": {"helpers/net.py": CONSTANTS}, "bob": {"helpers/net.py": CONSTANTS.replace("2.5", "2.75")}}
    ended = companies(launcher, 2, changes, same_program=False)
    assert {e.code for e in ended.values()} == {4}, ended
    assert "another plan" in ended["alice"].err
    for e in ended.values():
        assert not any(text in e.err for text in ("shares, masked", "publishes", "sent the plan", "in the clear"))


def test_a_program_that_fails_at_import_or_exits_there_ends_all_at_once(launcher):
    ended = companies(launcher, 2, {"bob": {"program.py": "import no_such_module\n"}})
    assert {name: e.code for name, e in ended.items()} == {"alice": 3, "bob": 1, "dealer": 3}
    assert max(e.seconds for e in ended.values()) < 60
    leaving = {"program.py": "import sys\nsys.exit(0)\n"}
    ended = companies(launcher, 2, {"bob": leaving, "alice": leaving})
    assert {e.code for e in ended.values()} == {0}, ended
    ended = companies(launcher, 2, {"bob": leaving}, same_program=False)
    assert {e.code for e in ended.values()} == {4}, "alice goes on, and is not left waiting"


def test_source_files_are_the_programs_own(tmp_path, monkeypatch):
    """Neither installed packages nor virtual environments, extension modules, mpcrt, or what lies elsewhere."""
    program = tmp_path / "work" / "program.py"
    own = ["work/helper.py", "work/package/net.py"]
    others = [
        "work/.venv/lib/tool.py", "work/env/site-packages/tool2.py", "work/fast.so", "elsewhere.py", "work2/near.py",
    ]  # fmt: skip
    for path in ["work/program.py", "work/never_imported.py", *own, *others]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "work/.venv/pyvenv.cfg").write_text("")
    for i, path in enumerate(["work/program.py", *own, *others]):
        module = types.ModuleType(f"mine{i}")
        module.__file__ = str(tmp_path / path)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    found = programs.files_of(program)
    assert list(found) == ["", "helper.py", "package/net.py"]
    assert found[""] == hashlib.sha256(b"work/program.py").digest()
    assert list(programs.files_of(pathlib.Path(programs.__file__))) == [""], "mpcrt's release is compared instead"
    (tmp_path / "work/pyvenv.cfg").write_text("")
    assert list(programs.files_of(program)) == list(found), "the program's folder may be an environment's itself"


LINKED = """
import sys, zipfile
from pathlib import Path
folder = Path(__file__).parent
sys.path[:0] = [str(folder.resolve() / "lib"), str(folder / "archive.zip")]
(folder / "made.py").write_text("")
import inner, zipped, shared, made, spaces.deep
(folder / "made.py").unlink()
sys.modules["told"] = type(sys)("told")
sys.modules["told"].__file__ = "told.py"
"""


@pytest.mark.parametrize("start", ["real/program.py", "link/program.py", "real/lib/../program.py", "program.py"])
def test_source_files_do_not_depend_on_how_the_program_was_started(tmp_path, start):
    """Through links, with dots, from its folder; what is in an archive counts, what is gone does not."""
    files = {"real/program.py": LINKED, "real/lib/inner.py": "", "elsewhere/shared.py": "", "real/spaces/deep.py": ""}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/shared.py").symlink_to(tmp_path / "elsewhere/shared.py")
    with zipfile.ZipFile(tmp_path / "real/archive.zip", "w") as archive:
        archive.writestr("zipped.py", "Z = 1")
    code = (
        "import pathlib, sys\nfrom mpcrt.runtime import programs\npath = pathlib.Path(sys.argv[1])\n"
        "programs.load(path)\nprint(sorted(programs.files_of(path)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, start], capture_output=True, text=True, timeout=120,
        cwd=tmp_path / "real" if start == "program.py" else tmp_path,
        env=dict(os.environ) | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = ["", "archive.zip/zipped.py", "lib/inner.py", "shared.py", "spaces/deep.py"]
    assert done.stdout.strip() == str(names)
