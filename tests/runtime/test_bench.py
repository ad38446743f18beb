"""`mpcrt bench`: one JSON object a case and line, with the keys that comparisons read, or a table and progress."""

import contextlib
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from mpcrt.cli.results import duration, table

CASES = """
import numpy as np
C = {
    "product": lambda: (lambda x, y: x * y["w"], (np.arange(8, dtype=np.float32), {"w": np.full(8, 0.5, np.float32)})),
    "broken": lambda: (lambda x: x.no_such_thing, (np.ones(2, np.float32),)),
}
"""
KEYS = {
    "case", "parties", "inputs", "tls", "seconds", "cold_seconds", "trace_seconds", "max_abs_error", "rounds",
    "party_bytes", "dealer_bytes", "peak_rss_mb",
}  # fmt: skip


def test_bench_prints_a_line_a_case(launcher):
    cases = launcher.program(CASES, "cases.py")
    cluster = launcher.cluster(2)
    rows = {}
    profile = launcher.folder / "profile.json"
    for inputs, more in (("secret", ()), ("owned", ("--offline", "--profile", profile))):
        options = ("--cluster", cluster, "--inputs", inputs, "--reps", 3, "--json", *more)
        ended = launcher.run("bench", cases, "product", *options)
        assert ended.code == 0, ended.err
        (line,) = ended.out.splitlines()
        rows[inputs] = json.loads(line)
        assert set(rows[inputs]) == KEYS
    row = rows["secret"]
    assert (row["case"], row["parties"], row["inputs"], row["tls"]) == ("product", 2, "secret", False)
    assert len(row["seconds"]) == 3 and 0 < min(row["seconds"]) and row["rounds"] == 1
    assert row["max_abs_error"] < 2**-15 and set(row["peak_rss_mb"]) == {"alice", "bob", "dealer"}
    assert row["peak_rss_mb"]["dealer"] < 130, "the dealer does without JAX"
    assert row["party_bytes"] > 2 * 8 * 8 and row["dealer_bytes"] > 0
    plans = [e for e in json.loads(profile.read_text())["traceEvents"] if e.get("cat") == "plan"]
    assert len(plans) == 3 * 4, "three processes, a first call and three repetitions"


def test_bench_says_what_fails_and_what_there_is(launcher):
    cases, cluster = launcher.program(CASES, "cases.py"), launcher.cluster(2)
    ended = launcher.run("bench", cases, "nothing", "--cluster", cluster)
    assert ended.code == 2 and "the cases are product, broken" in ended.err.splitlines()[-1]
    ended = launcher.run("bench", cases, "broken", "--cluster", cluster, "--reps", 1, "--json")
    assert ended.code == 1 and not ended.out and "no_such_thing" in ended.err


def test_the_table_is_for_people():
    row = {
        "case": "relu_1m", "parties": 3, "inputs": "secret", "tls": True, "seconds": [0.5, 0.0123, 0.02], "rounds": 3,
        "cold_seconds": 0.6,
        "party_bytes": 6_500_000, "dealer_bytes": 45_500_000, "max_abs_error": 1.9e-6,
        "peak_rss_mb": {"alice": 300.2, "dealer": 120.0},
    }  # fmt: skip
    console = Console(width=140, file=io.StringIO())
    console.print(table([row]))
    text = console.file.getvalue()
    assert "3 parties and a dealer, secret inputs, TLS, 3 runs each" in text
    cells = next(line for line in text.splitlines() if "relu_1m" in line).replace("│", " ").split()
    wanted = "relu_1m 20.0 ms 12.3 ms 600 ms 3 6.500 45.500 1.9e-06 300 (alice)"
    assert cells == wanted.split()
    assert [duration(s) for s in (12.0, 1.0, 0.9994, 5e-4)] == ["12.0 s", "1.00 s", "999 ms", "500 us"]


def test_a_terminal_sees_how_far_it_is(launcher):
    """Under a pseudo-terminal on stderr: the case's name and the count of runs; the table goes to stdout."""
    cases, cluster = launcher.program(CASES, "cases.py"), launcher.cluster(2)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "mpcrt", "bench", str(cases), "product", "--cluster", str(cluster), "--reps", "2"]
    environment = dict(os.environ) | {"TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])}
    seen = bytearray()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment)
        stack.callback(child.communicate)
        stack.callback(child.kill)
        os.close(theirs)
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 4096):
                seen += piece
        out, _ = child.communicate(timeout=200)
    assert child.returncode == 0 and "product" in out and "median" in out, seen.decode()
    assert "product" in seen.decode() and "2/2" in seen.decode() and "median" not in seen.decode()
