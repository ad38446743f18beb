"""What all benchmarks share: times beside a reference of the same run, and comparison with a saved baseline.

A result is a ratio: our least time over that of a reference measured beside it, so that a slower or busier machine
moves both. Rounds and bytes do not vary at all and are compared as well.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

TOLERANCE = 1.2
"""What counts as a regression: this many times the baseline."""
AGAIN = 2
"""How often a suspect is measured again before it counts; its best result stays."""

Clock = Callable[[], float]
Run = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """`seconds` and `reference` are least times; `counts` are rounds and bytes, the same in every run."""

    name: str
    seconds: float
    reference: float
    versus: str
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        return self.seconds / self.reference

    def row(self) -> dict:
        return asdict(self) | {"counts": dict(self.counts), "ratio": self.ratio}


@dataclass(frozen=True)
class Benchmark:
    """Something that can be measured, and again."""

    name: str
    measure: Callable[[], Result]


def least(run: Run, budget: float, clock: Clock = time.perf_counter, most: int = 200) -> float:
    """The least time of a call within about `budget` seconds, after one to warm up."""
    return in_turn([run], budget, clock, most)[0]


def in_turn(runs: list[Run], budget: float, clock: Clock = time.perf_counter, most: int = 200) -> list[float]:
    """The least time of each of several calls, made in turn so that a busy moment meets all. At least two of each."""
    for run in runs:
        run()
    best, spent, count = [float("inf")] * len(runs), 0.0, 0
    while count < 2 or (spent < budget and count < most):
        for i, run in enumerate(runs):
            start = clock()
            run()
            took = clock() - start
            best[i], spent = min(best[i], took), spent + took
        count += 1
    return best


# -- the baseline


def load(file: Path) -> dict[str, dict]:
    """Name -> row of a saved baseline; empty where there is none yet."""
    return json.loads(file.read_text())["results"] if file.exists() else {}


def save(file: Path, results: list[Result], wall: float) -> None:
    """Results over those of the same names in the file, with the machine and the date."""
    kept = load(file) | {r.name: r.row() for r in results}
    about = {"date": datetime.date.today().isoformat(), "machine": machine(), "wall_seconds": round(wall)}
    file.write_text(json.dumps(about | {"results": dict(sorted(kept.items()))}, indent=1) + "\n")


def regressions(result: Result, baseline: Mapping[str, dict], tolerance: float = TOLERANCE) -> list[str]:
    """What of a result is worse than its baseline by more than `tolerance`, in words; nothing for a new name."""
    before = baseline.get(result.name)
    if before is None:
        return []
    found = []
    if result.ratio > tolerance * before["ratio"]:
        found.append(f"{result.ratio / before['ratio']:.2f} times the baseline's time beside {result.versus}")
    for name, count in result.counts.items():
        if count > tolerance * before["counts"].get(name, count):
            found.append(f"{name} {count} instead of {before['counts'][name]}")
    return found


def settled(benchmark: Benchmark, baseline: Mapping[str, dict], tolerance: float = TOLERANCE) -> Result:
    """A measurement; of a suspect the least times of a few, since noise only makes things slower."""
    result = benchmark.measure()
    for _ in range(AGAIN):
        if not regressions(result, baseline, tolerance):
            break
        again = benchmark.measure()
        least_of_both = min(result.seconds, again.seconds), min(result.reference, again.reference)
        result = Result(result.name, *least_of_both, result.versus, again.counts)
    return result


def machine() -> str:
    """The processor and how many cores this process may use."""
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{len(os.sched_getaffinity(0))} cores of {model}, load {os.getloadavg()[0]:.1f}"
