"""One connection to a peer, from its first byte to its greeting: who is there, and how far did it get."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

from mpcrt.errors import ProtocolError
from mpcrt.text import plain
from mpcrt.transport.callers import Wire
from mpcrt.transport.channel import Channel, Cut, Refused, Rejected
from mpcrt.transport.codec import Encoded, Message, control, control_fields, read_message
from mpcrt.transport.header import Control, Frame
from mpcrt.transport.switch import Switch

STRANGER_LIMIT = 4096
"""Bytes in one message of somebody who has not said who it is."""
INSTANCE_BYTES = 16
FRAME_COST = 9
"""Bytes that ZeroMQ adds to a frame."""
HEARTBEAT_BYTES = 1 << 10
"""In a second, more than four pings and pongs."""
WAITING_BYTES = 1 << 29
"""What a peer sends without an acknowledgement, but for one large message, and what a kernel may be set to buffer."""


class Greeting:
    """The first message in each direction: (name, addressee, instance, last sequence received, pieces of the next)."""

    def __init__(self, name: str, addressee: str, instance: bytes, received: int = 0, pieces: int = 0) -> None:
        self.name, self.addressee, self.instance, self.received = name, addressee, instance, received
        self.pieces = pieces

    def encode(self) -> Encoded:
        """As a control message."""
        return control(Control.GREETING, (self.name, self.addressee, self.instance, self.received, self.pieces))

    @classmethod
    def decode(cls, message: Message) -> Greeting:
        """From a control message; raises ProtocolError."""
        greeting = cls(*control_fields(message, str, str, bytes, int, int))
        if len(greeting.instance) != INSTANCE_BYTES or min(greeting.received, greeting.pieces) < 0:
            raise Refused("its greeting is malformed")
        return greeting


class Connection:
    """A routing id of the switch, the channel over it, and whose it turned out to be."""

    def __init__(
        self,
        switch: Switch,
        identity: bytes,
        channel: Channel,
        *,
        peer: str = "",
        endpoint: str = "",
        probing: bool = False,
    ) -> None:
        """`peer` and `endpoint` when this party dialed; an accepted connection learns its peer by the greeting.

        `probing`: dialed only to see whether the certificates are in order, where the peer dials otherwise.
        """
        self.identity = identity
        self.channel = channel
        self.peer = peer
        self.endpoint = endpoint
        self.dialed = bool(endpoint)
        self.probing = probing
        self.wire: Wire | None = None
        """The TCP connection, once there is one."""
        self._taken = 0
        self.greeted = False
        self.ready = self.was_cut = False
        self.refusal = ""
        self.since = self._began = time.monotonic()
        self._switch = switch

    def took(self, frames: Sequence[Frame]) -> None:
        """A message has come over this connection."""
        self._taken += sum(map(len, frames)) + FRAME_COST * len(frames)

    @property
    def allowance(self) -> int:
        """Bytes that TCP may have received, but for one large message: what was taken, what may wait in ZeroMQ and the
        kernel, and heartbeats."""
        if self.channel.names is None and self.channel.established:
            return sys.maxsize  # in plaintext one message may be of any size, and both ends are on this machine
        return self._taken + WAITING_BYTES + int(HEARTBEAT_BYTES * (time.monotonic() - self._began))

    @property
    def silence(self) -> float:
        """Seconds for which nothing has come, as far as the kernel says."""
        return self.wire.silence if self.wire is not None else 0.0

    @property
    def gone(self) -> bool:
        """Whether the TCP connection has ended, which ZeroMQ may be about to say."""
        return self.wire is not None and self.wire.received is None

    def cut(self) -> None:
        """End the TCP connection, from here."""
        self.was_cut = True
        if self.wire is not None:
            self.wire.cut()

    @property
    def pieces(self) -> int:
        """Of the message that is coming, those that have come."""
        arriving = self.channel.arriving
        return arriving.taken if arriving else 0

    def start(self) -> bool:
        """The dialing end speaks first."""
        return self._put(self.channel.start())

    @property
    def proven(self) -> frozenset[str]:
        """The names in the other end's certificate, whose key it has; none in plaintext and before it has shown one."""
        return self.channel.names or frozenset()

    def check(self, name: str) -> None:
        """Raises Refused unless the other end's certificate, where there is one, is for `name`."""
        if self.channel.names is not None and name not in self.channel.names:
            remedy = ", or correct its address" if self.dialed else f" if it is {name}"
            raise Refused(f"its certificate is {self.channel.proves}, not {name}; start {name} with its own{remedy}")

    def greet(self, greeting: Greeting) -> bool:
        """Say who this is. False when the connection is gone, as in all that send."""
        self.greeted = True
        return self.transmit(greeting.encode())

    def transmit(self, encoded: Encoded, start: int = 0) -> bool:
        """Send one message, from its piece `start` on."""
        try:
            return self._put(self.channel.wrap(encoded, start))
        except (Cut, Refused):
            return False

    def receive(self, frames: Sequence[Frame], limit: int) -> list[tuple[Message, Frame]]:
        """The messages that arrived with `frames` before the connection was ready.

        Raises Refused, Cut or ProtocolError after telling the other end.
        """
        established = self.channel.established
        # a refusal may come in plaintext, before or instead of TLS
        if self.channel.names is None and (text := refusal_text(frames)):
            self.refusal = text
            raise Rejected(f"it refused this party: {text}")
        try:
            return self.channel.unwrap(frames, STRANGER_LIMIT)
        except Refused as error:
            if established and not isinstance(error, Rejected):
                raise Cut(str(error)) from None  # its certificate was accepted before: damage on the way
            raise
        finally:
            self._put(self.channel.replies())

    def refuse(self, text: str, kind: Control = Control.REFUSE) -> None:
        """Tell the other end why nothing more will come, in plaintext where there is no TLS session yet."""
        if self.refusal:
            return  # it refused first
        encoded = control(kind, (text[:300],))
        replies = self.channel.replies()
        self._put(replies)
        # a TLS alert says it already, and its sender can write no more
        if replies:
            return
        if self.channel.established:
            self.transmit(encoded)
        else:
            self._put((encoded.frames,))

    def _put(self, messages: Iterable[Sequence[Frame]]) -> bool:
        sent = True
        for frames in messages:
            sent = self._switch.send(self.identity, frames) and sent
        return sent


def refusal_text(frames: Sequence[Frame]) -> str:
    """What a plaintext REFUSE message says, made plain; empty when `frames` are no such thing."""
    if len(frames) != 1 or bytes(frames[0][:3]) != b"mpc":
        return ""
    try:
        message = read_message(frames, STRANGER_LIMIT)
        return said(message) if message.header.address.kind == Control.REFUSE else ""
    except ProtocolError:
        return ""


def said(message: Message) -> str:
    """The text of a REFUSE or TAKEN message, made plain."""
    (text,) = control_fields(message, str)
    return plain(text)
