"""`mpcrt profile`: own times without what is inside, by party and line; a helpful line for what is no profile."""

import pytest
from click.testing import CliRunner

from mpcrt.cli import main
from mpcrt.cluster import profiles


def slice_(kind, name, start, length, line="", pid=1):
    args = {"line": line} if line else {}
    return {"ph": "X", "pid": pid, "tid": 1, "ts": start, "dur": length, "cat": kind, "name": name, "args": args}


@pytest.fixture
def file(tmp_path):
    named = [
        {"ph": "M", "pid": p, "tid": 0, "name": "process_name", "args": {"name": n}}
        for p, n in ((1, "alice"), (2, "bob"))
    ]
    product, compare = ("step", "product"), ("step", "msb")
    slices = [
        slice_("plan", "plan 1", 0, 900), slice_(*product, 10, 800, "[a].py:3"),
        slice_("plan", "plan 1", 1000, 900), slice_(*product, 1200, 500, "[a].py:3"),
        slice_("wait", "wait for bob", 1300, 50), slice_("wait", "wait for bob", 1400, 50),
        slice_(*compare, 1750, 50, "[a].py:4"), slice_(*compare, 5, 70, "[a].py:4", pid=2),
    ]  # fmt: skip
    slices += [slice_("exchange", "exchange", at, 0, pid=pid) for at in (20, 1250, 1260) for pid in (1, 2)]
    sent = [(30, {"OPEN": 100, "INPUT": 0}), (990, {"OPEN": 100, "INPUT": 900}), (1800, {"OPEN": 1300, "INPUT": 900})]
    counters = [
        {"ph": "C", "pid": 1, "tid": 0, "ts": at, "name": "bytes sent to bob", "args": args} for at, args in sent
    ]
    profiles.write(tmp_path / "p.json", {"parties": ["alice", "bob"]}, [*named, *slices, *counters])
    return tmp_path / "p.json"


def test_own_time_is_without_what_is_inside(file):
    found = profiles.spent(file)
    assert found["alice"]["step", "product", "[a].py:3"] == profiles.Spent(2, 800 + 500 - 100)
    assert found["alice"]["plan", "plan 1", ""] == profiles.Spent(2, 100 + 350)
    assert found["bob"]["step", "msb", "[a].py:4"] == profiles.Spent(1, 70)
    assert profiles.spent(file, last=True)["alice"]["step", "product", "[a].py:3"] == profiles.Spent(1, 400)


def test_rounds_and_bytes_of_a_file_and_of_its_last_plan(file):
    assert profiles.traffic(file)["alice"] == profiles.Traffic(3, {"bob": 2200})
    assert profiles.traffic(file, last=True)["alice"] == profiles.Traffic(2, {"bob": 1200})
    assert profiles.traffic(file)["bob"] == profiles.Traffic(0, {}), "it opened nothing, as a dealer"
    shown = CliRunner().invoke(main, ["profile", str(file)]).output
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert "rounds 3" in rows and "sent to bob 2.2 kB" in rows


def test_the_tables_name_steps_lines_and_waiting(file):
    shown = CliRunner().invoke(main, ["profile", str(file), "--last", "--party", "alice"])
    assert shown.exit_code == 0, shown.output
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.output.splitlines()]
    assert "waiting for others 100 us" in rows and "alice product [a].py:3 1 400 us 89%" in rows
    assert "between steps 350 us" in rows and not any(row.startswith("bob msb") for row in rows)


def test_what_is_no_profile_is_said(file, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    for arguments, words in (
        ((tmp_path / "none.json",), "No such file"),
        ((tmp_path / "other.json",), "is no profile of mpcrt's"),
        ((file, "--party", "carol"), "no party 'carol', only alice, bob"),
    ):
        shown = CliRunner().invoke(main, ["profile", *map(str, arguments)])
        assert shown.exit_code == 2 and words in shown.output, shown.output


@pytest.mark.parametrize("name", ["bob[/red]", "[bold]bob", "bob :bomb:", "bob\x1b[2J\u202e\nalice", "x" * 10_000])
def test_names_in_a_file_are_text(tmp_path, name):
    made = tmp_path / "p.json"
    title = {"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": name}}
    profiles.write(made, {"parties": [name]}, [title, slice_("step", name, 0, 10, name)])
    shown = CliRunner().invoke(main, ["profile", str(made)])
    assert shown.exit_code == 0 and shown.output.replace("\n", "").isprintable(), shown.output
    assert ("bomb" in name) == (":bomb:" in shown.output) and ("red" in name) == ("[/red]" in shown.output)
    refused = CliRunner().invoke(main, ["profile", str(made), "--party", "carol"])
    assert refused.exit_code == 2 and refused.output.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "event",
    [{}, [], 3, {"ph": "X"}, slice_("step", "s", 0, 1, pid=9), slice_("wait", "w", 0, float("inf")),
     slice_("wait", "w", float("nan"), float("nan")), slice_("step", "s", 0, "1"), slice_([], "s", 0, 1)],
)  # fmt: skip
def test_a_file_of_other_things_is_no_profile(file, tmp_path, event):
    profiles.write(tmp_path / "odd.json", profiles.head(file), [*profiles.events(file), event])
    shown = CliRunner().invoke(main, ["profile", str(tmp_path / "odd.json")])
    assert shown.exit_code == 2 and "is no profile of mpcrt's" in shown.output, shown.output


