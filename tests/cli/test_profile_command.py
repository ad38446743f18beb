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
    profiles.write(tmp_path / "p.json", {"parties": ["alice", "bob"]}, [*named, *slices])
    return tmp_path / "p.json"


def test_own_time_is_without_what_is_inside(file):
    found = profiles.spent(file)
    assert found["alice"]["step", "product", "[a].py:3"] == profiles.Spent(2, 800 + 500 - 100)
    assert found["alice"]["plan", "plan 1", ""] == profiles.Spent(2, 100 + 350)
    assert found["bob"] == {("step", "msb", "[a].py:4"): profiles.Spent(1, 70)}
    assert profiles.spent(file, last=True)["alice"]["step", "product", "[a].py:3"] == profiles.Spent(1, 400)


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
        ((file, "--party", "carol"), "has no party 'carol'; it has alice, bob"),
    ):
        shown = CliRunner().invoke(main, ["profile", *map(str, arguments)])
        assert shown.exit_code == 2 and words in shown.output, shown.output
