"""A large message that comes in pieces, which may come over several connections."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from mpcrt.transport.codec import Message, assemble
from mpcrt.transport.header import Frame, Header

PIECE = 1 << 17
"""The most bytes of a buffer in one piece. The first leave while the next are enciphered, and a link that is cut loses
little: after a reconnect a message goes on at the piece."""


def pieces(buffers: Iterable[Frame]) -> Iterator[memoryview]:
    """How the buffers of a message are cut, at both ends alike; an empty one has no piece."""
    for buffer in buffers:
        view = memoryview(buffer)
        for start in range(0, len(view), PIECE):
            yield view[start : start + PIECE]


def piece_count(buffers: Iterable[Frame]) -> int:
    """How many pieces the buffers have."""
    return sum(-(-len(buffer) // PIECE) for buffer in buffers)


def first_bytes(buffers: Iterable[Frame], count: int) -> int:
    """How many bytes the first `count` pieces have."""
    return sum(map(len, islice(pieces(buffers), count)))


class Arrival:
    """The pieces of one message that have come, and the places of those that have not.

    After a reconnect the sender goes on at the next piece, so that a slow link which is cut again and again gets a
    message across nevertheless. The header is said again and has to be the same bytes; no piece is taken twice.
    """

    def __init__(self, header: Header, head: bytes) -> None:
        """`head` is the header as it was received."""
        self.header, self.head = header, head
        self.taken = 0
        self._parts = [np.empty(size, np.uint8).data for size in header.layout.sizes]
        self._missing = deque(pieces(self._parts))

    @property
    def place(self) -> memoryview:
        """Where the next piece is written. It counts only once `took` says that it was the right one."""
        return self._missing[0]

    def took(self) -> None:
        """The next piece is in its place."""
        self._missing.popleft()
        self.taken += 1

    @property
    def whole(self) -> bool:
        """Whether every piece has come."""
        return not self._missing

    def message(self) -> Message:
        """The message, once it is whole."""
        return Message(self.header, assemble(self.header.layout, self._parts))
