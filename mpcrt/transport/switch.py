"""One ROUTER socket for all of a party's connections: it answers on one port and dials out, all through one queue.

Every TCP connection has its own routing id: ids of accepted connections are ZeroMQ's, or what a stranger chose; those
of dialed ones are given here. So what arrives is known to belong to one connection, and a new one is a new session.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import time
import uuid
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import zmq
from zmq.backend import Socket
from zmq.utils.monitor import parse_monitor_message

from mpcrt.transport.callers import COUNTED, Callers
from mpcrt.transport.header import BUFFERS_LIMIT, Frame

ZERO_COPY = 1 << 16
"""From this size on a frame is referred to until it has left; below, a copy is cheaper than the bookkeeping."""
_MORE = int(zmq.SNDMORE)
_NOW = int(zmq.NOBLOCK)
_SOURCE = int(zmq.SRCFD)
_HANDSHAKE_MS = 10_000
_EVENTS = (
    zmq.Event.ACCEPTED
    | zmq.Event.CONNECTED
    | zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
    | zmq.Event.HANDSHAKE_FAILED_AUTH
)


class Notice(NamedTuple):
    """A change that the socket reports: of a TCP connection (by file descriptor) to or at an endpoint."""

    event: int
    descriptor: int
    endpoint: str


class Switch:
    """The ROUTER socket, its monitor and a way to wake a waiting thread. Not thread safe, except for `wake`."""

    def __init__(self, *, heartbeat: float, timeout: float, frame_limit: int, copy_first: bool) -> None:
        """`heartbeat` and `timeout` in seconds; frames above `frame_limit` bytes end their connection unread.

        Where the kernel counts bytes, heartbeats are only sent: whoever counts decides who is silent. ZeroMQ would cut
        a connection over which one frame takes longer than `timeout`, or whose frames nobody has read for as long.
        """
        silence = 0 if COUNTED else max(100, int(timeout * 1000))
        self._context = zmq.Context(io_threads=1)
        self._router = router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.SNDHWM, 0)
        # where ZeroMQ has stopped to read and the connection is reset, its next heartbeat aborts the process
        router.setsockopt(zmq.RCVHWM, 0)
        router.setsockopt(zmq.MAXMSGSIZE, frame_limit)
        router.setsockopt(zmq.IPV6, 1)
        # the kernel's pauses between its attempts double, until they are longer than a run waits
        router.setsockopt(zmq.CONNECT_TIMEOUT, max(100, int(timeout * 1000)))
        # longer than two looks: what is queued for a connection that has ended would go over the next, for nothing
        router.setsockopt(zmq.RECONNECT_IVL, 250)
        router.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        router.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        router.setsockopt(zmq.HEARTBEAT_IVL, max(1, int(heartbeat * 1000)))
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, silence)
        router.setsockopt(zmq.HEARTBEAT_TTL, silence)
        # the wrappers round these cost as much as they do
        self._send, self._recv = partial(Socket.send, router), partial(Socket.recv, router)
        self._monitor = router.get_monitor_socket(_EVENTS)
        self._copy_first = copy_first
        self._ahead: deque[tuple[bytes, int, list[Frame]]] = deque()
        self.callers = Callers()
        self._woken, self._waker = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._waker, False)
        self._drained = False
        """Nothing was done with the socket since it had no message."""
        self._poller = select.poll()
        self._monitored = int(self._monitor.getsockopt(zmq.FD))
        arriving = int(router.getsockopt(zmq.FD))
        self._only_arriving = [(arriving, select.POLLIN)]
        for source in (arriving, self._monitored, self._woken):
            self._poller.register(source, select.POLLIN)

    def listen(self, descriptor: int) -> None:
        """Answer on an already listening TCP socket, which belongs to ZeroMQ from now on."""
        place = socket.socket(fileno=os.dup(descriptor))
        host, port = place.getsockname()[:2]
        name = f"tcp://[{host}]:{port}" if place.family == socket.AF_INET6 else f"tcp://{host}:{port}"
        place.close()
        self._router.setsockopt(zmq.USE_FD, descriptor)
        self._router.bind(name)
        self._router.setsockopt(zmq.USE_FD, -1)

    def dial(self, endpoint: str) -> bytes:
        """Start to connect; ZeroMQ tries again, with growing pauses and jitter, until it is hung up. Returns the id."""
        # ZeroMQ aborts the process for an id that a stranger took before, so it must not be guessed
        identity = b"dialed" + uuid.uuid4().bytes
        self._drained = False
        self._router.setsockopt(zmq.CONNECT_ROUTING_ID, identity)
        self._router.connect(endpoint)
        return identity

    def hang_up(self, endpoint: str) -> None:
        """End the connection dialed to `endpoint`, with everything still queued on it.

        ZeroMQ aborts the process when a connection goes while its message is half read, and waiting reads the first
        frame ahead. So everything is read first, to be received later.
        """
        while (message := self._receive()) is not None:
            self._ahead.append(message)
        self._drained = False
        with contextlib.suppress(zmq.ZMQError):  # it may be gone already
            self._router.disconnect(endpoint)

    def send(self, identity: bytes, frames: Sequence[Frame]) -> bool:
        """Queue one message; never waits. False when the connection is gone."""
        send = self._send
        self._drained = False
        try:
            send(identity, _MORE, True, False)
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return False
            raise
        last = len(frames) - 1
        for place, frame in enumerate(frames):
            send(frame, _MORE if place < last else 0, len(frame) < ZERO_COPY, False)
        return True

    def receive(self) -> tuple[bytes, int, list[Frame]] | None:
        """The next message, whose connection (by routing id and by descriptor) it came over; None when there is none
        now. Large frames are not copied."""
        return self._ahead.popleft() if self._ahead else self._receive()

    def _receive(self) -> tuple[bytes, int, list[Frame]] | None:
        recv = self._recv
        try:
            identity = recv(_NOW, True, False)
        except zmq.Again:
            self._drained = True
            return None
        self._drained = False
        frame = recv(0, False, False)
        try:
            descriptor = frame.get(_SOURCE)
        except zmq.ZMQError:  # a stranger that speaks ZMTP 1
            descriptor = -1
        frames: list[Frame] = [frame.bytes if self._copy_first or len(frame) < ZERO_COPY else frame.buffer]
        while frame.more:
            frame = recv(0, False, False)
            if len(frames) <= BUFFERS_LIMIT:
                frames.append(frame.buffer)
        return identity, descriptor, frames

    @property
    def drained(self) -> bool:
        """Whether everything that had come whole was taken, as of a moment ago."""
        return self._drained and not self._ahead

    def notices(self) -> list[Notice]:
        """What the monitor has reported since the last call."""
        notices = []
        while True:
            try:
                parts = self._monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return notices
            event = parse_monitor_message(parts)
            notice = Notice(int(event["event"]), int(event["value"]), event["endpoint"].decode())
            if notice.event in (zmq.Event.ACCEPTED, zmq.Event.CONNECTED):
                self.callers.came(notice.descriptor)
            elif notice.event == zmq.Event.DISCONNECTED:
                self.callers.left(notice.descriptor)
            if notice.event != zmq.Event.ACCEPTED:
                notices.append(notice)

    def wait(self, seconds: float, busy: float = 0.0) -> bool:
        """Until something arrives, `wake` is called, or the time is over. Whether a connection may have changed.

        Asks again and again until `busy`, on the monotonic clock: a sleeping thread wakes too late for a round trip.
        ZeroMQ's descriptor tells only of what comes after the socket was found empty and left alone since.
        """
        if self._ahead or not (self._drained or self._empty()):
            return False
        poll = self._poller.poll
        while not (ready := poll(0)):
            if time.monotonic() >= busy:
                ready = poll(math.ceil(seconds * 1000))
                break
            os.sched_yield()
        if ready == self._only_arriving:
            return False
        sources = [source for source, _ in ready]
        if self._woken in sources:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
        return self._monitored in sources

    def _empty(self) -> bool:
        self._drained = not int(self._router.getsockopt(zmq.EVENTS)) & zmq.POLLIN
        return self._drained

    def wake(self) -> None:
        """End another thread's `wait`."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"w")

    def close(self, linger: float) -> None:
        """Send what is queued for at most `linger` seconds, then free the port, the threads and the descriptors."""
        self._router.disable_monitor()
        self._monitor.close(0)
        self._router.close(int(linger * 1000))
        self._context.term()
        os.close(self._woken)
        os.close(self._waker)
