"""How real runs behave under a terminal, a supervisor or cron: what they say, and that saying it does no harm."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAM = """
import logging, os, sys, threading, warnings
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
def number():
    {body}
    return 20.0

@bob
def other():
    return 22.0

@spu
def total(x, y):
    return x + y

@bob
def report(value):
    with open("total.txt", "w") as file:
        file.write(f"{{float(value):.1f}}")

def main():
    report(total(number(), other()).to(bob))
"""


@pytest.fixture
def place(two_parties):
    return two_parties.parent


def write(place: Path, body: str = "pass") -> None:
    (place / "program.py").write_text(PROGRAM.format(body=body))


def timeouts(place: Path, **changed: float) -> None:
    file = place / "cluster_2.yaml"
    config = yaml.safe_load(file.read_text())
    config["timeouts"] |= changed
    file.write_text(yaml.safe_dump(config))


def start(place: Path, *options: str, through: tuple[str, ...] = (), **popen) -> subprocess.Popen[str]:
    words = [*through, sys.executable, "-P", "-m", "mpcrt", "run", "cluster_2.yaml", "program.py", *options]
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    return subprocess.Popen(words, cwd=place, text=True, env=environment, **popen)


def run(place: Path, *options: str, **extra) -> tuple[int, str, str]:
    process = start(place, *options, **extra)
    try:
        out, err = process.communicate(timeout=200)
    finally:
        process.kill()
        process.communicate()
    return process.returncode, out, err


SECRET = "4711"
NOISE = f"""
    warnings.warn("an old function")
    logging.getLogger("third.party").warning("a word of a library")
    print("to standard error", file=sys.stderr)
    os.write(2, b"from native code\\n")
    def fails():
        raise ValueError("{SECRET}")
    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
"""


def test_json_logs_are_nothing_but_json_and_end_with_an_account(place):
    write(place, NOISE.strip())
    code, _, err = run(place, "--log-json")
    assert code == 0, err
    entries = [json.loads(line) for line in err.splitlines()]
    assert all({"time", "level", "party", "message"} <= entry.keys() for entry in entries)
    assert SECRET not in err
    said = {entry["message"]: entry for entry in entries if entry["party"] == "alice"}
    assert any("UserWarning: an old function" in message for message in said)
    assert said["a word of a library"]["logger"] == "third.party"
    assert "to standard error" in said and "from native code" in said
    assert any(entry.get("exception") == "ValueError" for entry in entries)
    for party in ("alice", "bob", "dealer"):
        last = [entry for entry in entries if entry["party"] == party][-1]
        assert last["exit_code"] == 0 and last["seconds"] > 0, last
        assert last["bytes_sent"] > 100 and last["bytes_received"] > 100, last
        assert [learned["parties"] for learned in last["learned"]] == [["bob"]], last
    assert "result of total(): float32[]" in last["learned"][0]["values"][0] or party == "dealer"


def test_a_party_of_its_own_has_pure_json_too(place):
    write(place, NOISE.strip())
    timeouts(place, connect=1)
    (place / "program.py").write_text(
        "import warnings\nwarnings.warn('at import')\n" + (place / "program.py").read_text()
    )
    code, _, err = run(place, "--party", "alice", "--log-json")
    entries = [json.loads(line) for line in err.splitlines()]
    assert code == 3 and entries[-1]["exit_code"] == 3 and entries[-1]["party"] == "alice" and entries[-1]["time"]
    assert any("at import" in entry["message"] for entry in entries)


def test_quiet_says_nothing_of_a_good_run_and_the_log_file_has_it_all(place):
    write(place)
    code, out, err = run(place, "-q", "--log-file", "run.log")
    assert (code, out, err) == (0, "", "")
    lines = (place / "run.log").read_text().splitlines()
    for party in ("alice", "bob", "dealer"):
        (closing,) = [line for line in lines if f" {party}: the run is over after" in line]
        assert "bob learned" in closing and "rounds, " in closing and " sent, " in closing


def test_the_last_line_is_in_the_log_file_too(place):
    write(place, "raise ValueError")
    timeouts(place, idle=5)
    code, _, err = run(place, "--log-file", "run.log")
    assert code == 1
    lines = (place / "run.log").read_text().splitlines()
    assert lines[-1] == err.splitlines()[-1] and "mpcrt: alice: number() failed in call 1" in lines[-1]
    assert sum("the run ended early" in line for line in lines) == 3


def test_preparation_that_fails_says_type_and_line_at_home(place):
    write(place)
    program = (place / "program.py").read_text().replace("return x + y", "return prepared(x) + y")
    program += f"""
import jax, numpy as np

def fails(x):
    raise ArithmeticError("{SECRET}")

