"""The comparison with a baseline flags what it should, and measures suspects again; the case file has every case."""

import json
import pathlib
import sys
import time

import pytest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "benchmarks"))

import charts
from measuring import Benchmark, Result, in_turn, load, regressions, save, settled


def result(seconds=1.0, reference=1.0, name="it", **counts):
    return Result(name, seconds, reference, "a reference", counts)


BASELINE = {"it": result(2.0, 1.0, rounds=10, bytes=1000).row()}


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (result(2.3, 1.0, rounds=10, bytes=1000), []),
        (result(2.5, 1.0, rounds=10, bytes=1000), ["1.25 times the baseline's time beside a reference"]),
        (result(5.0, 2.5, rounds=10, bytes=1000), []),
        (result(2.0, 1.0, rounds=13, bytes=1000), ["rounds 13 instead of 10"]),
        (result(0.5, 1.0, rounds=10, bytes=1201), ["bytes 1201 instead of 1000"]),
        (result(9.0, 1.0, rounds=99, name="new"), []),
    ],
    ids=["within", "slower", "a slower machine", "rounds", "bytes, though faster", "unknown"],
)
def test_regressions_are_ratios_and_counts_over_a_fifth(now, words):
    assert regressions(now, BASELINE) == words


@pytest.mark.parametrize(
    ("times", "kept", "measured"),
    [([2.1, 9.9, 9.9], 2.1, 1), ([3.0, 2.2, 9.9], 2.2, 2), ([3.0, 2.6, 2.9], 2.6, 3)],
    ids=["good at once", "noise", "a regression"],
)
def test_suspects_are_measured_again(times, kept, measured):
    left = list(times)
    found = settled(Benchmark("it", lambda: result(left.pop(0), 1.0, rounds=10, bytes=1000)), BASELINE)
    assert found.seconds == kept and len(times) - len(left) == measured


def test_a_baseline_keeps_what_was_not_measured(tmp_path):
    file = tmp_path / "baseline.json"
    assert load(file) == {}
    save(file, [result(1.0), result(3.0, name="other")], 12)
    save(file, [result(2.0, rounds=4)], 3)
    rows = load(file)
    assert rows["it"]["ratio"] == 2.0 and rows["it"]["counts"] == {"rounds": 4} and rows["other"]["ratio"] == 3.0
    assert {"date", "machine", "wall_seconds"} <= set(json.loads(file.read_text()))


def test_runs_are_timed_in_turn_by_the_clock_given():
    time, made = [0.0], []

    def run(name, took):
        made.append(name)
        time[0] += took

    best = in_turn([lambda: run("a", 2.0), lambda: run("b", 0.5)], 10.0, lambda: time[0])
    assert best == [2.0, 0.5] and made[:6] == ["a", "b"] * 3 and len(made) == 2 + 2 * 4


def test_charts_are_well_formed():
    import xml.etree.ElementTree as tree

    text = charts.lines(
        "seconds & bytes", "elements", "seconds", {"mul": [(1e3, 0.01), (1e6, 0.2)], "one": [(1e3, 1e-3)]}
    )
    root = tree.fromstring(text)
    shapes = [e.tag.rpartition("}")[2] for e in root.iter()]
    assert shapes.count("polyline") == 2 and shapes.count("circle") == 3
    words = "".join(root.itertext())
    assert "seconds & bytes" in words and "1k" in words and "1M" in words and "mul" in words


def test_a_sweep_goes_on_where_it_was_and_renders_twice_alike(tmp_path, monkeypatch, capsys):
    import sweep

    measured = []

    def measure(kind, size, parties):
        measured.append((kind, size, parties))
        counts = {"rounds": 1, "party_bytes": 16 * size, "dealer_bytes": 12 * size, "error": 0.0, "trace": 0.1}
        times = {"cold": 2e-6 * size, "warm": 1e-6 * size, "least": 1e-6 * size, "wall": 4.0}
        return {"kind": kind, "size": size, "parties": parties, "dealer_mb": 70, "party_mb": 190, **counts, **times}

    monkeypatch.setattr(sweep, "measure", measure)
    file, page, wanted = tmp_path / "sweep.json", tmp_path / "page.md", sweep.points()
    assert len(set(wanted)) == len(wanted) and {p for _, _, p in wanted} == {2, 3, 5}
    sweep.sweep(file, wanted, budget=5.0)
    assert not measured and "left out" in capsys.readouterr().err
    sweep.sweep(file, wanted[:3], budget=100.0)
    sweep.sweep(file, wanted, budget=100.0)
    assert measured == wanted, "each point once"
    page.write_text(f"# Page\n\n{sweep.BEGIN}\nstale words\n{sweep.END}\n\n## More\n")
    sweep.render(file, tmp_path, page)
    text = page.read_text()
    assert "stale" not in text and text.startswith("# Page") and text.endswith("## More\n")
    assert "| relu 1,000,000 | 3 | 2.00 s | 1.00 s | 1 | 16 | 12 | 190 | 70 |" in text
    assert {p.stem for p in tmp_path.glob("*.svg")} == {"size", "bytes", "memory", "gemm", "batch", "parties"}
    sweep.render(file, tmp_path, page)
    assert page.read_text() == text


def test_kernels_are_measured_at_every_level_that_there_is():
    """The portable level, which every machine has, cannot draw: it died of streams made for another level."""
    compiled = pytest.importorskip("mpcrt.ring.compiled", reason="the native kernels are not built")
    import kernels

    before = compiled.level()
    try:
        rows = list(kernels.measured(time.perf_counter, budget=0))
    finally:
        compiled.set_level(before)
    assert len(rows) > 20 and len({name for name, *_ in rows}) == len(rows)
    for name, _, base, rates in rows:
        assert list(rates) == list(compiled.levels()) and "portable" in rates, name
        assert base > 0 and all(rate > 0 for rate in rates.values()), name
