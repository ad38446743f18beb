"""Profile files: trace-event JSON with an event a line, which ui.perfetto.dev and chrome://tracing open.

The first line holds what describes the file, under `otherData`: `epoch_ns` and `monotonic_ns`, the wall clock and this
machine's monotonic clock at time 0; the party or parties; `run`, the same in all files of a run; how many events were
dropped; and `lines`, the source lines of plans by fingerprint and node. Times in events are microseconds.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mpcrt.text import plain

Event = dict[str, Any]
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that is no profile."""


def write(file: Path, about: dict[str, Any], events: Iterable[Event]) -> None:
    """Write a file in one piece: it is there whole or, after a failure, as it was."""
    unfinished = file.with_name(file.name + ".part")
    try:
        with open(unfinished, "w", encoding="utf-8") as out:
            out.write(json.dumps({"displayTimeUnit": "ms", "otherData": about})[:-1] + ', "traceEvents": [')
            separator = "\n"
            for event in events:
                out.write(separator + json.dumps(event))
                separator = ",\n"
            out.write("\n]}\n")
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def merge(
    file: Path, parts: Iterable[Path], missing: Iterable[str] = (), starts: Mapping[Path, int] | None = None
) -> None:
    """Write the events of `parts` on one clock: this machine's monotonic one, which made them all, or that of `starts`.

    Steps of processes that have no source lines, such as the dealer's, get them from those that have.
    """
    abouts = {part: head(part) for part in parts}
    if not abouts:
        return
    for part, start in (starts or {}).items():
        abouts[part]["monotonic_ns"] = start
    first = min(abouts.values(), key=lambda about: about["monotonic_ns"])
    lines = {plan: found for about in abouts.values() for plan, found in about["lines"].items() if found}
    about = {
        "parties": sorted({name for a in abouts.values() for name in a["parties"]}),
        "run": first.get("run", ""),
        "missing": sorted({*missing, *(name for a in abouts.values() for name in a.get("missing", ()))}),
        "epoch_ns": first["epoch_ns"],
        "monotonic_ns": first["monotonic_ns"],
        "dropped": sum(a["dropped"] for a in abouts.values()),
        "lines": lines,
    }

    def shifted() -> Iterator[Event]:
        for part, a in abouts.items():
            later = (a["monotonic_ns"] - first["monotonic_ns"]) / 1000
            for event in events(part):
                if "ts" in event:
                    event["ts"] = round(event["ts"] + later, 3)
                add_line(event, lines)
                yield event

    write(file, about, shifted())


def add_line(event: Event, lines: dict[str, list[str]]) -> None:
    """Give a step's event its source line, where that is known and not there yet."""
    details = event.get("args", {})
    if "node" in details and "line" not in details:
        found, node = lines.get(details["plan"], ()), details["node"]
        if node < len(found) and found[node]:
            details["line"] = found[node]


def head(file: Path) -> dict[str, Any]:
    """What describes a profile file."""
    with open(file, encoding="utf-8") as text:
        return json.loads(text.readline().rstrip("\n") + "]}")["otherData"]


def events(file: Path) -> Iterator[Event]:
    """The events of a profile file, one at a time."""
    with open(file, encoding="utf-8") as text:
        yield from _events(text)


def _events(text: TextIO) -> Iterator[Event]:
    text.readline()
    for line in text:
        if line.startswith("]"):
            return
        yield json.loads(line.rstrip().removesuffix(","))


@dataclass
class Spent:
    """Slices alike: how many, and the microseconds in them but in none that they contain."""

    count: int = 0
    own: float = 0.0


def spent(file: Path, last: bool = False) -> dict[str, dict[tuple[str, str, str], Spent]]:
    """Party -> (kind, name, source line) -> what was spent there; `last`: within each party's last run of a plan.

    Names and lines are plain text. Raises one of MALFORMED for a file that is no profile."""
    head(file)
    names: dict[int, str] = {}
    tracks: dict[tuple[int, int], list[Event]] = {}
    for event in events(file):
        if event["ph"] == "X":
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
        elif event["name"] == "process_name":
            names[event["pid"]] = plain(event["args"]["name"], 100)
    found: dict[str, dict[tuple[str, str, str], Spent]] = {name: {} for name in names.values()}
    for (party, _), track in tracks.items():
        track.sort(key=lambda e: (e["ts"], -e["dur"]))
        plans = [e for e in track if e["cat"] == "plan"]
        if last:
            track = [e for e in track if plans and plans[-1]["ts"] <= e["ts"] <= plans[-1]["ts"] + plans[-1]["dur"]]
        add_own(track, found[names[party]])
    return found


def add_own(track: list[Event], found: dict[tuple[str, str, str], Spent]) -> None:
    """Adds the slices of a thread, in order, to `found`: each one's time without that of the slices in it."""
    around: list[tuple[float, Spent]] = []
    for event in track:
        while around and around[-1][0] <= event["ts"]:
            around.pop()
        name, line = plain(event["name"], 100), plain(event["args"].get("line", ""))
        mine = found.setdefault((event["cat"], name, line), Spent())
        mine.count += 1
        mine.own += event["dur"]
        if around:
            around[-1][1].own -= event["dur"]
        around.append((event["ts"] + event["dur"], mine))


@dataclass
class Traffic:
    """What a party exchanged: rounds of openings, and the bytes it sent to each peer, headers included."""

    rounds: int = 0
    sent: dict[str, int] = field(default_factory=dict)


def traffic(file: Path, last: bool = False) -> dict[str, Traffic]:
    """Party -> what it exchanged; `last`: within its last run of a plan. A dealer has no rounds: it opens nothing.

    Raises as `spent` does."""
    names: dict[int, str] = {}
    plans: dict[int, tuple[float, float]] = {}
    exchanges: dict[int, list[float]] = {}
    counters: dict[tuple[int, str], list[tuple[float, dict[str, int]]]] = {}
    for event in events(file):
        if event["name"] == "process_name":
            names[event["pid"]] = plain(event["args"]["name"], 100)
        elif event["ph"] == "C":
            peer = plain(event["name"].removeprefix("bytes sent to "), 100)
            counters.setdefault((event["pid"], peer), []).append((event["ts"], event["args"]))
        elif event["ph"] == "X" and event["cat"] == "exchange":
            exchanges.setdefault(event["pid"], []).append(event["ts"])
        elif event["ph"] == "X" and event["cat"] == "plan":
            plans[event["pid"]] = max(plans.get(event["pid"], (0.0, 0.0)), (event["ts"], event["ts"] + event["dur"]))
    whole = float("-inf"), float("inf")
    found = {name: Traffic() for name in names.values()}
    opens = set()
    for (pid, peer), totals in counters.items():
        start, end = plans.get(pid, (0.0, 0.0)) if last else whole
        before = max((counts for at, counts in totals if at < start), key=_all, default={})
        after = max((counts for at, counts in totals if at <= end), key=_all, default={})
        found[names[pid]].sent[peer] = _all(after) - _all(before)
        if after.get("OPEN"):
            opens.add(pid)
    for pid in opens:
        start, end = plans.get(pid, (0.0, 0.0)) if last else whole
        found[names[pid]].rounds = sum(start <= at <= end for at in exchanges.get(pid, ()))
    return found


def _all(counts: Mapping[str, int]) -> int:
    return sum(counts.values())
