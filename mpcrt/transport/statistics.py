"""What crossed a link: payload bytes and messages per peer and kind, and a hook that sees every buffer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Recorder: TypeAlias = Callable[[str, str, Any, Sequence[np.ndarray]], None]
"""(direction "sent" or "received", peer, address, buffers); may run on the link's watcher thread."""


@dataclass(slots=True)
class Count:
    """Messages, their payload bytes, and the header bytes (padding included) around them."""

    messages: int = 0
    payload: int = 0
    header: int = 0

    @property
    def bytes(self) -> int:
        """All that crossed."""
        return self.payload + self.header

    def __add__(self, other: Count) -> Count:
        return Count(self.messages + other.messages, self.payload + other.payload, self.header + other.header)


@dataclass(slots=True)
class Statistics:
    """Counts by (peer, kind) in each direction. Retransmissions and control messages are counted apart."""

    sent: dict[tuple[str, int], Count] = field(default_factory=dict)
    received: dict[tuple[str, int], Count] = field(default_factory=dict)
    resent: Count = field(default_factory=Count)
    control: Count = field(default_factory=Count)
    reconnects: int = 0
    recorder: Recorder | None = None

    def record(
        self, direction: str, peer: str, address: Any, buffers: Sequence[np.ndarray], payload: int, header: int
    ) -> None:
        """Count one message and show it to the recorder."""
        counts = self.sent if direction == "sent" else self.received
        count = counts.get((peer, address.kind))
        if count is None:
            count = counts[peer, int(address.kind)] = Count()
        count.messages += 1
        count.payload += payload
        count.header += header
        if self.recorder is not None:
            self.recorder(direction, peer, address, buffers)

    def total(self, direction: str, *, peer: str | None = None, kind: int | None = None) -> Count:
        """The sum over peers and kinds, or over one of them."""
        total = Count()
        for (name, number), count in list((self.sent if direction == "sent" else self.received).items()):
            if peer in (None, name) and kind in (None, number):
                total += count
        return total

    def snapshot(self) -> Statistics:
        """A copy to subtract from: what the counts are now, without the recorder."""
        return Statistics(
            sent={key: count + Count() for key, count in list(self.sent.items())},
            received={key: count + Count() for key, count in list(self.received.items())},
            resent=self.resent + Count(),
            control=self.control + Count(),
            reconnects=self.reconnects,
        )
