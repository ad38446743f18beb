"""A TCP proxy that cuts, stalls and damages what goes through it."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time


class Proxy:
    """Forwards every connection to `target` from a port of its own."""

    def __init__(self, target: str) -> None:
        self.lead_to(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._stalled = False
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
        threading.Timer(seconds, self._resume).start()

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
            ready, _, _ = select.select([self._listener, *self._pairs], [], [], 0.02)
            if self._cut_after and self._cut_after <= self.carried + 1:
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
        try:
            far = socket.create_connection(self._target, timeout=2)
        except OSError:
            near.close()
            return
        self.connections += 1
        self._pairs |= {near: far, far: near}
        self._answerers.add(far)

    def _carry(self, source: socket.socket) -> None:
        target = self._pairs[source]
        try:
            data = source.recv(1 << 16)
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
                end.close()

    def _close(self) -> None:
        self._cut_after = 0
        for end in self._pairs:
            # a reset, not an orderly end
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()
        self._pairs.clear()

    def close(self) -> None:
        self._stop = True
        self._thread.join(5)
