"""`--profile`: one trace-event file of all processes, with every step of the plan, what was sent and what waited."""

import json
from collections import defaultdict

import numpy as np
import pytest

import mpcrt
from mpcrt.cluster import profiles
from mpcrt.runtime import profile as profile_module
from mpcrt.runtime.profile import Recorder

PROGRAM = """
import json, sys, numpy as np, mpcrt
from mpcrt.runtime import current
from mpcrt.runtime.counters import total
alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
def weights():
    return np.full((8, 4), 0.123456, np.float32)

@bob
def rows():
    return np.full((5, 8), 0.654321, np.float32)

@spu
def predict(w, x):
    y = x @ w
    return np.maximum(y, 0.0) if not hasattr(y, "at") else y * (y > 0)

@bob
def show(y, fail):
    assert not fail
    print(json.dumps({"shape": y.shape}), flush=True)

def main(arguments):
    show(predict(weights(), rows()).to(bob), bool(arguments))
    if not arguments:
        session = current.require("test")
        value = session.report()
        session.wait_leaves(value)
        found = total(value.leaves[0])
        if session.me == "bob":
            print(json.dumps({"bytes": found.party_bytes, "dealt": found.dealer_bytes}), flush=True)
"""
PRODUCT_LINE, COMPARE_LINE = 17, 18


def run_profiled(launcher, *arguments, code=0):
    file = launcher.folder / "profile.json"
    program = launcher.program(PROGRAM)
    ended = launcher.run("run", launcher.cluster(2, tls=None), program, "--profile", file, "--", *arguments)
    assert ended.code == code, ended.err
    assert sorted(p.name for p in launcher.folder.iterdir() if "profile" in p.name) == ["profile.json"]
    return json.loads(file.read_text()), ended, program


def named(data):
    """Party name -> its pid."""
    found = {e["args"]["name"]: e["pid"] for e in data["traceEvents"] if e["name"] == "process_name"}
    assert len(set(found.values())) == len(found)
    return found


