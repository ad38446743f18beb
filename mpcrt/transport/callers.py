"""How much each TCP connection to this party has received, and for how long nothing: the kernel's count.

ZeroMQ shows a message once it is whole, of however many frames, and takes any number of messages and connections. So
what others make it keep is bounded here: Linux says how many bytes have come over a connection (RFC 4898's
ThruOctetsReceived), and a connection over which too many came is cut. The same count says that a
peer is there while a frame of its is still on its way; ZeroMQ's own heartbeat knows of whole frames only.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

CALLERS = 256
"""Accepted connections that have not greeted; one more cuts any of them, so that a flood lets some peers through."""
CALLER_BYTES = 1 << 17
"""That may come from somebody who has not greeted: OpenSSL takes 100 KiB of certificates at most."""
COUNTED = sys.platform == "linux" and hasattr(socket, "TCP_INFO")
"""Whether this kernel counts a connection's bytes."""
CALLER_SECONDS = 10.0
"""For which a caller that has not greeted may be silent once it has said something."""
LOOK_SECONDS = 0.25
"""That one look counts for at most: who looks late has not been waiting for all that time."""
_INFO_BYTES, _RECEIVED = 136, slice(128, 136)
"""The opening of Linux's `struct tcp_info`, and its field tcpi_bytes_received."""
T = TypeVar("T")


class Wire:
    """One of ZeroMQ's TCP connections by its descriptor, which may be closed, and be another's, at any moment."""

    def __init__(self, descriptor: int, *, dialed: bool = False) -> None:
        self.descriptor = descriptor
        self.silence = 0.0
        """Seconds for which nothing has come, as the looks saw it; 0 without a count, and before the first byte of who
        was not `dialed`, who may have to wait for this party."""
        self._first = 0 if dialed and COUNTED else 1
        self._count, self._looked = 0, time.monotonic()
        self._remote: object = None
        with contextlib.suppress(OSError, ValueError), _borrowed(descriptor) as end:
            self._remote = end.getpeername()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wire) and (self.descriptor, self._remote) == (other.descriptor, other._remote)

    def __hash__(self) -> int:
        return hash((self.descriptor, self._remote))

    def _ask(self, question: Callable[[socket.socket], T]) -> T | None:
        """The socket's answer, while it leads where it did at first; None afterwards."""
        with contextlib.suppress(OSError, ValueError), _borrowed(self.descriptor) as end:
            if end.getpeername() == self._remote:
                return question(end)
        return None

    @property
    def received(self) -> int | None:
        """Bytes so far, 0 where the kernel does not say; None when the connection is gone."""
        return self._ask(_received)

    def look(self) -> int | None:
        """As `received`; measures the silence."""
        count, now = self.received, time.monotonic()
        silent = count is not None and self._first <= count == self._count
        self.silence = self.silence + min(now - self._looked, LOOK_SECONDS) if silent else 0.0
        self._count, self._looked = count or 0, now
        return count

    def cut(self) -> None:
        """End the connection: ZeroMQ finds that it has ended, frees what it keeps of it and closes it."""
        self._ask(_shut)


@contextlib.contextmanager
def _borrowed(descriptor: int) -> Iterator[socket.socket]:
    end = socket.socket(fileno=descriptor)
    try:
        yield end
    finally:
        end.detach()  # it is ZeroMQ's


def _shut(end: socket.socket) -> None:
    # the close that follows is a reset, so that the kernel keeps nothing either
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.shutdown(socket.SHUT_RDWR)


def _received(end: socket.socket) -> int:
    if not COUNTED:
        return 0
    return int.from_bytes(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)[_RECEIVED], "little")


class Callers:
    """The TCP connections there are, dialed and accepted."""

    def __init__(self) -> None:
        self._wires: dict[int, Wire] = {}

    def came(self, descriptor: int) -> None:
        """ZeroMQ has made or accepted a connection."""
        self._wires[descriptor] = Wire(descriptor)

    def left(self, descriptor: int) -> None:
        """A connection has ended."""
        self._wires.pop(descriptor, None)

    def look(self, known: Mapping[Wire, int]) -> list[Wire]:
        """Cut each connection over which more came than `known` allows it, or CALLER_BYTES; who are too many; and those
        not known that have been silent for CALLER_SECONDS.

        Returns those of `known` among them.
        """
        callers, over = [], []
        # what ZeroMQ reports of a descriptor may be of one before, so the known ones are looked at whatever it said
        for wire in [*known, *(wire for wire in self._wires.values() if wire not in known)]:
            count = wire.look()
            if count is None:
                if wire not in known:
                    self.left(wire.descriptor)
            elif count > known.get(wire, CALLER_BYTES) or (wire not in known and wire.silence > CALLER_SECONDS):
                over.append(wire)
            elif wire not in known:
                callers.append(wire)
        while len(callers) > CALLERS:
            callers.pop(uuid.uuid4().int % len(callers)).cut()
        for wire in over:
            wire.cut()
        return [wire for wire in over if wire in known]
