"""What is known of the way to one peer, and the times that say when it is lost."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from mpcrt.errors import PeerLost
from mpcrt.transport.channel import Refused
from mpcrt.transport.connection import Connection, Greeting
from mpcrt.transport.session import Session
from mpcrt.transport.statistics import Count

OTHER_ORDER = "the cluster files differ in the order of their parties"
"""Why both of a pair dial. It ends the reason of a refusal, by which the refused end knows it too."""


@dataclass(slots=True)
class Line:
    """What is known of the way to one peer."""

    peer: str
    address: str | None
    dialed: bool
    session: Session
    connection: Connection | None = None
    """The connection in use."""
    attempt: Connection | None = None
    """The one being dialed."""
    attempts: int = 0
    next_dial: float = 0.0
    down_since: float = 0.0
    reported_at: float = 0.0
    came_up: bool = False
    instance: bytes = b""
    transmitted: int = 0
    """The last sequence put on any connection: what is sent at or below it is sent again."""
    refusal: str = ""
    refused: bool = False
    """No link can come up: a certificate or the configuration is wrong."""
    unaware: bool = False
    """One of the two refused the other before both had proved who they are: the answering end will look at the port
    of the one that dialed, or the dialed one at the port of who refused it."""
    doubted: bool = False
    """Somebody was refused who may have been this peer: its port will show whether its certificate is to blame."""
    told: bool = False
    """The peer has been sent this party's ABORT."""
    ended: bool = False
    """The peer's own ABORT came."""
    damages: int = 0

    @property
    def connections(self) -> list[Connection]:
        """The one in use and the one being dialed."""
        return [connection for connection in (self.connection, self.attempt) if connection is not None]

    @property
    def where(self) -> str:
        """Name and address, for messages."""
        return f"{self.peer} ({self.address or 'which dials ' + 'this party'})"

    @property
    def untold(self) -> bool:
        """Whether the peer may still come up, or be connected, and has not been sent the ABORT."""
        return not (self.told or self.refused or self.ended or self.session.closed)

    def pause(self, most: float) -> float:
        """Seconds until the next attempt to dial, at most `most`: growing, with jitter, so that parties that lost each
        other together do not return together."""
        self.attempts += 1
        jitter = 0.5 + (uuid.uuid4().int & 0xFFFF) / (1 << 17)
        return jitter * min(most, 0.05 * 2 ** min(self.attempts, 5))

    def admit(self, connection: Connection, greeting: Greeting, me: str) -> None:
        """Check a greeting that `me`, this party, got. Raises Refused, or PeerLost for a new process."""
        if greeting.addressee != me:
            raise Refused(f"it looks for {greeting.addressee[:100]!r} and this is {me}")
        connection.check(greeting.name)
        if connection.dialed and greeting.name != connection.peer:
            raise Refused(f"{greeting.name} answers there")
        if not connection.dialed and self.dialed:
            raise Refused(f"{me} dials {greeting.name}, not the other way; {OTHER_ORDER}")
        if self.instance and self.instance != greeting.instance:
            raise PeerLost(f"{self.where} was restarted; a run does not resume, start it again", self.peer)
        self.instance = greeting.instance

    def resend(self, received: int, resent: Count) -> bool:
        """Send what the peer has not, the very bytes that were sent before. False when the connection is gone.

        Raises PeerLost where it is this process that was restarted: the peer has messages that it never sent.
        """
        assert self.connection is not None
        if received and not self.session.sent_sequence:
            raise PeerLost(
                f"{self.where} is in a run already; none resumes, end it there and start it again", self.peer
            )
        missing = self.session.resume(received)
        for sequence, encoded in enumerate(missing, self.session.sent_sequence - len(missing) + 1):
            if sequence <= self.transmitted:
                resent.messages += 1
                resent.payload += encoded.payload
                resent.header += encoded.header
            if not self.connection.transmit(encoded):
                return False
        self.transmitted = self.session.sent_sequence
        return True

    def lost(self, now: float) -> PeerLost:
        """The error of a peer that has been away for too long, with the time since it was there."""
        because = f"; {self.refusal}" if self.refusal else ""
        return PeerLost(f"{self.where} was lost: no connection for {now - self.down_since:.1f} s{because}", self.peer)


@dataclass(slots=True)
class Heart:
    """Times in seconds, all derived from `idle`."""

    idle: float
    beat: float = field(init=False)
    timeout: float = field(init=False)
    patience: float = field(init=False)
    pause: float = field(init=False)
    """The longest between two attempts to dial: several have to fit into what is left of `idle`."""

    def __post_init__(self) -> None:
        self.beat = min(self.idle / 16, 0.25)
        self.timeout = min(self.idle / 4, 10.0)
        # when a stall is noticed it has lasted for the timeout and up to a beat, or two where the other end dialed
        self.patience = self.idle - self.timeout
        self.pause = min(self.patience / 8, 1.0)
