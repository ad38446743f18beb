"""What is known of the way to one peer, and the times that say when it is lost."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from mpcrt.errors import PeerLost
from mpcrt.transport.arrival import first_bytes
from mpcrt.transport.channel import Later, Refused, Taken
from mpcrt.transport.codec import Encoded, control
from mpcrt.transport.connection import Connection, Greeting
from mpcrt.transport.header import Control
from mpcrt.transport.session import Session
from mpcrt.transport.statistics import Count

FRUITLESS = 3
"""Connections that have to end, with nothing got across for `idle`, before their peer is given up."""
OTHER_ORDER = "the cluster files differ in the order of their parties"
"""Why both of a pair dial. It ends the reason of a refusal, by which the refused end knows it too."""

RETURN_SECONDS = 2.0
"""For a process whose connection has ended to return, before another under its name shows that it was restarted. One
that was given up for silence has the rest of `idle`."""
FRESH_SECONDS = 1.0
"""For which a peer that is there may be silent: several heartbeats."""


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
    gave_up: bool = False
    """The last connection was cut here, for silence: the peer may be stopped, or out of reach, and return."""
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
    """Connections given up for what came over them since something got across."""
    position: tuple[int, ...] = ()
    """How far the messages of both directions had got when that last changed,"""
    advanced_at: float = 0.0
    """when that was,"""
    fruitless: int = 0
    """and how many connections have ended since."""
    pieces_reported: int = 0

    @property
    def connections(self) -> list[Connection]:
        """The one in use and the one being dialed."""
        return [connection for connection in (self.connection, self.attempt) if connection is not None]

    @property
    def down(self) -> bool:
        """Whether there is no connection, and another is to come."""
        return self.connection is None and not self.session.closed

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
        """Check a greeting that `me`, this party, got.

        Raises Refused; for another process than was there before Taken, Later or PeerLost.
        """
        if greeting.addressee != me:
            raise Refused(f"it looks for {greeting.addressee[:100]!r} and this is {me}")
        connection.check(greeting.name)
        if connection.dialed and greeting.name != connection.peer:
            raise Refused(f"{greeting.name} answers there")
        if not connection.dialed and self.dialed:
            raise Refused(f"{me} dials {greeting.name}, not the other way; {OTHER_ORDER}")
        if self.instance and self.instance != greeting.instance:
            if not connection.dialed:
                self._give_time()
            raise PeerLost(f"{self.where} was restarted; a run does not resume, start it again", self.peer)
        self.instance = greeting.instance

    def _give_time(self) -> None:
        """Another process greets under the peer's name. Raises Taken while the one that was there first is heard, Later
        while it may yet be, or has ended its run in order."""
        if self.connection is None:
            if self.session.closed or self.gave_up or time.monotonic() - self.down_since < RETURN_SECONDS:
                raise Later("it is not known yet whether the process before it is gone")
        elif self.connection.silence > FRESH_SECONDS or self.connection.gone:
            raise Later("it is not known yet whether the process before it is there")
        else:
            end = "end that process, or wait until its run is over"
            raise Taken(f"{self.peer} is connected already, from another process under its name; {end}")

    def resend(self, received: int, pieces: int, resent: Count) -> bool:
        """Send what the peer has not, who has everything up to `received` and so many pieces of the next message:
        the very bytes that were sent before. False when the connection is gone.

        Raises PeerLost where it is this process that was restarted: the peer has messages that it never sent.
        """
        assert self.connection is not None
        if (received or pieces) and not self.session.sent_sequence:
            raise PeerLost(
                f"{self.where} is in a run already; none resumes, end it there and start it again", self.peer
            )
        missing = self.session.resume(received, pieces)
        for sequence, encoded in enumerate(missing, self.session.sent_sequence - len(missing) + 1):
            if sequence <= self.transmitted:
                resent.messages += 1
                resent.payload += encoded.payload - first_bytes(encoded.frames[1:], pieces)
                resent.header += encoded.header
            if not self.connection.transmit(encoded, pieces):
                return False
            pieces = 0
        self.transmitted = self.session.sent_sequence
        return True

    def greet(self, connection: Connection, me: str, instance: bytes) -> None:
        """Say who this is, and how far the peer's messages have got."""
        arrival = self.session.partial
        connection.channel.resume(arrival)
        pieces = arrival.taken if arrival else 0
        connection.greet(Greeting(me, self.peer, instance, self.session.received, pieces))

    def unreported(self, since: float) -> bool:
        """Whether something is to be reported, at once or because nothing has been `since`."""
        session, connection = self.session, self.connection
        if session.received > session.reported or session.consumed > session.consumed_reported:
            return True
        # a dialed connection's end is noticed by its descriptor; an accepted one's only by sending
        due = not self.dialed or (connection is not None and connection.pieces != self.pieces_reported)
        return due and self.reported_at < since

    def report(self, count: Count) -> bool:
        """Tell the peer what was received and consumed. False when the connection is gone."""
        assert self.connection is not None
        session, pieces = self.session, self.connection.pieces
        session.mark_reported()
        self.reported_at, self.pieces_reported = time.monotonic(), pieces
        encoded = control(Control.ACK, (pieces,), acknowledged=session.received, consumed=session.consumed)
        count.messages += 1
        count.header += encoded.header
        return self.connection.transmit(encoded)

    def tell(self, last_words: Encoded | None) -> None:
        """Send this party's ABORT, once over each connection."""
        if self.connection is not None and last_words is not None and not self.told:
            self.told = self.connection.transmit(last_words)

    def away(self, now: float, heart: Heart) -> bool:
        """Whether a peer that was there has had no connection for too long."""
        return self.came_up and self.connection is None and now - self.down_since > heart.patience

    def judge(self, now: float, heart: Heart) -> None:
        """Raises PeerLost for a peer that is away for too long, or whose connections come and go and carry nothing."""
        self._advance(now)
        if self.session.closed:
            return
        if self.away(now, heart):
            because = f"; {self.refusal}" if self.refusal else ""
            raise PeerLost(
                f"{self.where} was lost: no connection for {now - self.down_since:.1f} s{because}", self.peer
            )
        if self.fruitless >= FRUITLESS and now - self.advanced_at > heart.idle:
            what = (
                f"{self.fruitless} connections in {now - self.advanced_at:.1f} s ended before anything more got across"
            )
            raise PeerLost(f"{self.where} was lost: {what}", self.peer)

    def _advance(self, now: float) -> None:
        """Note whether anything has got across: a connection that comes back and ends again is no progress."""
        arriving = self.session.partial if self.connection is None else self.connection.channel.arriving
        position = (*self.session.position, arriving.taken if arriving else 0)
        if position != self.position or not (arriving or self.session.unacknowledged):
            self.position, self.advanced_at, self.fruitless, self.damages = position, now, 0, 0


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
