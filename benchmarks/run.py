"""The project's benchmarks beside references of the same run, compared with a saved baseline.

    scripts/benchmarks [--suite kernels|links|calls|functions|cases] [--only TEXT] [--save]

A regression is a ratio to the reference, or a count of rounds or bytes, more than 20% above the baseline's, still so
when measured twice again. Ends with 1 if there is one. Run it on an idle machine; about four minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

from measuring import Benchmark, Result, load, regressions, save, settled
from rich.console import Console
from rich.table import Table
from suites import SUITES

from mpcrt.cli.results import duration

BASELINE = Path(__file__).with_name("baseline.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", choices=SUITES, help="this suite only; may be given again")
    parser.add_argument("--only", default="", help="names that contain this text")
    parser.add_argument("--save", action="store_true", help="make the results the baseline")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--json", action="store_true", help="one JSON object a result and line instead of a table")
    options = parser.parse_args()
    baseline = {} if options.save else load(options.baseline)
    start, results = time.monotonic(), []
    try:
        for suite in options.suite or SUITES:
            with contextlib.closing(SUITES[suite]()) as benchmarks:  # type: ignore[type-var]
                for benchmark in benchmarks:
                    if options.only in benchmark.name:
                        results.append(told(benchmark, baseline, options.json, start))
    finally:
        if not options.json:
            Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table(results, baseline))
    if options.save:
        save(options.baseline, results, time.monotonic() - start)
        print(f"saved {len(results)} results to {options.baseline}", file=sys.stderr)
        return 0
    bad = {r.name: found for r in results if (found := regressions(r, baseline))}
    for name, found in bad.items():
        print(f"REGRESSION {name}: {'; '.join(found)}", file=sys.stderr)
    known = sum(r.name in baseline for r in results)
    print(
        f"{len(results)} measured, {known} compared, {len(bad)} worse, in {time.monotonic() - start:.0f} s",
        file=sys.stderr,
    )
    return 1 if bad else 0


def told(benchmark: Benchmark, baseline: dict, as_json: bool, start: float) -> Result:
    """Measure, saying so meanwhile on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{time.monotonic() - start:4.0f} s  {benchmark.name}", end="", file=sys.stderr, flush=True)
    result = settled(benchmark, baseline)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps(result.row()), flush=True)
    return result


def table(results: list[Result], baseline: dict[str, dict]) -> Table:
    made = Table(caption="ratio: our time over the reference's; change: against the baseline's ratio")
    made.add_column("benchmark", no_wrap=True)
    for name in ("ours", "reference", "ratio", "change", "rounds", "MB between parties", "MB from dealer"):
        made.add_column(name, justify="right")
    for r in results:
        before = baseline.get(r.name)
        change = f"{100 * (r.ratio / before['ratio'] - 1):+.0f}%" if before else "new"
        megabytes = [f"{r.counts[k] / 1e6:.3f}" if k in r.counts else "" for k in ("party bytes", "dealer bytes")]
        made.add_row(
            r.name, duration(r.seconds), f"{duration(r.reference)} {r.versus}", f"{r.ratio:.3g}", change,
            str(r.counts.get("rounds", "")), *megabytes, style="red" if regressions(r, baseline) else "",
        )  # fmt: skip
    return made


if __name__ == "__main__":
    sys.exit(main())
