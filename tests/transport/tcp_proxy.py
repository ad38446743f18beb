"""A TCP proxy that cuts, stalls, slows and damages what goes through it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque

from link_worlds import LEFT

WINDOW, SEGMENT = 1 << 16, 1460
"""Bytes that a slow link holds back, and that it carries at once: loopback's own segments are of 64 KiB."""


class Proxy:
    """Forwards every connection to `target` from a port of its own."""

    def __init__(self, target: str) -> None:
        self.lead_to(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._rate = self._cut_every = self._delay = 0.0
        self._cut_bytes = 0
        self._credit: dict[socket.socket, tuple[float, float]] = {}
        """Bytes that may come from each end, and when that was worked out."""
        self._late: deque[tuple[float, socket.socket, bytes]] = deque()
        """What is on its way for `delay`: when it arrives, and from whom."""
        self._began, self._passed = 0.0, 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._stalled = False
        self._resuming: threading.Timer | None = None
        self.turn_away = False
        """Close every new connection at once."""
        self._damage = 0
        self._cut_after = 0
        self.connections = 0
        self.carried = 0
        self.said = {"dialer": bytearray(), "answerer": bytearray()}
        """All that was carried, from each side."""
        self._answerers: set[socket.socket] = set()
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        LEFT.append(self.close)

    def cut(self) -> None:
        """Close every connection now, losing what is under way."""
        self._cut_after = self.carried + 1

    def cut_after(self, count: int) -> None:
        """Close every connection once `count` more bytes have passed, wherever in a message that is."""
        self._cut_after = self.carried + count

    def lead_to(self, target: str) -> None:
        """Where the next connections go."""
        host, port = target.split(":")
        self._target = (host, int(port))

    def stall(self, seconds: float) -> None:
        """Carry nothing for a while."""
        self._stalled = True
        self._resuming = threading.Timer(seconds, self._resume)
        self._resuming.start()

    def impair(self, *, rate: float = 0.0, cut_every: float = 0.0, cut_bytes: int = 0, delay: float = 0.0) -> None:
        """Be slow from now on, and over connections that begin now; 0 for what is not to be.

        `rate` bytes a second in each direction; a connection is reset when it is `cut_every` seconds old or has carried
        `cut_bytes`; everything takes `delay` seconds.
        """
        self._rate, self._cut_every, self._cut_bytes, self._delay = rate, cut_every, cut_bytes, delay
        self._began, self._passed = time.monotonic(), self.carried
        self._narrow(self._listener)

    def damage(self) -> None:
        """Flip one bit of the next piece of at least 64 bytes."""
        self._damage = 1

    def _resume(self) -> None:
        self._stalled = False

    def _run(self) -> None:
        while not self._stop:
            if self._stalled:
                time.sleep(0.01)
                continue
            self._deliver()
            sources = [source for source in list(self._pairs) if self._allowed(source)]
            ready, _, _ = select.select(
                [self._listener, *sources], [], [], 0.005 if self._rate or self._delay else 0.02
            )
            if (self._cut_after and self._cut_after <= self.carried + 1) or self._overdue():
                self._close()
                continue
            for source in ready:
                if source is self._listener:
                    self._accept()
                elif source in self._pairs:
                    self._carry(source)
        self._close()
        self._listener.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self.turn_away:
            near.close()
            return
        far = socket.socket()
        try:
            self._narrow(far)
            far.settimeout(2)
            far.connect(self._target)
        except OSError:
            near.close()
            far.close()
            return
        self._began, self._passed = time.monotonic(), self.carried
        self.connections += 1
        self._pairs |= {near: far, far: near}
        self._answerers.add(far)

    def _narrow(self, end: socket.socket) -> None:
        """Before it is connected: at a low rate the kernel is to take in little, and often."""
        if self._rate:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)

    def _allowed(self, source: socket.socket) -> int:
        """How many bytes may come from there now."""
        if not self._rate:
            return 1 << 16
        now = time.monotonic()
        credit, since = self._credit.get(source, (0.0, now))
        credit = min(credit + self._rate * (now - since), self._rate / 20)
        self._credit[source] = credit, now
        return int(credit)

    def _overdue(self) -> bool:
        if not self._pairs:
            return False
        late = self._cut_every and time.monotonic() - self._began > self._cut_every
        return bool(late or (self._cut_bytes and self.carried - self._passed > self._cut_bytes))

    def _deliver(self) -> None:
        while self._late and self._late[0][0] <= time.monotonic():
            _, source, data = self._late.popleft()
            if source in self._pairs:
                self._forward(source, data)

    def _carry(self, source: socket.socket) -> None:
        try:
            data = source.recv(min(1 << 16, self._allowed(source)))
        except OSError:
            data = b""
        if self._rate and source in self._credit:
            credit, since = self._credit[source]
            self._credit[source] = credit - len(data), since
        if self._delay and data:
            self._late.append((time.monotonic() + self._delay, source, data))
        else:
            self._forward(source, data)

    def _forward(self, source: socket.socket, data: bytes) -> None:
        target = self._pairs[source]
        try:
            if self._cut_after:
                data = data[: max(0, self._cut_after - self.carried)]
            if self._damage and len(data) >= 64:
                self._damage = 0
                data = data[:40] + bytes([data[40] ^ 4]) + data[41:]
            target.settimeout(5)
            target.sendall(data)
            self.carried += len(data)
            self.said["answerer" if source in self._answerers else "dialer"] += data
        except OSError:
            data = b""
        if not data:
            for end in (source, target):
                self._pairs.pop(end, None)
                self._credit.pop(end, None)
                end.close()

    def _close(self) -> None:
        self._cut_after = 0
        for end in self._pairs:
            # a reset, not an orderly end
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()
        self._pairs.clear()
        self._credit.clear()
        self._late.clear()

    def close(self) -> None:
        self._stop = True
        if self._resuming is not None:
            self._resuming.cancel()
        self._thread.join(5)