def prepared(x):
    return jax.pure_callback(fails, jax.ShapeDtypeStruct((), np.float32), x)
"""
    (place / "program.py").write_text(program)
    number = (
        program.splitlines().index("    return jax.pure_callback(fails, jax.ShapeDtypeStruct((), np.float32), x)") + 1
    )
    code, _, err = run(place)
    last = err.splitlines()[-1]
    assert code == 1 and last.startswith("mpcrt: alice: preparing result of number() failed in "), last
    assert f"program.py:{number}: ArithmeticError; the traceback is in this log" in last
    assert any(line.startswith("alice  |") and f"ArithmeticError: {SECRET}" in line for line in err.splitlines())
    assert not any(line.startswith(("bob", "dealer")) and SECRET in line for line in err.splitlines())


def test_while_it_waits_a_run_says_for_whom_and_why(place):
    write(place)
    timeouts(place, connect=5)
    dealer = yaml.safe_load((place / "cluster_2.yaml").read_text())["parties"]["dealer"]["address"]
    host, port = dealer.split(":")
    with socket.create_server((host, int(port))) as server:

        def greet():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"220 mail\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        code, _, err = run(place, "--party", "alice")
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    lines = err.splitlines()
    waiting = next(line for line in lines if "still waiting for" in line)
    for line in (waiting, lines[-1]):
        assert "): the machine answers, but nothing listens on the port" in line and "bob (" in line
        assert f"dealer ({dealer}): another program answers there" in line
        assert "`mpcrt doctor cluster_2.yaml --party alice`" in line
    assert code == 3


def test_a_process_that_user_code_ends_is_no_refusal(place):
    write(place, "os._exit(5)")
    timeouts(place, idle=3)
    code, _, err = run(place)
    last = err.splitlines()[-1]
    assert code == 3 and last.startswith("mpcrt: alice: its process ended with code 5 and without a word"), last


def test_a_run_works_without_standard_streams(place):
    write(place)
    code, _, _ = run(place, through=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    assert code == 0 and (place / "total.txt").read_text() == "42.0"


def test_a_local_cluster_works_without_standard_streams(place):
    script = place / "script.py"
    script.write_text(
        "import mpcrt\nif __name__ == '__main__':\n"
        "    with mpcrt.LocalCluster('cluster_2.yaml') as cluster:\n"
        "        y = cluster.secure(lambda x: x + 1)(41.0)\n"
        "    open('total.txt', 'w').write(f'{float(y):.1f}')\n"
    )
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-P", "script.py"]
    assert subprocess.run(words, cwd=place, env=environment, timeout=200).returncode == 0
    assert (place / "total.txt").read_text() == "42.0"


def test_nobody_reads_standard_error_and_the_run_goes_on(place):
    write(place, "[print('x' * 1000, file=sys.stderr) for _ in range(3000)]")
    process = start(place, "-v")
    try:
        assert process.wait(timeout=200) == 0  # nothing is read before
        assert (place / "total.txt").read_text() == "42.0"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("who", [(), ("--party", "alice")])
def test_a_terminal_sees_how_far_a_long_call_is_and_nobody_else_does(place, who, tmp_path):
    write(place)
    program = (place / "program.py").read_text()
    body = "import jax\n    z = jax.lax.fori_loop(0, 1500, lambda i, z: jax.nn.relu(z * y) + x / 64, x)\n    return z"
    (place / "program.py").write_text(program.replace("return x + y", body))
    others = [start(place, "--party", "bob"), start(place, "--party", "dealer")] if who else []
    if who:  # the dealer takes no program
        others[1].kill()
        others[1].communicate()
        words = [sys.executable, "-P", "-m", "mpcrt", "run", "cluster_2.yaml", "--party", "dealer"]
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        others[1] = subprocess.Popen(words, cwd=place, env=environment, stdout=pipe, stderr=pipe, text=True)
    ours, theirs = os.openpty()
    seen = b""
    process = start(place, *who, stderr=theirs, stdout=theirs)
    os.close(theirs)
    try:
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the last process has closed the terminal
                break
            seen += data
        assert process.wait(timeout=200) == 0, seen
        for other in others:
            _, err = other.communicate(timeout=200)
            assert other.returncode == 0 and "the run is over" in err
            assert " round " not in err and "\x1b" not in err
    finally:
        for each in (process, *others):
            each.kill()
            each.wait()
        os.close(ours)
    text = seen.decode()
    shown = [part for part in text.split("\r\x1b[2K") if "total()" in part and " round " in part]
    assert any(" of 7500, " in part and "B, " in part for part in shown), text
    assert "the run is over after" in text.split("\r\x1b[2K")[-1], "the line is gone at the end"
