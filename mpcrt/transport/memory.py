"""Links between threads of one process, through the same codec and the same checks as the real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mpcrt.errors import LinkError, MpcrtError, PeerFailed, PeerLost, ProtocolError, UsageError
from mpcrt.transport.codec import Message, as_array, control, control_fields, read_message
from mpcrt.transport.header import Control, Frame
from mpcrt.transport.link import Address, Buffer, Failure, Kind, Link
from mpcrt.transport.session import Session

MESSAGE_LIMIT = 1 << 32

Tamper = Callable[[str, Address, list[np.ndarray]], "Sequence[Buffer] | None"]
"""(peer, address, buffers) -> the buffers to send instead, or None to lose the message. Injects faults in tests."""


class MemoryNetwork(Mapping[str, "MemoryLink"]):
    """One link for each name, all connected."""

    def __init__(self, names: Sequence[str], *, idle: float = 60.0) -> None:
        self._links = {name: MemoryLink(name, [peer for peer in names if peer != name], idle) for name in names}
        if len(self._links) != len(names):
            raise UsageError(f"a name given twice: {', '.join(names)}")
        for link in self._links.values():
            link.others = self._links

    def __getitem__(self, name: str) -> MemoryLink:
        return self._links[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)


class MemoryLink(Link):
    """One thread's end. `recv` gives up after `idle` seconds, since a thread has no heartbeat of its own."""

    def __init__(self, name: str, peers: Sequence[str], idle: float) -> None:
        super().__init__(name, peers)
        self.tamper: Tamper | None = None
        self.others: Mapping[str, MemoryLink] = {}
        self._idle = idle
        self._changed = threading.Condition()
        self._sending = threading.RLock()
        self._sessions = {peer: Session(peer, inbox_limit=MESSAGE_LIMIT) for peer in peers}
        self._failure: MpcrtError | None = None
        self._waiting = False
        self._closed = False

    def open(
        self, hello: Callable[[str], bytes] | None = None, heard: Callable[[str, np.ndarray], None] | None = None
    ) -> None:
        """Nothing to bring up; who was heard is found by who receives."""
        if self._closed:
            raise LinkError(f"{self.name}'s link was closed; a run has one link")
        if hello is not None:
            for peer in self.peers:
                self.send(peer, Address(Kind.HELLO), hello(peer))

    def send(self, peer: str, address: Address, *buffers: Buffer) -> None:
        changed: Sequence[Buffer] | None = buffers
        if self.tamper is not None:
            changed = self.tamper(peer, address, [as_array(buffer) for buffer in buffers])
        if changed is None:
            return
        with self._sending:
            with self._changed:
                session = self._live(peer)
                if session.closed:
                    raise PeerLost(f"{peer} ended its run before {address} was sent to it", peer)
                encoded = session.outgoing(address, changed, self.nonce)
                self.statistics.record("sent", peer, address, encoded.arrays, encoded.payload, encoded.header)
            received = self.others[peer].deliver(self.name, encoded.frames)
            with self._changed:
                session.acknowledge(received, 0)

    def recv(self, peer: str, address: Address, *, limit: int) -> list[np.ndarray]:
        deadline = time.monotonic() + self._idle
        with self._changed:
            while (arrays := self._live(peer).take(address, limit, self.nonce)) is None:
                self._wait(deadline, f"{peer} sent no {address} within {self._idle:g} s", peer)
            consumed = self._sessions[peer].consumed
        self.others[peer].consumed(self.name, consumed)
        return arrays

    def arrived(self, peer: str, address: Address) -> bool:
        with self._changed:
            return self._failure is not None or self._live(peer).has(address)

    def drain(self, peer: str, limit: int) -> None:
        deadline = time.monotonic() + self._idle
        with self._changed:
            while (session := self._live(peer)).pending > limit:
                if session.closed:
                    raise PeerLost(f"{peer} ended its run with messages from {self.name} unread", peer)
                self._wait(deadline, f"{peer} took nothing for {self._idle:g} s", peer)

    def abort(self, failure: Failure) -> None:
        frames = control(Control.ABORT, failure.clipped()).frames
        with self._changed:
            self._failure = self._failure or LinkError(f"{self.name} has aborted the run")
            self.on_failure = None
            self._changed.notify_all()
        for peer in self.peers:
            self.others[peer].deliver(self.name, frames)

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
        for peer in self.peers:
            with self._sending:
                with self._changed:
                    frames = self._sessions[peer].outgoing(Address(Control.BYE), [], self.nonce).frames
                self.others[peer].deliver(self.name, frames)

    def deliver(self, peer: str, frames: list[Frame]) -> int:
        """Called by the sending thread: take in what `peer` sent. Returns the last sequence received from it."""
        notify = None
        with self._changed:
            session = self._sessions[peer]
            if self._closed:
                return session.received
            try:
                self._admit(peer, read_message(frames, MESSAGE_LIMIT), frames[0])
            except ProtocolError as error:
                self._failure = self._failure or ProtocolError(f"{peer} broke the protocol: {error}")
            if self._failure is not None and not self._waiting:
                notify, self.on_failure = self.on_failure, None
            self._changed.notify_all()
        if notify is not None and self._failure is not None:
            notify(self._failure)
        return session.received

    def consumed(self, peer: str, count: int) -> None:
        """Called by the receiving thread: `peer` took `count` payload bytes so far."""
        with self._changed:
            self._sessions[peer].acknowledge(0, count)
            self._changed.notify_all()

    def _admit(self, peer: str, message: Message, frame: Frame) -> None:
        header, session = message.header, self._sessions[peer]
        if header.address.kind == Control.ABORT:
            failure = PeerFailed(*control_fields(message, str, str, int, int, str), reporter=peer)
            self._failure = self._failure or failure
        elif session.incoming(message, frame) and not session.closed:
            payload = header.layout.payload
            around = header.frame_bytes + (header.layout.padded - payload if header.inline else 0)
            self.statistics.record("received", peer, header.address, message.arrays, payload, around)

    def _live(self, peer: str) -> Session:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise LinkError(f"{self.name}'s link is closed")
        if peer not in self._sessions:
            raise UsageError(f"{self.name} has no link to {peer!r}, only to {', '.join(self.peers)}")
        return self._sessions[peer]

    def _wait(self, deadline: float, message: str, peer: str) -> None:
        self._waiting = True
        try:
            if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                raise PeerLost(message, peer)
        finally:
            self._waiting = False
