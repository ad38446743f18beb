"""One clock for the profile files that several machines wrote of one run, found from the messages between them.

A message is had after its sender began to send it. So each message from x to y bounds from above what y's clock is
ahead of x's, each message back bounds it from below, and the truth lies between the closest bounds: their middle is off
by at most half of the quickest round trip that the files have, as long as neither clock drifts more than that.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mpcrt.cluster import profiles
from mpcrt.errors import UsageError


class Part(NamedTuple):
    """Messages by (sender, receiver, address): when, in ns of a file's clock, sending one began, and one was had."""

    sent: dict[tuple[str, str, str], float]
    received: dict[tuple[str, str, str], float]


def starts(files: Sequence[Path]) -> dict[Path, int]:
    """When each file's time 0 was, in nanoseconds of the first file's clock.

    Raises UsageError where the files are not parts of one run that exchanged messages."""
    heads = {file: profiles.head(file) for file in files}
    whose: dict[str, Path] = {}
    for file, head in heads.items():
        if not head.get("run"):
            raise UsageError(f"{file} cannot be merged: the run ended before this party had greeted the others")
        if head["run"] != heads[files[0]]["run"]:
            raise UsageError(f"{file} is of another run than {files[0]}")
        for party in head["parties"]:
            if party in whose:
                raise UsageError(f"{whose[party]} and {file} both have {party}'s part")
            whose[party] = file
    parts = {file: read(file, head["monotonic_ns"]) for file, head in heads.items()}
    ahead = {files[0]: 0.0}
    while len(ahead) < len(parts):
        met = {file: found for file in parts.keys() - ahead if (found := difference(parts[file], ahead, parts))}
        if not met:
            file = next(file for file in files if file not in ahead)
            raise UsageError(f"{file} has no messages both to and from the parties of the other files")
        ahead |= {file: sum(bounds) / 2 for file, bounds in met.items()}
    return {file: heads[file]["monotonic_ns"] - round(ns) for file, ns in ahead.items()}


def read(file: Path, start: int) -> Part:
    """The messages that a file's parties sent and received."""
    part, names = Part({}, {}), {}
    for event in profiles.events(file):
        if event["name"] == "process_name":
            names[event["pid"]] = event["args"]["name"].split(" (")[0]
        elif event.get("cat") in ("send", "wait") and "for" in event["args"]:
            me, peer, what = names[event["pid"]], event["name"].split()[-1], event["args"]
            if event["cat"] == "send":
                part.sent[me, peer, what["for"]] = start + event["ts"] * 1000
            elif not {"unfinished", "in vain"} & what.keys():
                part.received[peer, me, what["for"]] = start + (event["ts"] + event["dur"]) * 1000
    return part


def difference(mine: Part, ahead: dict[Path, float], parts: dict[Path, Part]) -> tuple[float, float] | None:
    """At least and at most what this part's clock is ahead of the first file's, by messages with parts placed."""
    least, most = [], []
    for file, ns in ahead.items():
        theirs = parts[file]
        least += [mine.sent[m] - theirs.received[m] + ns for m in mine.sent.keys() & theirs.received.keys()]
        most += [mine.received[m] - theirs.sent[m] + ns for m in mine.received.keys() & theirs.sent.keys()]
    return (max(least), min(most)) if least and most else None
