"""Programs as real processes: what users see, exit codes, and ends of every kind. Starts cost seconds, so few."""

import json
import os
import re
import signal
import socket
import time

import numpy as np
import pytest
import yaml

PROGRAM = """
import sys, time
import jax.numpy as jnp
import numpy as np
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
def load_model(path):
    with open(path) as file:
        return {"w": np.full((3, 2), float(file.read()), np.float32)}

@bob
def load_data():
    return np.arange(12, dtype=np.float32).reshape(4, 3)

@spu
def predict(params, x):
    return jnp.maximum(x @ params["w"] - 1, 0)

@bob
def report(y, mode):
    if mode == "sleep":
        print("asleep", flush=True)
        time.sleep(100)
    if mode == "long":
        time.sleep(6)
    if mode == "raise":
        raise ValueError("private 31337")
    print("bob:", y.tolist(), mpcrt.statistics().rounds, flush=True)

def main(arguments):
    assert arguments == sys.argv[1:]
    params, x = load_model(arguments[0]), load_data()
    report(predict(params, x).to(bob), arguments[1])
    both = spu(predict.function)(alice(load_model.function)(arguments[0]).to(spu), x.to(spu)).to(mpcrt.public)
    print("all:", np.asarray(both).shape, flush=True)
"""
RESULT = np.maximum(np.arange(12).reshape(4, 3) @ np.full((3, 2), 0.5) - 1, 0)


def ports_are_free(cluster) -> bool:
    for party in yaml.safe_load(cluster.read_text())["parties"].values():
        if party.get("address"):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                host, port = party["address"].split(":")
                probe.bind((host, int(port)))
    return True


