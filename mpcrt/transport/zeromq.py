"""Links between processes: ZeroMQ, one port a party, plaintext or TLS, over connections that may break and return."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from mpcrt.errors import DisagreementError, LinkError, MpcrtError, PeerFailed, PeerLost, ProtocolError, UsageError
from mpcrt.transport import addresses as places
from mpcrt.transport.header import Control
from mpcrt.transport.link import Address, Buffer, Failure, Kind, Link
from mpcrt.transport.session import Session
from mpcrt.transport.switchboard import UNREPORTED_BYTES, Switchboard
from mpcrt.transport.tls import TlsContext

SPIN = 1e-3
"""Seconds that `recv` asks again and again before it sleeps, and an idle core with it, which wakes late: with three
processes on two cores relu of one element takes 3.4 ms with 0.3 ms and 3.1 with 1 or 3, mlp_64 16.8, 14.9 and 15.3
(medians of 7 interleaved runs' medians)."""
DEALER_SPIN = 1e-4
"""The same of a dealer, for whose waking few wait: a relu of one element takes 1.46 ms instead of 1.72, and a call that
opens nothing 0.66 instead of 0.75 (medians of 10 interleaved runs' medians)."""
SLICE = 0.1
"""Seconds between two looks at the clock's duties."""
CLOSE_SECONDS = 5.0
LINGER, FAILED_LINGER = 1.0, 0.2
FAREWELL, OPEN_FAREWELL = 0.5, 3.0
"""Seconds at most for which who aborts waits for those it could not tell, in a run and before it."""
_BYE, _HELLO = Address(Control.BYE), Address(Kind.HELLO)


class _Turn:
    """A lock whose holder learns that somebody waits for it. Reentrant."""

    def __init__(self) -> None:
        lock = threading.RLock()
        self.take, self.give = lock.acquire, lock.release
        self.waiting = 0
        self.wake = lambda: None

    def queue(self) -> None:
        """Wait for whoever has the lock, who is told."""
        self.waiting += 1
        self.wake()
        self.take()
        self.waiting -= 1

    def __enter__(self) -> None:
        if not self.take(False):
            self.queue()

    def __exit__(self, *exception: object) -> None:
        self.give()


class ZmqLink(Link):
    """One process's end of its links.

    `addresses` lists all parties in the order of the cluster file, with what the others dial or None; of a pair the
    later dials the earlier, and who has no address always dials. Messages are received on the calling thread; while
    nobody calls, a watcher takes them in and notices who aborts or is gone.
    """

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, str | None],
        *,
        listen: str | None = None,
        listen_fd: int | None = None,
        connect: float = 30.0,
        idle: float = 60.0,
        tls: TlsContext | None = None,
        spin: float = SPIN,
        resend_limit: int = 1 << 28,
        inbox_limit: int = 1 << 33,
        message_limit: int = 1 << 32,
    ) -> None:
        """Times in seconds, limits in bytes.

        `listen` is the address to answer on where it is not the one that others dial; `listen_fd` an already listening
        socket, taken over when the link opens. `send` waits while more than `resend_limit` is unacknowledged by a
        peer; a peer that sends more than `inbox_limit` unasked ends the run.
        """
        places.dialed_by(name, addresses)
        super().__init__(name, [peer for peer in addresses if peer != name])
        self._addresses = dict(addresses)
        self._listen = listen or addresses[name]
        self._listen_fd = self._listening = listen_fd
        self._connect, self._idle, self._tls, self._spin = connect, idle, tls, spin
        self._resend_limit, self._inbox_limit, self._message_limit = resend_limit, inbox_limit, message_limit
        self._turn = _Turn()
        self._board: Switchboard | None = None
        self._failure: MpcrtError | None = None
        self._reported = False
        self._aborted: Failure | None = None
        self._closed = False
        self._released = False
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"mpcrt link watcher of {name}", daemon=True)
        self._next_tick = 0.0

    @property
    def missing(self) -> tuple[str, ...]:
        board = self._board
        return self.peers if board is None else tuple(line.peer for line in board.missing())

    def open(
        self, hello: Callable[[str], bytes] | None = None, heard: Callable[[str, np.ndarray], None] | None = None
    ) -> None:
        """Listen, dial, greet and be greeted by every peer.

        Raises UsageError for a port that cannot be had, PeerLost naming the peers that did not come up within
        `connect`, LinkError naming a peer that was refused or refuses, DisagreementError naming
        one that speaks another version of the links.
        """
        if self._board is not None or self._closed:
            raise UsageError(f"{self.name}'s link was opened before; a run has one link")
        descriptor = self._listen_fd
        if descriptor is None and self._listen is not None:
            descriptor = places.listener(self.name, self._listen).detach()
        self._listening = descriptor
        self._board = Switchboard(
            self.name, self._addresses, idle=self._idle, tls=self._tls, statistics=self.statistics,
            message_limit=self._message_limit, inbox_limit=self._inbox_limit, descriptor=descriptor,
        )  # fmt: skip
        self._turn.wake = self._board.switch.wake
        with self._turn:
            try:
                if hello is not None:
                    for peer in self.peers:
                        self.send(peer, _HELLO, hello(peer))
                self._come_up(self._board, time.monotonic() + self._connect, heard)
                self._watcher.start()
            except BaseException as error:
                if isinstance(error, LinkError | DisagreementError | PeerLost):
                    self._board.abort(Failure(error.peer, "", 0, error.exit_code, str(error)))
                    if not isinstance(error, PeerLost):  # others may be about to come up
                        self._farewell(self._board, error.peer, OPEN_FAREWELL)
                elif isinstance(error, PeerFailed):
                    self._farewell(self._board, error.reporter, OPEN_FAREWELL)
                self._release(self._board)
                raise

    def _farewell(self, board: Switchboard, culprit: str, seconds: float) -> None:
        """Give those without a connection now a moment to learn why this party leaves."""
        now = time.monotonic()
        # what was put on a connection that had just broken is noticed a moment later
        soon, deadline = now + SLICE, now + seconds
        while now < min(soon, deadline):
            with contextlib.suppress(MpcrtError):
                board.pump_all()
                board.switch.wait(SLICE / 2)
                board.tick()
            now = time.monotonic()
            if board.untold(culprit):
                soon = now + SLICE

    def _come_up(self, board: Switchboard, deadline: float, heard: Callable[[str, np.ndarray], None] | None) -> None:
        self._step(board, 0.0)
        unheard = set(self.peers if heard else ())
        while missing := board.missing():
            self._step(board, SLICE / 2)
            for peer in [p for p in unheard if _HELLO in board.lines[p].session.inbox]:
                unheard.remove(peer)
                assert heard is not None
                heard(peer, board.lines[peer].session.inbox[_HELLO].arrays[0])
            if time.monotonic() > deadline:
                names = "; ".join(line.where + (f": {line.refusal}" if line.refusal else "") for line in missing)
                refused = f". Connections refused meanwhile: {'; '.join(board.refusals)}" if board.refusals else ""
                raise PeerLost(f"did not come up within {self._connect:g} s: {names}{refused}", missing[0].peer)

    def send(self, peer: str, address: Address, *buffers: Buffer) -> None:
        turn = self._turn
        if not turn.take(False):
            turn.queue()
        try:
            board, session = self._live(peer)
            if session.closed:
                raise PeerLost(f"{peer} ended its run before {address} was sent to it", peer)
            encoded = session.outgoing(address, buffers, self.nonce)
            self.statistics.record("sent", peer, address, encoded.arrays, encoded.payload, encoded.header)
            board.transmit(peer, encoded)
            if session.sent_sequence % 16 == 0 or session.unacknowledged_bytes > self._resend_limit:
                self._guard(board.pump_all)
                while session.unacknowledged_bytes > self._resend_limit and len(session.unacknowledged) > 1:
                    self._step(board, SLICE)
        finally:
            turn.give()

    def recv(self, peer: str, address: Address, *, limit: int) -> list[np.ndarray]:
        turn = self._turn
        if not turn.take(False):
            turn.queue()
        try:
            board, session = self._live(peer)
            arrays = session.take(address, limit, self.nonce)
            if arrays is None:
                busy = time.monotonic() + self._spin
                while (arrays := session.take(address, limit, self.nonce)) is None:
                    if not self._guard(board.pump):
                        self._rest(board, SLICE / 2, busy)
                    elif time.monotonic() >= self._next_tick:
                        self._rest(board, 0.0)  # what just came may be what is waited for
            if session.consumed - session.consumed_reported > UNREPORTED_BYTES:
                board.report(board.lines[peer])
            return arrays
        finally:
            turn.give()

    def arrived(self, peer: str, address: Address) -> bool:
        with self._turn:
            if self._failure is not None:
                return True
            board, session = self._live(peer)
            while not session.has(address):
                if not self._guard(board.pump):
                    return False
            return True

    def drain(self, peer: str, limit: int) -> None:
        with self._turn:
            board, session = self._live(peer)
            while session.pending > limit:
                if session.closed:
                    raise PeerLost(f"{peer} ended its run with messages from {self.name} unread", peer)
                self._step(board, SLICE)

    def abort(self, failure: Failure) -> None:
        with self._turn:
            if self._aborted is not None:
                return
            if isinstance(self._failure, LinkError | PeerLost | ProtocolError) and not failure.reason:
                failure = failure._replace(reason=str(self._failure))
            self._aborted, self._reported = failure, True
            self._failure = self._failure or LinkError(f"{self.name} has aborted the run")
            if self._board is not None and not self._closed:
                self._board.abort(failure)

    def close(self) -> None:
        with self._turn:
            board = self._board
            if board is None or self._closed:
                self._closed = True
                return
            self._reported = True
            if self._failure is None:
                with contextlib.suppress(MpcrtError):
                    self._say_goodbye(board, min(CLOSE_SECONDS, self._idle))
            elif self._aborted is not None:
                self._farewell(board, self._aborted.party, FAREWELL)
            elif isinstance(self._failure, PeerFailed) and not self._failure.function:
                self._farewell(board, self._failure.reporter, FAREWELL)
            self._closed = True
        self._stop.set()
        if self._watcher.is_alive() and threading.current_thread() is not self._watcher:
            self._watcher.join()
        self._release(board)

    def forked(self) -> None:
        if self._listening is not None and not self._released:
            os.close(self._listening)

    def _say_goodbye(self, board: Switchboard, patience: float) -> None:
        """Tell each peer that nothing more comes, and wait until it has everything, or nothing more of it arrives."""
        for peer, line in board.lines.items():
            if not (line.session.closed and line.connection is None):
                board.transmit(peer, line.session.outgoing(_BYE, (), self.nonce))
        positions, deadline = [], time.monotonic() + patience
        while time.monotonic() < deadline and any(
            line.session.unacknowledged and not (line.session.closed and line.connection is None)
            for line in board.lines.values()
        ):
            self._step(board, SLICE / 2)
            before, positions = positions, [line.session.position for line in board.lines.values()]
            if positions != before:
                deadline = time.monotonic() + patience

    def _release(self, board: Switchboard) -> None:
        with self._turn:
            self._closed = True
            if not self._released:
                self._released = True
                board.close(LINGER if self._failure is None else FAILED_LINGER)
                self._turn.wake = lambda: None

    def _live(self, peer: str) -> tuple[Switchboard, Session]:
        if self._failure is not None:
            self._reported = True
            raise self._failure
        if self._board is None or self._closed:
            raise LinkError(f"{self.name}'s link is not open")
        line = self._board.lines.get(peer)
        if line is None:
            raise UsageError(f"{self.name} has no link to {peer!r}, only to {', '.join(self.peers)}")
        return self._board, line.session

    def _guard(self, step) -> bool:
        """Run one step of the switchboard; what it raises is the end of the run for every later call too."""
        try:
            return bool(step())
        except MpcrtError as error:
            self._reported = True
            raise self._failed(error) from None

    def _failed(self, error: MpcrtError) -> MpcrtError:
        """Note what ended the run, and return what did first.

        A peer's failure before all had met all is passed on: who is connected to this party may not be to that one.
        """
        if self._failure is None:
            self._failure = error
            if self._board is not None and isinstance(error, PeerFailed) and not error.function:
                reason = str(error) if error.reason else ""
                self._board.abort(Failure(error.party, "", error.number, error.code, reason))
        return self._failure

    def _step(self, board: Switchboard, seconds: float) -> None:
        """Wait for something to arrive, and take it in."""
        self._rest(board, seconds)
        self._guard(board.pump_all)

    def _rest(self, board: Switchboard, seconds: float, busy: float = 0.0) -> None:
        """Wait until something arrives, and do what is due; a thread that waits for the lock gets it.

        Raises what ended the run meanwhile.
        """
        changed = board.switch.wait(seconds, busy)
        now = time.monotonic()
        if changed or now >= self._next_tick:
            self._next_tick = now + SLICE / 2
            self._guard(board.tick)
        if self._turn.waiting:
            self._turn.__exit__()
            time.sleep(1e-3)
            self._turn.__enter__()
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise LinkError(f"{self.name}'s link was closed")

    def _watch(self) -> None:
        """The watcher thread: keep the link going while the engine is elsewhere."""
        while not self._stop.wait(SLICE):
            if not self._turn.take(False):
                continue  # whoever has it does the same
            try:
                if self._board is None or self._closed:
                    return
                if self._failure is None:
                    until = time.monotonic() + SLICE / 2  # faster than anybody sends, or a flood would pile up
                    while self._board.pump() and time.monotonic() < until:
                        pass
                    self._board.tick()
                    # the steps of a handshake follow each other: connections may not last for a slice each
                    while any(line.down for line in self._board.lines.values()) and not self._turn.waiting:
                        self._board.switch.wait(SLICE / 2)
                        self._board.pump_all()
                        self._board.tick()
            except MpcrtError as error:
                self._failed(error)
            finally:
                self._turn.give()
            if self._failure is not None and not self._reported:
                self._reported = True
                if self.on_failure is not None:
                    self.on_failure(self._failure)
