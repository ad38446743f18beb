"""What a run came to at one party, for its closing line: seconds, rounds, bytes, and who learned what."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mpcrt.cluster.sizes import size
from mpcrt.text import listed
from mpcrt.transport.link import Link

log = logging.getLogger("mpcrt.run")

NAMED = 8
"""As many of the values that somebody learned are named in a line."""


class Account:
    """Kept by the engine, or by a process without a program, while it runs; closed once."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._learned: Counter[tuple[tuple[str, ...], str]] = Counter()
        self._calls: dict[tuple[str, ...], list[int]] = {}
        self._closed = False
        self.rounds: Callable[[], int] = int

    def learns(self, receivers: Sequence[str], what: str) -> None:
        """`receivers` have got `what`, named as logs name it: never by its data."""
        if receivers:
            self._learned[tuple(receivers), what] += 1

    def learns_of(self, receivers: Sequence[str], number: int) -> None:
        """`receivers` have got results of call `number`; what they are, this process does not know."""
        calls = self._calls.setdefault(tuple(receivers), [])
        if number not in calls[-1:]:
            calls.append(number)

    def learned(self) -> dict[tuple[str, ...], list[str]]:
        """Who, together, learned what so far, at most NAMED names each."""
        found: dict[tuple[str, ...], list[str]] = {}
        for (receivers, what), count in self._learned.items():
            found.setdefault(receivers, []).append(what + (f" ({count} times)" if count > 1 else ""))
        made = {receivers: shortened(names) for receivers, names in found.items()}
        for receivers, calls in self._calls.items():
            which = listed(shortened(list(map(str, calls))))
            made.setdefault(receivers, []).append(f"the results of call{'s' * (len(calls) > 1)} {which}")
        return made

    def close(self, link: Link, code: int) -> None:
        """Logs the line. A process that ends badly says then, as its last line, why."""
        if self._closed:
            return
        self._closed = True
        sent, received = (link.statistics.total(way).bytes for way in ("sent", "received"))
        seconds, rounds, learned = time.monotonic() - self._began, self.rounds(), self.learned()
        fields: dict[str, Any] = {
            "seconds": round(seconds, 3), "rounds": rounds, "bytes_sent": sent, "bytes_received": received,
            "learned": [{"parties": who, "values": what} for who, what in learned.items()], "exit_code": code,
        }  # fmt: skip
        told = "; ".join(f"{listed(who)} learned {', '.join(what)}" for who, what in learned.items())
        log.info(
            "%s after %.2f s: %d rounds, %s sent, %s received; %s",
            "the run is over" if code == 0 else "the run ended early", seconds, rounds, size(sent), size(received),
            told or "nothing was revealed", extra={"fields": fields},
        )  # fmt: skip


def shortened(names: list[str]) -> list[str]:
    """At most NAMED names, and how many more there are."""
    return names if len(names) <= NAMED else [*names[:NAMED], f"{len(names) - NAMED} more"]
