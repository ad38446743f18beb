"""What two parties know of each other for a whole run, over however many connections: no I/O here.

Messages of one direction are numbered from 1. A sent message is kept, as the very bytes that left, until the peer has
acknowledged it; after a reconnect the peer says how far it got, to the piece of a large one, and the rest is sent
again, so that nothing need arrive twice. What does is compared byte for byte and dropped; what differs, or is no longer
here to compare with, ends the run, since two payloads under one mask would reveal their difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from mpcrt.errors import PeerLost, ProtocolError, UsageError
from mpcrt.transport.arrival import Arrival
from mpcrt.transport.codec import Encoded, Message, encode
from mpcrt.transport.header import Control, Frame
from mpcrt.transport.link import UNBOUND, Address, Buffer, Kind

_HELLO = int(Kind.HELLO)
_BYE = int(Control.BYE)
REMEMBERED = 1 << 12
"""Addresses remembered for each direction, half of them at least, so that memory stays flat in a run without end."""
FRAMES_KEPT = 1 << 8
"""First frames of the last messages, to compare duplicates with: below 8 KiB, but for headers of very many buffers."""
MESSAGE_COST = 1 << 10
"""What a waiting message takes beside its payload, so that a flood of empty ones is bounded too."""


class AddressBook:
    """The last addresses used, as 64-bit hashes, to refuse a second use."""

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._recent: set[int] = set()
        self._older: set[int] = set()
        self._half = capacity // 2

    def add(self, address: Address) -> bool:
        """True when the address is new."""
        key, recent = hash(address), self._recent
        if key in recent or key in self._older:
            return False
        recent.add(key)
        if len(recent) >= self._half:
            self._recent, self._older = set(), recent
        return True


class Session:
    """Both directions between this party and one peer."""

    def __init__(self, peer: str, *, inbox_limit: int, message_limit: int = 1 << 32) -> None:
        self.peer = peer
        self.closed = False
        """The peer has said goodbye: all it will ever send is in the inbox."""
        self.unacknowledged: deque[Encoded] = deque()
        """What was sent, up to number `sent_sequence`, and may have to be sent again."""
        self.unacknowledged_bytes = 0
        self.sent_sequence = 0
        self.sent_payload = 0
        self.peer_consumed = 0
        self.peer_pieces = 0
        """Of the oldest message without acknowledgement, those that the peer has said it has."""
        self.received = 0
        self.reported = 0
        self.consumed = 0
        self.consumed_reported = 0
        self.unreported_bytes = 0
        self.partial: Arrival | None = None
        """What has come of the next message, while there is no connection over which the rest could."""
        self.inbox: dict[Address, Message] = {}
        self.inbox_bytes = 0
        self._inbox_limit = inbox_limit
        self._message_limit = message_limit
        self._spoken = AddressBook()
        self._heard = AddressBook()
        self._frames: deque[bytes] = deque(maxlen=FRAMES_KEPT)
        """Of the last messages received; the last one is number `received`."""

    def outgoing(self, address: Address, buffers: Sequence[Buffer], nonce: bytes) -> Encoded:
        """Number and keep a message. Raises UsageError when the address was used before or the message is too large."""
        sequence = self.sent_sequence + 1
        encoded = encode(
            address,
            buffers,
            nonce=UNBOUND if address.kind == _HELLO else nonce,
            sequence=sequence,
            acknowledged=self.received,
            consumed=self.consumed,
        )
        if encoded.payload > self._message_limit:
            raise UsageError(f"{encoded.payload} bytes in one message; the limit is {self._message_limit}, send parts")
        if not self._spoken.add(address):
            raise UsageError(f"a second message to {self.peer} under the address {address}")
        self.sent_sequence = sequence
        self.reported, self.consumed_reported, self.unreported_bytes = self.received, self.consumed, 0
        self.unacknowledged.append(encoded)
        self.unacknowledged_bytes += encoded.payload + encoded.header
        self.sent_payload += encoded.payload
        return encoded

    def mark_reported(self) -> None:
        """What was received and consumed so far has been told to the peer."""
        self.reported, self.consumed_reported, self.unreported_bytes = self.received, self.consumed, 0

    def acknowledge(self, sequence: int, consumed: int) -> None:
        """The peer has everything up to `sequence` and its `recv` took `consumed` payload bytes."""
        if sequence > self.sent_sequence or consumed > self.sent_payload:
            raise ProtocolError(f"{self.peer} acknowledges message {sequence}, which was never sent")
        waiting, left = self.unacknowledged, self.sent_sequence - sequence
        while len(waiting) > left:
            encoded, self.peer_pieces = waiting.popleft(), 0
            self.unacknowledged_bytes -= encoded.payload + encoded.header
        if consumed > self.peer_consumed:
            self.peer_consumed = consumed

    def resume(self, received: int, pieces: int) -> list[Encoded]:
        """What has to be sent again on a new connection to a peer that has everything up to `received`, and so many
        pieces of the next message."""
        oldest = self.sent_sequence - len(self.unacknowledged) + 1
        if received + 1 < oldest:
            raise ProtocolError(f"{self.peer} asks for message {received + 1}, which it has acknowledged before")
        self.acknowledge(received, 0)
        if pieces and not self.unacknowledged:
            raise ProtocolError(f"{self.peer} has a piece of message {received + 1}, which was never sent")
        self.peer_pieces = pieces
        return list(self.unacknowledged)

    def keep(self, arrival: Arrival | None) -> None:
        """A connection has ended while a message was coming; the next connection may go on with it."""
        self.partial = arrival if arrival is not None and arrival.header.sequence == self.received + 1 else None

    @property
    def position(self) -> tuple[int, int, int]:
        """How far the messages of both directions have got, as far as is known here but for what is arriving now."""
        return self.sent_sequence - len(self.unacknowledged), self.peer_pieces, self.received

    def incoming(self, message: Message, frame: Frame) -> bool:
        """Take a message in; `frame` is its first frame as received. False when it is a duplicate.

        Raises ProtocolError for a gap, an address used twice, a duplicate that differs, or more than the inbox holds.
        """
        header = message.header
        sequence, address, payload = header.sequence, header.address, header.layout.payload
        self.acknowledge(header.acknowledged, header.consumed)
        if sequence != self.received + 1:
            if sequence == 0:
                raise ProtocolError(f"{self.peer} sent a message without a number: {address}")
            if sequence <= self.received:
                self._compare(message, frame)
                return False
            raise ProtocolError(f"{self.peer} sent message {sequence} where {self.received + 1} was expected")
        if self.closed:
            raise ProtocolError(f"{self.peer} sent a message after its goodbye")
        if not self._heard.add(address) or address in self.inbox:
            raise ProtocolError(f"{self.peer} sent two messages under one address: {address}")
        if self.inbox_bytes + MESSAGE_COST * len(self.inbox) + payload > self._inbox_limit:
            raise ProtocolError(f"{self.peer} sent more than {self._inbox_limit} bytes that were not asked for")
        self.received = sequence
        self.unreported_bytes += payload + header.frame_bytes
        self._frames.append(frame if type(frame) is bytes else bytes(frame))
        if address.kind == _BYE:
            self.closed = True
        else:
            self.inbox[address] = message
            self.inbox_bytes += payload
        return True

    def _compare(self, message: Message, frame: Frame) -> None:
        """A duplicate has to be the same message, and provably so. Raises ProtocolError otherwise."""
        header = message.header
        age, waiting = self.received - header.sequence, self.inbox.get(header.address)
        if age >= len(self._frames) or not (header.inline or waiting):
            raise ProtocolError(f"{self.peer} sent message {header.sequence} again long after it was taken")
        if self._frames[-1 - age] != frame:
            raise ProtocolError(f"{self.peer} sent two different messages number {header.sequence}: {header.address}")
        if waiting is not None and not all(map(_same_bytes, waiting.arrays, message.arrays)):
            raise ProtocolError(f"{self.peer} sent two payloads under one address: {header.address}")

    def take(self, address: Address, limit: int, nonce: bytes) -> list[np.ndarray] | None:
        """The buffers that came under `address`, or None when they have not. Raises PeerLost after a goodbye."""
        message = self.inbox.get(address)
        if message is None:
            if self.closed:
                raise PeerLost(f"{self.peer} ended its run without sending {address}", self.peer)
            return None
        header = message.header
        payload = header.layout.payload
        if payload > limit:
            raise ProtocolError(f"{self.peer} sent {payload} bytes for {address}, at most {limit} are allowed")
        if header.nonce != (UNBOUND if address.kind == _HELLO else nonce):
            raise ProtocolError(f"{self.peer} sent {address} for another run")
        del self.inbox[address]
        self.inbox_bytes -= payload
        self.consumed += payload
        return message.arrays

    def has(self, address: Address) -> bool:
        """Whether `take` would not come back without an answer."""
        return self.closed or address in self.inbox

    @property
    def pending(self) -> int:
        """Payload bytes sent that the peer's `recv` has not taken, as far as it has told."""
        return self.sent_payload - self.peer_consumed


def _same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8))