def check_schema(data):
    """What the format asks of an event; slices of one thread lie within or beside each other."""
    tracks = defaultdict(list)
    for event in data["traceEvents"]:
        assert event["ph"] in "XMC" and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        assert isinstance(event["name"], str) and isinstance(event["args"], dict)
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0 and event["cat"]
            tracks[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in tracks.values():
        open_ends = []
        for start, end in sorted(slices, key=lambda s: (s[0], -s[1])):
            while open_ends and open_ends[-1] <= start + 1e-6:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-3, "slices that overlap without nesting"
            open_ends.append(end)


@pytest.fixture
def slices():
    def pick(data, pid, kind):
        return [e for e in data["traceEvents"] if e["ph"] == "X" and e["pid"] == pid and e["cat"] == kind]

    return pick


def test_a_run_gives_one_file_of_all_parties(launcher, slices):
    data, ended, program = run_profiled(launcher)
    check_schema(data)
    parties = named(data)
    assert list(parties) == ["alice", "bob", "dealer"] and data["otherData"]["missing"] == []
    assert data["otherData"]["dropped"] == 0

    steps = {name: {e["args"]["step"]: e for e in slices(data, pid, "step")} for name, pid in parties.items()}
    assert len(steps["alice"]) > 8 and set(steps["alice"]) == set(steps["bob"]) == set(steps["dealer"])
    for event in (e for of_party in steps.values() for e in of_party.values()):
        assert {"level", "shape", "elements", "op", "plan"} <= set(event["args"])
    lines = {e["args"]["op"]: e["args"]["line"] for e in steps["alice"].values() if "line" in e["args"]}
    assert lines["dot"] == f"{program}:{PRODUCT_LINE}" and lines["msb"] == f"{program}:{COMPARE_LINE}"
    assert all("line" in e["args"] for e in steps["alice"].values() if e["name"] != "public")
    assert steps["dealer"].keys() == {n for n, e in steps["dealer"].items() if e["args"].get("line")}, "merged lines"

    calls = [e["name"] for e in sorted(slices(data, parties["alice"], "call"), key=lambda e: e["ts"])]
    assert calls[:4] == ["the start of main", "weights", "rows", "predict"] and "predict" in {
        e["name"] for e in slices(data, parties["dealer"], "call")
    }
    assert [e["name"] for e in slices(data, parties["alice"], "python")] == ["weights()"]
    assert len(slices(data, parties["bob"], "compile")) == 1
    for pid in parties.values():
        assert sum(e["dur"] for e in slices(data, pid, "wait")) > 0

    said = json.loads(next(line for line in ended.out.splitlines() if "bytes" in line))
    last = {(e["pid"], e["name"]): e["args"] for e in data["traceEvents"] if e["ph"] == "C"}
    between = last[parties["alice"], "bytes sent to bob"], last[parties["bob"], "bytes sent to alice"]
    kinds = ("INPUT", "OPEN", "REVEAL", "PUBLISH")
    assert sum(totals.get(kind, 0) for totals in between for kind in kinds) == said["bytes"] > 0
    dealt = sum(last[parties["dealer"], f"bytes sent to {p}"].get("DEAL", 0) for p in ("alice", "bob"))
    assert dealt == said["dealt"] > 0
    text = json.dumps(data)
    assert "0.123456" not in text and "0.654321" not in text


def test_a_failed_run_leaves_what_there_was(launcher, slices):
    data, _, _ = run_profiled(launcher, "fail", code=1)
    check_schema(data)
    parties = named(data)
    assert set(parties) == {"alice", "bob", "dealer"}
    assert slices(data, parties["bob"], "python")[-1]["name"] == "show()"
    assert len(slices(data, parties["alice"], "step")) > 8


def test_a_cluster_in_a_notebook(tmp_path, slices):
    file = tmp_path / "p.json"
    with mpcrt.LocalCluster(tls="off", profile=file) as cluster:
        # 3 is exact, its square off by a truncation
        assert cluster.secure(lambda x: x * x)(np.float32(3)) == pytest.approx(9, abs=2**-18)
    data = json.loads(file.read_text())
    check_schema(data)
    parties = named(data)
    assert set(parties) == {"alice", "bob", "dealer", "driver"}
    assert any(__file__ in e["args"].get("line", "") for e in slices(data, parties["alice"], "step")), (
        "the driver's lines"
    )


def test_a_folder_that_is_not_there(launcher):
    ended = launcher.run("run", launcher.cluster(2), launcher.program(PROGRAM), "--profile", "/no/such/p.json")
    assert ended.code == 2 and "/no/such is no folder that can be written to" in ended.err


def test_events_are_bounded_and_the_file_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(profile_module, "LIMIT", 3)
    recorder = Recorder(tmp_path / "p.json", "alice", 1)
    for i in range(5):
        with recorder.slice("python", f"f{i}()"):
            pass
    recorder.write()
    assert profiles.head(tmp_path / "p.json")["dropped"] == 2
    events = list(profiles.events(tmp_path / "p.json"))
    assert [e["name"] for e in events if e["ph"] == "X"] == ["f0()", "f1()", "f2()"]
    assert events[0]["args"]["name"] == "alice (2 later events dropped)"


def test_a_step_that_fails_ends_with_what_it_lies_in(tmp_path):
    recorder = Recorder(tmp_path / "p.json", "alice", 1)
    with pytest.raises(ZeroDivisionError), recorder.slice("call", "predict"):
        recorder.begin(None, None)
        raise ZeroDivisionError
    with recorder.slice("call", "next"):
        recorder.write()
    found = {e["name"]: e["args"] for e in profiles.events(tmp_path / "p.json") if e["ph"] == "X"}
    assert found == {"exchange": {}, "predict": {}, "next": {"unfinished": True}}


def test_merging_aligns_clocks(tmp_path):
    for name, start in (("alice", 5_000_000), ("bob", 2_000_000)):
        about = {"parties": [name], "epoch_ns": start + 7, "monotonic_ns": start, "dropped": 0, "lines": {}}
        event = {"ph": "X", "pid": 1, "tid": 1, "ts": 1.0, "dur": 1.0, "name": name, "cat": "call", "args": {}}
        profiles.write(tmp_path / f"{name}.json", about, [event])
    profiles.merge(tmp_path / "all.json", [tmp_path / "alice.json", tmp_path / "bob.json"], missing=["carol"])
    assert {e["name"]: e["ts"] for e in profiles.events(tmp_path / "all.json")} == {"alice": 3001.0, "bob": 1.0}
    about = profiles.head(tmp_path / "all.json")
    assert about["epoch_ns"] == 2_000_007 and about["missing"] == ["carol"] and about["parties"] == ["alice", "bob"]