def processes_with(text: str) -> list[str]:
    """Command lines of live processes that mention `text`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in line and "pytest" not in line:
            found.append(line)
    return found


@pytest.mark.parametrize(("parties", "tls"), [(2, None), (3, "off")])
def test_a_program_at_all_parties_on_this_machine(launcher, parties, tls):
    (launcher.folder / "model.txt").write_text("0.5")
    cluster = launcher.cluster(parties, tls=tls)
    ended = launcher.run("run", cluster, launcher.program(PROGRAM), "--", "model.txt", "show")
    assert ended.code == 0, ended.err
    assert ended.out.count("all: (4, 2)") == parties
    shown = re.search(r"bob: (\[\[.*\]\]) (\d+)", ended.out)
    assert shown is not None and int(shown[2]) > 0
    # Rows, weights and the bias are multiples of 2^-18: only the truncation errs, by 2^-18.
    np.testing.assert_allclose(json.loads(shown[1]), RESULT, atol=2**-18)
    assert "load_model() gave {w: float32[3,2]}" in ended.err and "learns result of predict()" in ended.err
    assert ports_are_free(cluster) and not processes_with(str(launcher.folder))


def test_rule_6_idle_is_silence_of_the_process_not_the_length_of_a_function(launcher):
    (launcher.folder / "model.txt").write_text("0.5")
    cluster = launcher.cluster(idle=3.0)
    ended = launcher.run("run", cluster, launcher.program(PROGRAM), "--", "model.txt", "long")
    assert ended.code == 0, ended.err


def start_separately(launcher, cluster, mode, program=PROGRAM, others=None):
    """Each company alone, in a directory of its own; only alice has the model."""
    children = {}
    for party in ("dealer", "alice", "bob"):
        home = launcher.folder / party
        home.mkdir(exist_ok=True)
        if party == "dealer":
            children[party] = launcher.start("run", cluster, "--party", party, cwd=home)
            continue
        if party == "alice":
            (home / "model.txt").write_text("0.5")
        (home / "program.py").write_text((others or {}).get(party, program))
        arguments = ("run", cluster, "program.py", "--party", party, "--", "model.txt", mode)
        children[party] = launcher.start(*arguments, cwd=home)
    return children


def test_each_company_alone_and_a_function_that_fails(launcher):
    cluster = launcher.cluster()
    children = start_separately(launcher, cluster, "raise")
    ended = {name: launcher.end(child) for name, child in children.items()}
    assert {name: e.code for name, e in ended.items()} == {"dealer": 3, "alice": 3, "bob": 1}
    assert "private 31337" in ended["bob"].err and "report() failed in call 5" in ended["bob"].err.splitlines()[-1]
    for name in ("dealer", "alice"):
        assert "31337" not in ended[name].err
        assert "bob failed in report (call 5)" in ended[name].err.splitlines()[-1]
    assert ports_are_free(cluster)


def test_companies_with_different_programs_are_refused(launcher):
    other = PROGRAM.replace("def predict(params, x)", "def guess(params, x)").replace("predict", "guess")
    cluster = launcher.cluster()
    cluster.write_text(cluster.read_text() + "same_program: false\n")  # or the files would be compared before any call
    children = start_separately(launcher, cluster, "show", others={"bob": other})
    ended = {name: launcher.end(child) for name, child in children.items()}
    assert {name: e.code for name, e in ended.items()} == {"dealer": 4, "alice": 4, "bob": 4}
    last = ended["alice"].err.splitlines()[-1]  # in her own words, or in those of who told her first
    assert "call 3 is " in last and "predict(#1, #2) on spu" in last and "guess(#1, #2) on spu" in last
    assert all("shares, masked" not in e.err or "asks" not in e.err for e in ended.values())
    assert all("all:" not in e.out and "bob:" not in e.out for e in ended.values())


@pytest.mark.parametrize("victim", ["alice", "bob", "dealer"])
def test_a_killed_process_ends_the_others(launcher, victim):
    cluster = launcher.cluster(idle=3.0)
    children = start_separately(launcher, cluster, "sleep")
    assert children["bob"].stdout.readline() == "asleep\n"
    start = time.monotonic()
    children[victim].kill()
    ended = {name: launcher.end(child) for name, child in children.items()}
    assert time.monotonic() - start < 3 + 2 + 10, "idle, two seconds, and what a busy machine takes"
    for name in set(ended) - {victim}:
        assert ended[name].code == 3, ended[name].err
        assert victim in ended[name].err.splitlines()[-1]
    assert ports_are_free(cluster)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_end_every_process(launcher, number):
    (launcher.folder / "model.txt").write_text("0.5")
    cluster = launcher.cluster()
    child = launcher.start("run", cluster, launcher.program(PROGRAM), "--", "model.txt", "sleep")
    assert child.stdout.readline() == "asleep\n"
    child.send_signal(number)
    ended = launcher.end(child)
    assert ended.code == 130 and ended.seconds < 30
    assert ports_are_free(cluster) and not processes_with(str(launcher.folder))


def test_a_peer_that_does_not_come_up_is_named(launcher):
    cluster = launcher.cluster()
    data = yaml.safe_load(cluster.read_text())
    data["timeouts"]["connect"] = 1
    cluster.write_text(yaml.safe_dump(data))
    ended = launcher.run("run", cluster, launcher.program(PROGRAM), "--party", "alice", "--", "x", "y")
    assert ended.code == 3 and ended.seconds < 60
    for name in ("bob", "dealer"):
        assert name in ended.err and data["parties"][name]["address"] in ended.err


FORKS = """
import os, sys, time
import numpy as np
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

