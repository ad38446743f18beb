"""What a link is: addressed buffers between named parties, whatever carries them."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Self, TypeAlias

import numpy as np

from mpcrt.errors import MpcrtError, ProtocolError, UsageError
from mpcrt.transport.statistics import Recorder, Statistics

Buffer: TypeAlias = np.ndarray | bytes | bytearray | memoryview

NONCE_BYTES = 16
UNBOUND = bytes(NONCE_BYTES)
"""The run nonce in a header until the parties have agreed on one."""


class Kind(IntEnum):
    """What a message is for. Part of its address; a link treats all kinds alike, except HELLO (any nonce)."""

    HELLO = 1
    STEP = 2
    META = 3
    INPUT = 4
    OPEN = 5
    DEAL = 6
    REVEAL = 7
    PUBLISH = 8
    RESULT = 9


class Address(NamedTuple):
    """Names one message from one peer. Unsigned, each below 2^64. An address is used once in a run."""

    kind: int
    call: int = 0
    path: int = 0
    step: int = 0

    def __str__(self) -> str:
        kind = Kind(self.kind).name if self.kind in Kind._value2member_map_ else f"kind {self.kind}"
        return f"{kind} of call {self.call}, path {self.path}, step {self.step}"


class Failure(NamedTuple):
    """What ABORT carries: who failed, in which function, at which call, and the exit code. Never data.

    `reason` is for what links say themselves: who is lost or was refused, and why.
    """

    party: str
    function: str
    number: int
    code: int = 1
    reason: str = ""

    def clipped(self) -> Failure:
        """The same with texts cut, so that an ABORT has a constant bound."""
        return Failure(
            str(self.party)[:100], str(self.function)[:100], int(self.number), int(self.code), str(self.reason)[:300]
        )


class Link(ABC):
    """One party's end of its links to every peer.

    The engine thread calls `send` and `recv`. Buffers given to `send` belong to the link from then on: the caller
    never writes to them again. Arrays from `recv` are read-only and keep their memory alive.
    """

    def __init__(self, name: str, peers: Sequence[str]) -> None:
        self.name = name
        self.peers = tuple(peers)
        self.statistics = Statistics()
        self.nonce = UNBOUND
        self.on_failure: Callable[[MpcrtError], None] | None = None

    @property
    def recorder(self) -> Recorder | None:
        """Called as (direction, peer, address, buffers) for each message; the direction is "sent" or "received"."""
        return self.statistics.recorder

    @recorder.setter
    def recorder(self, recorder: Recorder | None) -> None:
        self.statistics.recorder = recorder

    @property
    def missing(self) -> tuple[str, ...]:
        """Peers that have never been connected, while the link opens."""
        return ()

    def bind_nonce(self, nonce: bytes) -> None:
        """Put the run nonce in every later header, HELLO's excepted, and refuse messages of any other run."""
        if len(nonce) != NONCE_BYTES or nonce == UNBOUND:
            raise UsageError(f"a run nonce is {NONCE_BYTES} bytes and not all zero")
        if self.nonce not in (UNBOUND, nonce):
            raise UsageError("this link has another run's nonce; a run never changes its nonce")
        self.nonce = bytes(nonce)

    @abstractmethod
    def open(
        self, hello: Callable[[str], bytes] | None = None, heard: Callable[[str, np.ndarray], None] | None = None
    ) -> None:
        """Bring up the links to all peers.

        `hello(peer)` is sent to each as its HELLO, as soon as it is connected, and `heard(peer, data)` is called with
        what it sent, which `recv` gives all the same; what that raises ends the attempt.
        Raises PeerLost naming each peer that did not come up and its address, LinkError when one was refused,
        DisagreementError when one speaks another version of the links.
        """

    @abstractmethod
    def send(self, peer: str, address: Address, *buffers: Buffer) -> None:
        """Send C-contiguous buffers to `peer` under an address not used before. Does not wait for the peer's `recv`."""

    @abstractmethod
    def recv(self, peer: str, address: Address, *, limit: int) -> list[np.ndarray]:
        """Wait for the message `peer` sent under `address`; its buffers in order, at most `limit` bytes in all.

        Raises PeerLost, PeerFailed (some party aborted) or ProtocolError.
        """

    def recv_one(self, peer: str, address: Address, *, limit: int) -> np.ndarray:
        """As `recv`, for a message of one buffer. Raises ProtocolError for any other number of them."""
        arrays = self.recv(peer, address, limit=limit)
        if len(arrays) != 1:
            raise ProtocolError(f"{peer} sent {len(arrays)} buffers for {address} instead of one")
        return arrays[0]

    @abstractmethod
    def arrived(self, peer: str, address: Address) -> bool:
        """Whether `recv` of that message would give it, or raise, at once."""

    @abstractmethod
    def drain(self, peer: str, limit: int) -> None:
        """Wait until at most `limit` payload bytes sent to `peer` are not yet taken by its `recv`."""

    @abstractmethod
    def abort(self, failure: Failure) -> None:
        """Tell every peer, best effort and without waiting, that the run has failed.

        Where this link found who is lost, it adds that as the reason.
        """

    def forked(self) -> None:  # noqa: B027
        """In a process forked from this link's: let go of the port. The link is the parent's."""

    @abstractmethod
    def close(self) -> None:
        """Flush what was sent, say goodbye and free everything, in bounded time. May be called twice."""

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(MpcrtError):
            self.close()
