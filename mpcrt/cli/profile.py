"""`mpcrt profile`: where the time in a profile went, as tables for a terminal."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from rich.table import Table

from mpcrt.cli.results import duration
from mpcrt.cli.shell import HELP
from mpcrt.cli.terminal import wide
from mpcrt.cluster import clocks, profiles
from mpcrt.cluster.profiles import Spent, Traffic
from mpcrt.cluster.signals import terminating_signals
from mpcrt.cluster.sizes import size
from mpcrt.errors import UsageError

WORDS = {
    "step": "computing steps", "wait": "waiting for others", "send": "sending", "exchange": "packing openings",
    "compile": "tracing", "input": "encoding inputs", "python": "party functions", "plan": "between steps",
    "call": "the rest of calls",
}  # fmt: skip


@click.command(context_settings=HELP, short_help="Show where the time of a run went.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--party", metavar="NAME", help="This party's steps only.")
@click.option("--last", is_flag=True, help="Only the last run of a plan, when all is warm.")
@click.option("--top", type=click.IntRange(1), default=12, show_default=True, help="How many lines of steps to show.")
@click.option("--out", type=click.Path(path_type=Path), help="Write several FILEs merged, on one clock, to this one.")
def profile(files: tuple[Path, ...], party: str | None, last: bool, top: int, out: Path | None) -> None:
    """Show where the time went in FILE, which `--profile` of `mpcrt run` or `mpcrt bench` wrote.

    The first table has what each process did, its rounds and the bytes that it sent, the second the steps that took
    most of a process's own time, by name and line of your program. For the order of things open FILE in https://ui.perfetto.dev.

    Several FILEs are the parts that the parties of one run wrote on their own machines. Their clocks are put right by
    the messages that they exchanged.

    \b
    Example:
      mpcrt bench cases.py mlp --cluster cluster_configs/two_party_plain.yaml --profile mlp.json
      mpcrt profile mlp.json --last
      mpcrt profile alice.json bob.json dealer.json --out run.json
    """
    for file in files:
        with refusing(file):
            profiles.head(file)
    shown = files[0]
    with terminating_signals(), tempfile.TemporaryDirectory() as scratch, refusing(out or files[0]):
        if len(files) > 1 or out is not None:
            shown = out or Path(scratch) / "merged"
            profiles.merge(shown, files, starts=clocks.starts(files))
        found, exchanged = profiles.spent(shown, last), profiles.traffic(shown, last)
        first = overview(found, exchanged)
    if party is not None and party not in found:
        raise UsageError(f"{', '.join(map(str, files))}: no party {party!r}, only {', '.join(found)}")
    console = wide()
    console.print(first)
    console.print(steps({name: rows for name, rows in found.items() if party in (None, name)}, top))


@contextlib.contextmanager
def refusing(file: Path) -> Iterator[None]:
    """Say so where `file` cannot be read, or is something else."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename or file}: {error.strerror}") from None
    except profiles.MALFORMED:
        raise UsageError(f"{file} is no profile of mpcrt's") from None


def overview(found: Mapping[str, Mapping[tuple[str, str, str], Spent]], exchanged: Mapping[str, Traffic]) -> Table:
    """Milliseconds by kind and process, then its rounds and the bytes that it sent."""
    made = Table(title="what each process did")
    made.add_column("")
    sums: dict[str, Counter[str]] = {}
    for name, rows in found.items():
        made.add_column(name, justify="right")
        sums[name] = Counter()
        for (kind, _, _), spent in rows.items():
            sums[name][kind] += round(spent.own)
    for kind, words in WORDS.items():
        if any(total[kind] for total in sums.values()):
            made.add_row(words, *(duration(total[kind] / 1e6) if total[kind] else "" for total in sums.values()))
    made.add_section()
    made.add_row("rounds", *(str(exchanged[name].rounds or "") for name in found))
    for peer in dict.fromkeys(peer for traffic in exchanged.values() for peer in traffic.sent):
        sent = [exchanged[name].sent.get(peer) for name in found]
        made.add_row(f"sent to {peer}", *("" if count is None else size(count) for count in sent))
    return made


def steps(found: Mapping[str, Mapping[tuple[str, str, str], Spent]], top: int) -> Table:
    """The steps with the most time of their own."""
    made = Table(title="steps, by time of their own")
    for name in ("party", "step", "line"):
        made.add_column(name)
    for name in ("runs", "time", "of its steps"):
        made.add_column(name, justify="right")
    totals = {name: sum(s.own for (kind, _, _), s in rows.items() if kind == "step") for name, rows in found.items()}
    all_ = [
        (s, name, step, line)
        for name, rows in found.items()
        for (kind, step, line), s in rows.items()
        if kind == "step"
    ]
    for spent, name, step, line in sorted(all_, key=lambda row: -row[0].own)[:top]:
        share = spent.own / max(totals[name], 1e-9)
        made.add_row(name, step, line or "(constants)", str(spent.count), duration(spent.own / 1e6), f"{share:.0%}")
    return made
