"""The dealer's stream of corrections to a party: strictly in order, so items need no addresses.

Items are vectors of words. Up to 64 KiB of them share a message; a larger one is a message by itself. Both ends go
through the same steps in the same order, so the reader knows every item's size.
"""

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.protocols.context import WORD, concatenated
from mpcrt.transport.link import Address, Kind, Link

DEAL = Kind.DEAL
PACKED_WORDS = 1 << 13
DEALT = 1
"""The path of the message that ends the corrections of a call dealt before its rounds, and says how many there are."""
AHEAD = 1 << 26
"""Bytes the dealer may be ahead of a party, checked every quarter of it."""
HELD = 200e-6
"""Seconds a small item may wait for others, while the dealer has more to do."""


class Reader:
    """A party's end."""

    def __init__(self, link: Link, dealer: str, call: int) -> None:
        self.link, self.dealer, self.call = link, dealer, call
        self.message = np.zeros(0, np.uint64)
        self.position = self.count = 0

    def next(self, words: int) -> np.ndarray:
        """The next item, of `words` words; ProtocolError where the stream does not fit."""
        if not words:
            return np.zeros(0, np.uint64)
        if self.position == self.message.size:
            limit = 8 * max(words, PACKED_WORDS)
            address = Address(DEAL, self.call, 0, self.count)
            arrays = self.link.recv(self.dealer, address, limit=limit)
            if len(arrays) != 1 or arrays[0].dtype != WORD or arrays[0].ndim != 1:
                raise ProtocolError(f"{self.dealer} sent a malformed correction {address}")
            self.message, self.position, self.count = arrays[0], 0, self.count + 1
        start = self.position
        self.position = end = start + words
        if end > self.message.size:
            raise ProtocolError(f"{self.dealer} sent a correction of another size than {words} words")
        return self.message[start:end]

    def end(self) -> None:
        if self.position != self.message.size:
            raise ProtocolError(f"{self.dealer} sent corrections that call {self.call} does not use")


class Box:
    """What waits for one party: `words` words; the number of its next message; bytes sent since it was last asked what
    it has taken."""

    __slots__ = ("number", "party", "unchecked", "waiting", "words")

    def __init__(self, party: str) -> None:
        self.party = party
        self.waiting: list[np.ndarray] = []
        self.words = self.number = self.unchecked = 0


class Writer:
    """The dealer's end, to all parties; ahead of each by about AHEAD bytes at most, `offline` by all there is."""

    def __init__(self, link: Link, parties: Sequence[str], call: int, offline: bool = False) -> None:
        self.link, self.call, self.offline = link, call, offline
        self.boxes = [Box(party) for party in parties]
        self.since = 0.0  # when the oldest waiting item came
        self.begun = False

    def add(self, receiver: int, words: np.ndarray) -> None:
        """An item for a party, by its number."""
        box, size = self.boxes[receiver], words.size
        if not size:
            return
        if box.words + size > PACKED_WORDS:
            self.flush(box)
        if not self.since:
            self.since = perf_counter()
        box.waiting.append(words)
        box.words += size
        if size > PACKED_WORDS:
            self.flush(box)
            if box.unchecked > AHEAD // 4 and not self.offline:
                self.wait(box)

    def wait(self, box: Box) -> None:
        """Backpressure. All else leaves first: a party may be waiting for what another has not got yet."""
        self.end()
        self.link.drain(box.party, AHEAD)
        box.unchecked = 0

    def tick(self) -> None:
        """Between steps: small items do not wait for long while the dealer computes something large."""
        if self.since and perf_counter() - self.since > HELD:
            self.end()

    def begin(self) -> None:
        """After the steps that lead to a level's openings: the first of a call leave, parties wait for them. The others
        follow together, while what these led to travels between the parties."""
        if self.since and not self.begun:
            self.end()

    def flush(self, box: Box) -> None:
        if not box.waiting:
            return
        message = concatenated(box.waiting)
        self.link.send(box.party, Address(DEAL, self.call, 0, box.number), message)
        box.unchecked += message.nbytes
        box.waiting, box.words = [], 0
        box.number += 1

    def end(self) -> None:
        for box in self.boxes:
            self.flush(box)
        self.since, self.begun = 0.0, True

    def close(self) -> None:
        """Ends the call; `offline`, tells the parties that all of it is there."""
        self.end()
        if self.offline:
            for box in self.boxes:
                self.link.send(box.party, Address(DEAL, self.call, DEALT), np.full(1, box.number, np.uint64))