def work(how):
    child = os.fork()
    if child == 0:
        if how == "stays":
            os.close(1), os.close(2)
            time.sleep(100)
            os._exit(0)
        if how == "raises":
            raise ValueError("in the child")
        if how == "exits":
            sys.exit(7)
        return np.zeros(3, np.float32)
    if how == "stays":
        print("child", child, flush=True)
    else:
        print("ended", how, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return np.arange(3, dtype=np.float32)

def main(arguments):
    made = [bob(work)(how) for how in arguments]
    print("all:", [np.asarray(spu(lambda x: x * 2)(x).to(mpcrt.public)).tolist() for x in made], flush=True)
    child = os.fork()
    if child == 0:
        try:
            alice(print)("a second party")
        except mpcrt.UsageError as error:
            print("refused:", "forked from" in str(error), flush=True)
        return
    print("main's ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_forked_child_is_no_party(launcher):
    program = launcher.program("import warnings\nwarnings.simplefilter('ignore')\n" + FORKS)
    ended = launcher.run("run", launcher.cluster(), program, "--", "returns", "raises", "exits")
    assert ended.code == 0, ended.err
    for said in ("ended returns 2", "ended raises 2", "ended exits 7"):
        assert said in ended.out
    assert ended.out.count("all: [[0.0, 2.0, 4.0], [0.0, 2.0, 4.0], [0.0, 2.0, 4.0]]") == 2
    assert ended.out.count("refused: True") == 2 and ended.out.count("main's ended 2") == 2
    assert "a second party" not in ended.out and "forked in work() came back from it" in ended.err


def test_a_forked_child_that_stays_holds_no_port(launcher):
    cluster = launcher.cluster()
    program = "import warnings\nwarnings.simplefilter('ignore')\n" + FORKS
    children = start_separately(launcher, cluster, "stays", program.replace("in arguments", "in arguments[1:]"))
    ended = {name: launcher.end(child) for name, child in children.items()}
    left = re.search(r"child (\d+)", ended["bob"].out)
    assert left is not None
    try:
        assert {name: e.code for name, e in ended.items()} == {"dealer": 0, "alice": 0, "bob": 0}
        os.kill(int(left[1]), 0)
        assert ports_are_free(cluster)
    finally:
        os.kill(int(left[1]), signal.SIGKILL)


CAUGHT = """
import numpy as np
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

def main(arguments):
    bad = alice(lambda: np.array([1, np.nan], np.float32))()
    good = bob(lambda: np.array([1, 2], np.float32))()
    if "uncaught" in arguments:
        bob(print)(spu(lambda x, y: x * y)(bad, good).to(bob))
        return
    for function, kind in ((lambda x: float(x), mpcrt.TraceError), (lambda x: x * bad, mpcrt.UsageError)):
        try:
            spu(function)(good).block_until_ready()
        except kind:
            print("caught", flush=True)
    try:
        spu(lambda x, y: x * y)(bad, good).block_until_ready()
    except mpcrt.InputError:
        print("caught", flush=True)
    print("all:", np.asarray(spu(lambda y: y * 3)(good).to(mpcrt.public)).round(3).tolist(), flush=True)
"""


@pytest.mark.parametrize("arguments", [(), ("uncaught",)])
def test_errors_before_anything_is_shared_can_be_caught(launcher, arguments):
    ended = launcher.run("run", launcher.cluster(), launcher.program(CAUGHT), "--", *arguments)
    if not arguments:
        assert ended.code == 0, ended.err
        assert ended.out.count("caught") == 6 and ended.out.count("all: [3.0, 6.0]") == 2
        return
    assert ended.code == 1
    verdict = ended.err.splitlines()[-1]
    assert verdict.startswith("mpcrt: alice: ") and "contains NaN" in verdict, verdict
    assert "[exit codes: alice 1, bob 3, dealer 3]" in verdict


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("x = 1\n", 2, "a program has a function main()"),
        ("def main():\n    raise RuntimeError('no')\n", 1, "main() failed: RuntimeError"),
        ("import sys\ndef main():\n    sys.exit(2)\n", 2, "refused its arguments"),
        ("def main(:\n    pass\n", 1, "importing program.py failed: SyntaxError"),
        ("import mpcrt\ndef main():\n    mpcrt.party('alice')(float)(1) + 1\n", 2, "program.py:3) [exit codes"),
        ("import mpcrt\nmpcrt.party('alice')(print)('ran')\n", 2, "placement calls are made by main()"),
    ],
)
def test_programs_that_cannot_run(launcher, text, code, message):
    ended = launcher.run("run", launcher.cluster(), launcher.program(text))
    assert ended.code == code and message in ended.err.splitlines()[-1]
    assert "ran" not in ended.out, "nothing is called before the programs have been compared"


def test_a_program_that_hides_a_module_of_pythons_is_told_so(launcher):
    program = launcher.program("import jax\n\ndef main():\n    pass\n")
    named = program.parent / "elsewhere" / "string.py"  # no folder that `python -m mpcrt` itself imports from
    named.parent.mkdir()
    ended = launcher.run("run", launcher.cluster(), program.rename(named))
    assert ended.code == 1 and "Python has a module 'string': give the file another name" in ended.err.splitlines()[-1]
