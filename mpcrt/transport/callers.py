"""How much each TCP connection to this party has received: the kernel's count, since ZeroMQ does not bound it.

ZeroMQ shows a message once it is whole, of however many frames, and takes any number of connections; its high-water
mark counts whole messages. So what others make it keep is bounded here: Linux says how many bytes have come over a
connection (RFC 4898's ThruOctetsReceived), and a connection over which too many came is cut.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

CALLERS = 256
"""Accepted connections that have not greeted; one more cuts any of them, so that a flood lets some peers through."""
CALLER_BYTES = 1 << 17
"""That may come from somebody who has not greeted: OpenSSL takes 100 KiB of certificates at most."""
_INFO_BYTES, _RECEIVED = 136, slice(128, 136)
"""The opening of Linux's `struct tcp_info`, and its field tcpi_bytes_received."""
T = TypeVar("T")


class Wire:
    """One of ZeroMQ's TCP connections by its descriptor, which may be closed, and be another's, at any moment."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._remote: object = None
        with contextlib.suppress(OSError, ValueError), _borrowed(descriptor) as end:
            self._remote = end.getpeername()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wire) and (self.descriptor, self._remote) == (other.descriptor, other._remote)

    def __hash__(self) -> int:
        return hash((self.descriptor, self._remote))

    def _ask(self, question: Callable[[socket.socket], T]) -> T | None:
        """The socket's answer, while it leads where it did at first; None afterwards."""
        with contextlib.suppress(OSError), _borrowed(self.descriptor) as end:
            if end.getpeername() == self._remote:
                return question(end)
        return None

    @property
    def received(self) -> int | None:
        """Bytes so far, 0 where the kernel does not say; None when the connection is gone."""
        return self._ask(_received)

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
    if not hasattr(socket, "TCP_INFO"):
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
        """Cut each connection over which more came than `known` allows it, or CALLER_BYTES; and who are too many.

        Returns those of `known` among them.
        """
        callers, over = [], []
        for wire in list(self._wires.values()):
            count = wire.received
            if count is None:
                self.left(wire.descriptor)
            elif count > known.get(wire, CALLER_BYTES):
                over.append(wire)
            elif wire not in known:
                callers.append(wire)
        while len(callers) > CALLERS:
            callers.pop(uuid.uuid4().int % len(callers)).cut()
        for wire in over:
            wire.cut()
        return [wire for wire in over if wire in known]
