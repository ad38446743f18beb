"""`mpcrt profile`: where the time in a profile went, as tables for a terminal."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mpcrt.cli.results import NOT_A_TERMINAL, duration
from mpcrt.cli.shell import HELP
from mpcrt.cluster import profiles
from mpcrt.cluster.profiles import Spent
from mpcrt.errors import UsageError

WORDS = {
    "step": "computing steps", "wait": "waiting for others", "send": "sending", "exchange": "packing openings",
    "compile": "tracing", "input": "encoding inputs", "python": "party functions", "plan": "between steps",
    "call": "the rest of calls",
}  # fmt: skip


@click.command(context_settings=HELP)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--party", metavar="NAME", help="This party's steps only.")
@click.option("--last", is_flag=True, help="Only the last run of a plan, when all is warm.")
@click.option("--top", type=click.IntRange(1), default=12, show_default=True, help="How many lines of steps to show.")
def profile(file: Path, party: str | None, last: bool, top: int) -> None:
    """Show where the time went in FILE, which `--profile` of `mpcrt run` or `mpcrt bench` wrote.

    The first table has what each process did, the second the steps that took most of a process's own time, by name and
    line of your program. For the order of things open FILE in https://ui.perfetto.dev.

    \b
    Example:
      mpcrt bench cases.py mlp --cluster cluster_configs/two_party_plain.yaml --profile mlp.json
      mpcrt profile mlp.json --last
    """
    try:
        found = profiles.spent(file, last)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{file} is no profile of mpcrt's") from None
    if party is not None and party not in found:
        raise UsageError(f"{file} has no party {party!r}; it has {', '.join(found)}")
    console = Console(width=None if Console().is_terminal else NOT_A_TERMINAL, highlight=False)
    console.print(overview(found))
    console.print(steps({name: rows for name, rows in found.items() if party in (None, name)}, top))


def overview(found: Mapping[str, Mapping[tuple[str, str, str], Spent]]) -> Table:
    """Milliseconds by kind and process."""
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
        made.add_row(
            name, step, escape(line) or "(constants)", str(spent.count), duration(spent.own / 1e6), f"{share:.0%}"
        )
    return made