HOUR = 3_600_000_000_000


def message(party, kind, peer, start, length, what):
    pid = ("alice", "bob", "dealer").index(party) + 1
    name = f"wait for {peer}" if kind == "wait" else f"send to {peer}"
    event = slice_(kind, name, start, length, pid=pid)
    return event | {"args": event["args"] | {"for": what}}


@pytest.fixture
def parts(tmp_path):
    """Files of three machines. Bob's clock is an hour ahead of alice's, the dealer's two, and he speaks with bob only.
    A message takes 10 us, but that bob is 500 us late to ask for what alice sent first."""
    events = {
        "alice": [message("alice", "send", "bob", 0, 1, "HELLO"), message("alice", "wait", "bob", 1, 119, "HELLO"),
                  message("alice", "send", "bob", 700, 1, "OPEN")],
        "bob": [message("bob", "send", "alice", 110, 1, "HELLO"), message("bob", "wait", "alice", 505, 5, "HELLO"),
                message("bob", "wait", "alice", 600, 110, "OPEN"), message("bob", "send", "dealer", 800, 1, "STEP"),
                message("bob", "wait", "dealer", 801, 29, "DEAL")],
        "dealer": [message("dealer", "wait", "bob", 0, 810, "STEP"), message("dealer", "send", "bob", 820, 1, "DEAL")],
    }  # fmt: skip
    files = {}
    for pid, (name, own) in enumerate(events.items(), 1):
        about = {"parties": [name], "run": "r", "epoch_ns": 0, "monotonic_ns": pid * HOUR, "dropped": 0, "lines": {}}
        title = {"ph": "M", "pid": pid, "tid": 0, "name": "process_name", "args": {"name": name}}
        files[name] = tmp_path / f"{name}.json"
        profiles.write(files[name], about, [title, *own])
    return files


@pytest.mark.parametrize("order", [("alice", "bob", "dealer"), ("dealer", "alice", "bob")])
def test_parts_of_several_machines_are_put_on_one_clock(parts, order, tmp_path):
    merged = tmp_path / "merged.json"
    shown = CliRunner().invoke(main, ["profile", *(str(parts[name]) for name in order), "--out", str(merged)])
    assert shown.exit_code == 0 and all(name in shown.output for name in order), shown.output
    first = {pid: min(e["ts"] for e in profiles.events(merged) if e["pid"] == pid and e["ph"] == "X") for pid in (1, 3)}
    assert first[3] == pytest.approx(first[1], abs=0.01), "the dealer waits since alice sends"
    waits = {
        (e["pid"], e["args"]["for"]): e["ts"] + e["dur"] for e in profiles.events(merged) if e.get("cat") == "wait"
    }
    assert waits[2, "OPEN"] == pytest.approx(first[1] + 710, abs=0.01)
    assert profiles.head(merged)["parties"] == ["alice", "bob", "dealer"]
    assert CliRunner().invoke(main, ["profile", str(merged), "--party", "bob"]).exit_code == 0


def test_what_cannot_be_merged_is_said(parts, tmp_path):
    other, early, silent, again = (tmp_path / f"{name}.json" for name in ("other", "early", "silent", "again"))
    head = profiles.head(parts["bob"])
    profiles.write(other, head | {"run": "s"}, profiles.events(parts["bob"]))
    profiles.write(early, head | {"run": ""}, [])
    profiles.write(silent, head | {"parties": ["carol"]}, [])
    profiles.write(again, profiles.head(parts["alice"]), [])
    for second, words in (
        (other, "is of another run than"),
        (early, "before this party had greeted the others"),
        (silent, "no messages both to and from"),
        (again, "both have alice's part"),
        (parts["dealer"], "no messages both to and from"),
        (parts["alice"].with_name("copy.json"), "No such file"),
    ):
        shown = CliRunner().invoke(main, ["profile", str(parts["alice"]), str(second)])
        assert shown.exit_code == 2 and words in shown.output, shown.output
