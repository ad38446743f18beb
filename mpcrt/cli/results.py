"""How `mpcrt bench` shows what it does: a progress bar on a terminal, then a table; or a JSON object a line."""

import contextlib
import json
import statistics
import sys
from collections.abc import Iterator, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mpcrt.cli.terminal import console, wide


class Results:
    """Shows a benchmark of `total` cases. Rows go to standard output, all else to standard error."""

    def __init__(self, total: int, reps: int, as_json: bool) -> None:
        self._reps, self._json = reps, as_json
        self._rows: list[dict] = []
        self._done = 0
        err = console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("runs"), TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=total * reps)

    @contextlib.contextmanager
    def shown(self) -> Iterator["Results"]:
        """Progress meanwhile; the table of what there is at the end, also after a failure."""
        try:
            with self._progress:
                yield self
        finally:
            if self._rows and not self._json:
                sys.stdout.flush()
                wide().print(table(self._rows))

    def case(self, name: str) -> None:
        self._progress.update(self._task, description=f"{name}: processes start, inputs are shared")
        self._name = name

    def repetition(self, done: int) -> None:
        self._progress.update(self._task, description=self._name, completed=self._done + done)

    def row(self, row: dict) -> None:
        self._rows.append(row)
        self._end()
        if self._json:
            print(json.dumps(row), flush=True)

    def failed(self, name: str, said: Sequence[str]) -> None:
        self._end()
        self._progress.console.print(*said, f"mpcrt: case {name} failed", sep="\n", soft_wrap=True)

    def _end(self) -> None:
        self._done = min(self._done + self._reps, round(self._progress.tasks[self._task].total or 0))
        self._progress.update(self._task, completed=self._done)


def table(rows: Sequence[dict]) -> Table:
    """All rows in one table; what is the same for all is its title."""
    first = rows[0]
    made = Table(
        title=f"{first['parties']} parties and a dealer, {first['inputs']} inputs, "
        f"{'TLS' if first['tls'] else 'plaintext links'}, {len(first['seconds'])} runs each",
        caption="cold: the first run of the plan; error: against plain JAX; peak: of the process that used most memory",
    )
    made.add_column("case", no_wrap=True)
    for name in ("median", "min", "cold", "rounds", "MB between parties", "MB from dealer", "max abs error"):
        made.add_column(name, justify="right")
    made.add_column("peak MB", justify="right")
    for row in rows:
        seconds = row["seconds"]
        most = max(row["peak_rss_mb"], key=row["peak_rss_mb"].get)
        made.add_row(
            row["case"], duration(statistics.median(seconds)), duration(min(seconds)), duration(row["cold_seconds"]),
            str(row["rounds"]), f"{row['party_bytes'] / 1e6:.3f}", f"{row['dealer_bytes'] / 1e6:.3f}",
            f"{row['max_abs_error']:.1e}", f"{row['peak_rss_mb'][most]:.0f} ({most})",
        )  # fmt: skip
    return made


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    unit, size = next(((u, s) for u, s in (("s", 1.0), ("ms", 1e-3)) if seconds >= s), ("us", 1e-6))
    return f"{seconds / size:#.3g} {unit}".replace(". ", " ")
