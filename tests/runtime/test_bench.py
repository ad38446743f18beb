"""`mpcrt bench`: one JSON object a case and line, with the keys that comparisons read."""

import json

CASES = """
import numpy as np
C = {
    "product": lambda: (lambda x, y: x * y["w"], (np.arange(8, dtype=np.float32), {"w": np.full(8, 0.5, np.float32)})),
    "broken": lambda: (lambda x: x.no_such_thing, (np.ones(2, np.float32),)),
}
"""
KEYS = {
    "case", "parties", "inputs", "tls", "seconds", "trace_seconds", "max_abs_error", "rounds", "party_bytes",
    "dealer_bytes", "peak_rss_mb",
}  # fmt: skip


def test_bench_prints_a_line_a_case(launcher):
    cases = launcher.program(CASES, "cases.py")
    cluster = launcher.cluster(2)
    rows = {}
    for inputs, more in (("secret", ()), ("owned", ("--offline",))):
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


def test_bench_says_what_fails_and_what_there_is(launcher):
    cases, cluster = launcher.program(CASES, "cases.py"), launcher.cluster(2)
    ended = launcher.run("bench", cases, "nothing", "--cluster", cluster)
    assert ended.code == 2 and "the cases are product, broken" in ended.err.splitlines()[-1]
    ended = launcher.run("bench", cases, "broken", "--cluster", cluster, "--reps", 1, "--json")
    assert ended.code == 1 and not ended.out and "no_such_thing" in ended.err
