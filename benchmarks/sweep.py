"""How time, bytes and memory grow with size, parties and batch: cold and warm, each point a run of its own processes.

    python benchmarks/sweep.py [--budget 720] [--only relu] [--most 10000]     measure what is missing, then render
    python benchmarks/sweep.py --render                                        render what there is

Results go to docs/sweeps/sweep.json after every point, so that a sweep that was interrupted goes on where it was;
--fresh begins anew. Rendering makes docs/sweeps/*.svg and the tables between the marks in docs/performance.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import charts
import sweep_cases
from measuring import machine

from mpcrt.cli.results import duration
from mpcrt.cluster import config as configs
from mpcrt.runtime.bench import run_bench

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- sweeps: made by benchmarks/sweep.py -->", "<!-- end of sweeps -->"
NOTE = """
Measured {date} on {machine} by `benchmarks/sweep.py`: every point processes of its own on
one machine, plaintext links, secret inputs. Cold is the first run of a plan, after tracing and sharing inputs; warm the
median of the runs after it. Memory is the peak of the largest party and of the dealer, Python and JAX included.
"""
PARTIES = (2, 3, 5)
ACROSS_PARTIES = [("mul", 1_000_000), ("relu", 1_000), ("relu", 100_000), ("relu", 1_000_000), ("gemm", 512)]
SLOW = 3_000_000


def points() -> list[tuple[str, int, int]]:
    """(kind, size, parties), the quick ones first, so that a short budget gives the most."""
    made = [(kind, size, 2) for kind, (_, sizes) in sweep_cases.KINDS.items() for size in sizes]
    made += [(kind, size, parties) for kind, size in ACROSS_PARTIES for parties in PARTIES[1:]]
    return sorted(made, key=lambda p: work(p[0], p[1]) * p[2])


def work(kind: str, size: int) -> int:
    return size**3 // 500 if kind == "gemm" else size * 100 if kind == "mlp" else size


class Row:
    """Takes the row of one run."""

    def __init__(self) -> None:
        self.found: dict | None = None

    def case(self, name: str) -> None:
        pass

    def repetition(self, done: int) -> None:
        pass

    def row(self, row: dict) -> None:
        self.found = row

    def failed(self, name: str, said: Sequence[str]) -> None:
        print(*said[-5:], sep="\n", file=sys.stderr)


def measure(kind: str, size: int, parties: int) -> dict:
    """One point; `failed` in place of results where the run failed."""
    taken, started = Row(), time.monotonic()
    config = configs.local(parties, tls="off")
    reps = 3 if work(kind, size) > SLOW else 7
    code = run_bench(Path(sweep_cases.__file__), [f"{kind} {size}"], config, taken, reps=reps)
    if code == 130:
        raise KeyboardInterrupt
    about = {"kind": kind, "size": size, "parties": parties, "wall": round(time.monotonic() - started, 1)}
    if taken.found is None:
        return about | {"failed": True}
    memory = dict(taken.found["peak_rss_mb"])
    return about | {
        "cold": taken.found["cold_seconds"], "warm": statistics.median(taken.found["seconds"]),
        "least": min(taken.found["seconds"]), "trace": taken.found["trace_seconds"], "rounds": taken.found["rounds"],
        "party_bytes": taken.found["party_bytes"], "dealer_bytes": taken.found["dealer_bytes"],
        "dealer_mb": memory.pop("dealer"), "party_mb": max(memory.values()), "error": taken.found["max_abs_error"],
    }  # fmt: skip


def sweep(file: Path, wanted: list[tuple[str, int, int]], budget: float) -> None:
    """Measure what the file lacks, the longest at the end and none that would likely pass the budget."""
    data = json.loads(file.read_text()) if file.exists() else {"points": []}
    done = {(p["kind"], p["size"], p["parties"]) for p in data["points"] if "failed" not in p}
    left, start = [p for p in wanted if p not in done], time.monotonic()
    expected = 10.0
    for number, point in enumerate(left):
        spent = time.monotonic() - start
        if spent + expected > budget:
            print(f"{len(left) - number} points left out: {spent:.0f} s of {budget:.0f} are over", file=sys.stderr)
            return
        kind, size, parties = point
        print(
            f"{number + 1}/{len(left)}  {spent:4.0f} s  {kind} {size}, {parties} parties", file=sys.stderr, flush=True
        )
        row = measure(*point)
        expected = max(expected * 0.7, 1.5 * row["wall"])
        others = [p for p in data["points"] if (p["kind"], p["size"], p["parties"]) != point]
        data |= {"machine": machine(), "date": datetime.date.today().isoformat(), "points": [*others, row]}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data, indent=1) + "\n")


# -- rendering


def render(file: Path, folder: Path, page: Path) -> None:
    """Plots beside the results, tables into the page."""
    data = json.loads(file.read_text())
    found = sorted((p for p in data["points"] if "failed" not in p), key=lambda p: (p["size"], p["parties"]))
    drawn = dict(plots(found))
    for name, text in drawn.items():
        (folder / f"{name}.svg").write_text(text)
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    shown = "\n".join(tables(found, data, drawn))
    page.write_text(f"{before.rstrip()}\n\n{BEGIN}\n{shown}\n{END}\n\n{after.strip()}".rstrip() + "\n")


def plots(found: list[dict]) -> Iterator[tuple[str, str]]:
    """Name and SVG of each plot for which there are points."""

    def of(kind: str, field: str, parties: int = 2, scale: float = 1.0) -> list[tuple[float, float]]:
        return [(p["size"], p[field] * scale) for p in found if (p["kind"], p["parties"]) == (kind, parties)]

    small = ("mul", "relu", "exp")
    times = {f"{k}{how}": of(k, field) for k in small for how, field in (("", "warm"), (", cold", "cold"))}
    sent = {f"{k}, {who}": of(k, f"{who}_bytes") for k in small for who in ("party", "dealer")}
    memory = {"a party": of("exp", "party_mb"), "the dealer": of("exp", "dealer_mb")}
    parties = {
        f"{kind} {charts.short(size)}": [
            (p["parties"], p["warm"]) for p in found if (p["kind"], p["size"]) == (kind, size)
        ]
        for kind, size in ACROSS_PARTIES
    }
    both = ("warm", "cold")
    for name, title, across, up, series in (
        ("size", "element-wise functions, 2 parties", "elements", "seconds", times),
        ("bytes", "bytes between parties, and from the dealer", "elements", "bytes", sent),
        ("memory", "exp: peak memory of a process", "elements", "MB", memory),
        ("gemm", "square matrix products", "rows", "seconds", {k: of("gemm", k) for k in both}),
        ("batch", "MLP 784-128-128-10", "rows of input", "seconds", {k: of("mlp", k) for k in both}),
        ("parties", "parties", "computing parties", "seconds, warm", parties),
    ):
        if drawn := {k: line for k, line in series.items() if line}:
            yield name, charts.lines(title, across, up, drawn)


def tables(found: list[dict], data: dict, drawn: Collection[str]) -> Iterator[str]:
    """Markdown: what the plots show, in numbers."""
    yield NOTE.format(**data)
    for title, names, kinds, parties in (
        ("By size, two parties", ("size", "bytes", "memory"), ("mul", "relu", "exp"), (2,)),
        ("Matrix products, two parties", ("gemm",), ("gemm",), (2,)),
        ("An MLP by batch, two parties", ("batch",), ("mlp",), (2,)),
        ("By the number of parties", ("parties",), tuple(sweep_cases.KINDS), PARTIES),
    ):
        rows = [p for p in found if p["kind"] in kinds and p["parties"] in parties]
        if len(parties) > 1:
            rows = sorted((p for p in rows if (p["kind"], p["size"]) in ACROSS_PARTIES), key=order)
        else:
            rows.sort(key=lambda p: (kinds.index(p["kind"]), p["size"]))
        if rows:
            yield f"**{title}**\n\n" + " ".join(f"![{n}](sweeps/{n}.svg)" for n in names if n in drawn) + "\n"
            yield from table(rows)


def order(point: dict) -> tuple:
    return ACROSS_PARTIES.index((point["kind"], point["size"])), point["parties"]


def table(rows: list[dict]) -> Iterator[str]:
    yield "| what | parties | cold | warm | rounds | MB between parties | MB from dealer | party MB | dealer MB |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for p in rows:
        cells = [f"{p['kind']} {p['size']:,}", p["parties"], duration(p["cold"]), duration(p["warm"]), p["rounds"]]
        cells += [f"{p[k] / 1e6:.3g}" for k in ("party_bytes", "dealer_bytes")]
        cells += [f"{p[k]:.0f}" for k in ("party_mb", "dealer_mb")]
        yield f"| {' | '.join(map(str, cells))} |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=720.0, help="seconds in all")
    parser.add_argument("--only", default="", help="kinds of this name")
    parser.add_argument("--most", type=int, default=1 << 40, help="up to this size")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--folder", type=Path, default=DOCS / "sweeps", help="results and plots")
    parser.add_argument("--page", type=Path, default=DOCS / "performance.md")
    options = parser.parse_args()
    file = options.folder / "sweep.json"
    if not options.render:
        if options.fresh:
            file.unlink(missing_ok=True)
        wanted = [p for p in points() if options.only in ("", p[0]) and p[1] <= options.most]
        try:
            sweep(file, wanted, options.budget)
        except KeyboardInterrupt:
            print("interrupted; what is there is kept", file=sys.stderr)
    if file.exists():
        render(file, options.folder, options.page)


if __name__ == "__main__":
    main()
