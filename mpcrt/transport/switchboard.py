"""Connections come and go; sessions last. This joins them: dial, answer, greet, resend, notice who is gone.

Who is there is settled before anything else: a connection carries messages only after its greeting, and with TLS the
greeting's name has to be in the certificate. A peer counts as present while it has such a connection, which ZeroMQ's
I/O threads keep alive with heartbeats, whatever the Python code at either end is doing.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence

import zmq

from mpcrt.errors import DisagreementError, LinkError, MpcrtError, PeerFailed, ProtocolError
from mpcrt.transport import addresses as places
from mpcrt.transport.callers import CALLERS, Wire
from mpcrt.transport.channel import Channel, Cut, Later, PlainChannel, Refused, Rejected, Taken, TakenThere
from mpcrt.transport.codec import Encoded, Message, control, control_fields
from mpcrt.transport.connection import Connection, Greeting, said
from mpcrt.transport.header import HEADER_LIMIT, Control, Frame, OtherVersion
from mpcrt.transport.line import OTHER_ORDER, Heart, Line
from mpcrt.transport.link import Failure
from mpcrt.transport.session import Session
from mpcrt.transport.statistics import Statistics
from mpcrt.transport.switch import Notice, Switch
from mpcrt.transport.tls import FRAME_LIMIT, TlsChannel, TlsContext

GREETING_SECONDS = 10.0
DAMAGES = 100
"""Connections to one peer that may be given up for what came over them, with nothing got across between."""
REFUSALS_SHOWN = 100
UNREPORTED_BYTES, UNREPORTED_MESSAGES = 1 << 22, 64

_FIRST_CONTROL, _BYE = int(Control.GREETING), int(Control.BYE)

log = logging.getLogger("mpcrt.transport")


class Switchboard:
    """All sessions and connections of one party. Not thread safe: its link holds a lock round every call."""

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, str | None],
        *,
        idle: float,
        tls: TlsContext | None,
        statistics: Statistics,
        message_limit: int,
        inbox_limit: int,
        descriptor: int | None,
    ) -> None:
        self.name = name
        self._tls = tls
        self._statistics = statistics
        self._message_limit = message_limit
        self._heart = Heart(idle)
        self._instance = uuid.uuid4().bytes  # a name, not a secret
        self._connections: dict[bytes, Connection] = {}
        self._strangers: deque[Connection] = deque()
        self._gone: deque[bytes] = deque(maxlen=4 * CALLERS)
        """Connections given up, of which something may still arrive."""
        self._inside = False  # handling a message
        self.refusals, self.refused = deque[str](maxlen=8), 0
        """Connections turned away, in words, newest last, and how many they were."""
        self._last_words: Encoded | None = None
        self._findable = tls is not None and addresses[name] is not None
        dialed = places.dialed_by(name, addresses)
        self.lines = {
            peer: Line(
                peer, address, peer in dialed, Session(peer, inbox_limit=inbox_limit, message_limit=message_limit)
            )
            for peer, address in addresses.items()
            if peer != name
        }
        self.switch = Switch(
            heartbeat=self._heart.beat,
            timeout=self._heart.timeout,
            frame_limit=message_limit + HEADER_LIMIT if tls is None else FRAME_LIMIT,
            copy_first=tls is None,
        )
        if descriptor is not None:
            self.switch.listen(descriptor)

    def pump(self) -> bool:
        """Take in one message that has arrived. False when there is none. Raises what ends the run."""
        received = self.switch.receive()
        if received is None:
            return False
        identity, descriptor, frames = received
        connection = self._connections.get(identity)
        if connection is None and identity not in self._gone:
            connection = self._stranger(identity, descriptor)
        if connection is not None:
            connection.took(frames)
            self._inside = True
            try:
                self._arrived(connection, frames)
            finally:
                self._inside = False
        return True

    def pump_all(self, most: int = 256) -> None:
        """Take in what has arrived, up to `most` messages."""
        for _ in range(most):
            if not self.pump():
                return

    def tick(self) -> None:
        """What is due by the clock: dialing, reports, liveness. Raises PeerLost or LinkError."""
        now = time.monotonic()
        for notice in self.switch.notices():
            self._noticed(notice)
        here = {c.wire: c for line in self.lines.values() for c in line.connections if c.wire}
        unread = 0 if self.switch.drained else self._message_limit  # a large message may wait
        for wire in self.switch.callers.look({wire: c.allowance + unread for wire, c in here.items()}):
            raise ProtocolError(f"{here[wire].peer} sent a message without end")
        for line in self.lines.values():
            if self._last_words is None:
                line.judge(now, self._heart)
            if line.connection is not None:
                self._keep(line, line.connection, now)
                continue
            if line.session.closed or line.away(now, self._heart):
                continue
            if line.attempt is not None:
                silent = line.attempt.silence > self._heart.timeout  # who accepts and forgets is one way of a stall
                if line.attempt.wire and (silent or now - line.attempt.since > GREETING_SECONDS):
                    self._lost(line.attempt, "it did not greet")
            elif (line.dialed or line.doubted) and not line.refused and now >= line.next_dial:
                self._dial(line)

    def transmit(self, peer: str, encoded: Encoded) -> None:
        """Put a message of the session on its connection, if there is one now."""
        line = self.lines[peer]
        if line.connection is not None:
            line.transmitted = line.session.sent_sequence
            if not line.connection.transmit(encoded):
                self._ended(line.connection, "the connection is gone")

    def report(self, line: Line) -> None:
        """Tell the peer what was received and consumed; finds out whether an accepted connection is still there."""
        if line.connection is not None and not line.report(self._statistics.control):
            self._ended(line.connection, "the connection is gone")

    def abort(self, failure: Failure) -> None:
        """Send ABORT on every connection there is, and on each that comes up later."""
        self._last_words = control(Control.ABORT, failure.clipped())
        for line in self.lines.values():
            line.tell(self._last_words)

    def untold(self, culprit: str) -> bool:
        """Whether somebody who may still come up has not been sent the ABORT, or has not come to look."""
        unaware = not self.refused and any(line.unaware for line in self.lines.values())
        return unaware or any(line.untold for line in self.lines.values() if line.peer != culprit)

    def missing(self) -> list[Line]:
        """Peers that have not come up yet."""
        return [line for line in self.lines.values() if not line.came_up]

    def _keep(self, line: Line, connection: Connection, now: float) -> None:
        if connection.silence > self._heart.timeout:
            connection.cut()
            self._lost(connection, "it is silent")
            return
        if line.unreported(now - self._heart.beat):
            self.report(line)
        if connection.dialed and connection.channel.spent:
            self._lost(connection, "its TLS session has carried enough")
            line.next_dial = now

    def _stranger(self, identity: bytes, descriptor: int) -> Connection:
        """An accepted connection that has just sent its first message."""
        connection = Connection(self.switch, identity, self._channel(dialing=False))
        connection.wire = Wire(descriptor)
        while len(self._strangers) >= CALLERS:
            self._drop(self._strangers[uuid.uuid4().int % CALLERS])
        self._strangers.append(connection)
        self._connections[identity] = connection
        return connection

    def _channel(self, *, dialing: bool) -> Channel:
        return PlainChannel() if self._tls is None else TlsChannel(self._tls, dialing=dialing)

    def _dial(self, line: Line) -> None:
        assert line.address is not None
        line.next_dial = time.monotonic() + line.pause(self._heart.pause)
        try:
            endpoint = places.endpoint(line.address)
        except OSError as error:
            line.refusal = f"its address is unknown: {error.strerror or error}"
            return
        channel, line.doubted = self._channel(dialing=True), False
        connection = Connection(
            self.switch, self.switch.dial(endpoint), channel, peer=line.peer, endpoint=endpoint, probing=not line.dialed
        )
        self._connections[connection.identity] = line.attempt = connection
        connection.start()
        self._introduce(connection)

    def _introduce(self, connection: Connection) -> None:
        """Greet once the channel allows; the dialing end greets first and only whom it meant to reach."""
        if connection.dialed and connection.channel.established and not connection.greeted:
            connection.check(connection.peer)
            if connection.probing:
                connection.greeted = connection.transmit(control(Control.PROBE, ()))
                return
            self.lines[connection.peer].greet(connection, self.name, self._instance)

    def _arrived(self, connection: Connection, frames: Sequence[Frame]) -> None:
        """Handle one ZeroMQ message, and decide whose fault it is when it is bad."""
        try:
            receive = connection.channel.unwrap if connection.ready else connection.receive
            for message, frame in receive(frames, self._message_limit):
                self._handle(connection, message, frame)
            if not connection.greeted:
                self._introduce(connection)
        except (Cut, Refused) as error:
            if connection.ready:
                self._damaged(connection, str(error))
            elif connection.dialed and isinstance(error, Cut):
                self.lines[connection.peer].refusal = str(error)
                self._lost(connection, str(error))
            elif isinstance(error, Later):
                connection.cut()
                self._lost(connection, str(error))
            else:
                self._refused(connection, error)
        except ProtocolError as error:
            if connection.ready:
                raise ProtocolError(f"{connection.peer} broke the protocol: {error}") from error
            self._refused(connection, error)

    def _handle(self, connection: Connection, message: Message, frame: Frame) -> None:
        header = message.header
        address = header.address
        if address.kind >= _FIRST_CONTROL and address.kind != _BYE:
            self._control(connection, message)
            return
        if not connection.ready:
            raise Refused("it sent a message before its greeting")
        line = self.lines[connection.peer]
        session = line.session
        if session.incoming(message, frame) and not session.closed:
            payload = header.layout.payload
            around = header.frame_bytes + (header.layout.padded - payload if header.inline else 0)
            self._statistics.record("received", connection.peer, address, message.arrays, payload, around)
        if (
            session.unreported_bytes > UNREPORTED_BYTES
            or session.received - session.reported > UNREPORTED_MESSAGES
            or session.closed
        ):
            self.report(line)

    def _control(self, connection: Connection, message: Message) -> None:
        """Messages that links exchange among themselves."""
        header = message.header
        kind = header.address.kind
        if kind in (Control.REFUSE, Control.TAKEN):
            connection.refusal = said(message)
            why = Cut if connection.ready else Rejected if kind == Control.REFUSE else TakenThere
            raise why(f"it refused this party: {connection.refusal}")
        if kind == Control.GREETING:
            self._greeted(connection, Greeting.decode(message))
            return
        if kind == Control.PROBE and not connection.ready:
            if connection.probing:
                self._lost(connection, "its certificate is in order")
            else:
                connection.transmit(control(Control.PROBE, ()))
            return
        if not connection.ready:
            raise Refused("it sent a message before its greeting")
        if kind == Control.ABORT:
            self.lines[connection.peer].ended = True
            raise PeerFailed(*control_fields(message, str, str, int, int, str), reporter=connection.peer)
        session = self.lines[connection.peer].session
        session.acknowledge(header.acknowledged, header.consumed)
        (session.peer_pieces,) = control_fields(message, int)

    def _greeted(self, connection: Connection, greeting: Greeting) -> None:
        """Check who greets; from here on the connection carries the session."""
        line = self.lines.get(greeting.name)
        if connection.ready:
            raise ProtocolError("a second greeting")
        if line is None:
            raise Refused(f"{greeting.name[:100]!r} is not a party of this cluster file")
        line.admit(connection, greeting, self.name)
        for other in (line.connection, line.attempt):
            if other is not None and other is not connection:
                self._drop(other)
        if not connection.dialed:
            connection.peer = greeting.name
            self._strangers.remove(connection)
            line.greet(connection, self.name, self._instance)
        self._statistics.reconnects += line.came_up
        away = time.monotonic() - line.down_since if line.came_up and line.connection is None else 0.0
        connection.ready = line.came_up = True
        line.connection, line.attempt, line.attempts, line.refusal = connection, None, 0, ""
        log.info("connected to %s%s", line.peer, f" again, after {away:.1f} s" if away else "")
        line.tell(self._last_words)
        line.session.partial = None  # it is the connection's now
        if not line.resend(greeting.received, greeting.pieces, self._statistics.resent):
            self._lost(connection, "the connection is gone")

    def _refused(self, connection: Connection, error: MpcrtError) -> None:
        """Turn a connection away, or be turned away. Raises LinkError, for versions DisagreementError, where that can
        only be the configuration: at an address of the cluster file, or with who has proved to hold a party's key."""
        line, reason, by_peer = self.lines.get(connection.peer), str(error), isinstance(error, Rejected)
        differ = isinstance(error, OtherVersion | TakenThere) or reason.endswith(OTHER_ORDER)
        kind = DisagreementError if differ else LinkError
        insiders = set() if isinstance(error, Cut) else connection.proven & {self.name, *self.lines}
        if not connection.dialed:
            self.refused += 1
            if by_peer or kind is DisagreementError:
                line = next((self.lines[name] for name in sorted(insiders) if name in self.lines), None)
        connection.refuse(reason, Control.TAKEN if isinstance(error, Taken) else Control.REFUSE)
        self._lost(connection, reason)
        if line is not None:
            line.refusal = reason
            if not line.came_up:
                known = connection.proven and not (by_peer and connection.dialed)
                line.refused, line.unaware = True, self._findable and not known
                raise kind(f"no link to {line.where}: {reason}", self.name if by_peer else line.peer)
            log.warning("no link to %s: %s", line.where, reason)
            return
        if insiders and self.missing() and not isinstance(error, Taken):
            # whose key it has is proved, not whose process it is
            raise kind(f"refused a connection with the certificate {connection.channel.proves}: {reason}")
        self.refusals.append(reason)
        if self.refused <= REFUSALS_SHOWN:  # a stranger must not fill the log
            log.warning("refused a connection: %s", reason)
        for line in self.lines.values():
            line.doubted = self._tls is not None and not (line.came_up or line.address is None)

    def _damaged(self, connection: Connection, reason: str) -> None:
        """Give up a connection with a peer that is known, for a new one; too many end the run."""
        line = self.lines[connection.peer]
        line.damages += 1
        if line.damages > DAMAGES:
            raise ProtocolError(f"{line.where}: {DAMAGES} connections were damaged, the last: {reason}")
        connection.refuse(reason)
        self._lost(connection, reason)

    def _lost(self, connection: Connection, reason: str) -> None:
        """A connection is over; its peer has `patience` to make another."""
        self._drop(connection)
        line = self.lines.get(connection.peer)
        if line is not None and line.attempt is connection:
            line.attempt = None
        if line is not None and line.connection is connection:
            line.connection, line.told, line.gave_up = None, False, connection.was_cut
            line.down_since = time.monotonic()
            if not line.session.closed:
                log.debug("connection to %s lost: %s", line.peer, reason)

    def _ended(self, connection: Connection, reason: str) -> None:
        """The other end is gone: take in what it had sent before, above all why it ended, then count it as lost."""
        if self._inside:
            return  # out of turn; the next report or notice comes here again
        self.pump_all(1 << 14)
        if self._connections.get(connection.identity) is connection:
            self._lost(connection, reason)

    def _drop(self, connection: Connection) -> None:
        if self._connections.pop(connection.identity, None) is not None:
            self._gone.append(connection.identity)
            if connection.ready:
                line = self.lines[connection.peer]
                line.session.keep(connection.channel.arriving)
                line.fruitless += 1
        if connection in self._strangers:
            self._strangers.remove(connection)
        if connection.dialed:
            self.switch.hang_up(connection.endpoint)

    def _noticed(self, notice: Notice) -> None:
        """Match a TCP connection that began or ended with what was dialed; look at all accepted ones otherwise."""
        connected = notice.event == zmq.Event.CONNECTED
        for connection in [c for line in self.lines.values() for c in line.connections if c.dialed]:
            if connected and connection.wire is None and connection.endpoint == notice.endpoint:
                connection.wire, connection.since = Wire(notice.descriptor, dialed=True), time.monotonic()
            elif not connected and connection.wire and connection.wire.descriptor == notice.descriptor:
                self._ended(connection, "the connection ended")
                return
        for line in self.lines.values():
            if not connected and not line.dialed:
                self.report(line)

    def close(self, linger: float) -> None:
        """Free everything, after sending what is queued for at most `linger` seconds."""
        for line in self.lines.values():
            if line.attempt is not None:
                self._drop(line.attempt)
        self.switch.close(linger)
