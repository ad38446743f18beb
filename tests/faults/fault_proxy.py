"""A TCP proxy in front of one party's port that cuts, resets, stalls, delays, throttles, damages and turns away."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field

CHUNK = 1 << 16
QUEUE = 1 << 20
FOREVER = 1e9
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """What happens once `at` bytes have passed the proxy in all, or at once when `at` is 0.

    kind: cut (reset all connections), close (orderly), one (reset one connection), flip (one bit), stall, delay,
    throttle, away (connections are reset and new ones turned away), each of the last four for `seconds`.
    """

    kind: str
    at: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        lasts = "for ever" if self.seconds >= FOREVER else f"for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.kind} {lasts} at byte {self.at}"


@dataclass
class End:
    """One side of a connection, and what is on its way to it: (time due, bytes)."""

    sock: socket.socket
    other: End | None = None
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued: int = 0


class FaultProxy:
    """Forwards connections to `target`, a local port, from a port of its own, and does what it is told on the way."""

    def __init__(self, target: int, seed: int) -> None:
        self._target = target
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: dict[socket.socket, End] = {}
        self._lock = threading.Lock()
        self._planned: list[Fault] = []
        self._until = dict.fromkeys(("stall", "delay", "throttle", "away"), 0.0)
        self._flip = False
        self._allowance = 0.0
        self.carried = 0
        self.struck: list[tuple[float, Fault]] = []
        """When each fault happened (monotonic)."""
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plan(self, fault: Fault) -> None:
        """Let `fault` happen when its byte passes."""
        with self._lock:
            self._planned.append(fault)
            self._planned.sort(key=lambda each: each.at)

    def close(self) -> None:
        """End every connection."""
        self._stop = True
        self._thread.join(5)

    def _run(self) -> None:
        try:
            self._carry()
        finally:
            for end in list(self._ends.values()):
                self._drop(end, reset=False)
            self._listener.close()

    def _carry(self) -> None:
        while not self._stop:
            self._strike(self.carried)
            now = time.monotonic()
            if now < self._until["stall"]:
                time.sleep(0.01)
                continue
            self._allowance = min(self._allowance + 200.0, 20_000.0)
            readers = [self._listener, *(s for s, e in self._ends.items() if e.other and e.other.queued < QUEUE)]
            writers = [s for s, e in self._ends.items() if e.queue and e.queue[0][0] <= now]
            waiting = any(e.queue for e in self._ends.values())
            readable, writable, _ = select.select(readers, writers, [], 0.002 if waiting else 0.01)
            for sock in writable:
                if sock in self._ends:
                    self._write(self._ends[sock], now)
            for sock in readable:
                if sock is self._listener:
                    self._accept(now)
                elif sock in self._ends:
                    self._read(self._ends[sock], now)

    def _due(self, passed: int) -> Fault | None:
        with self._lock:
            return self._planned.pop(0) if self._planned and self._planned[0].at <= passed else None

    def _strike(self, passed: int) -> None:
        while (fault := self._due(passed)) is not None:
            now = time.monotonic()
            self.struck.append((now, fault))
            if fault.kind in self._until:
                self._until[fault.kind] = now + fault.seconds
            if fault.kind == "flip":
                self._flip = True
            elif fault.kind == "one" and self._ends:
                self._drop(self._random.choice(list(self._ends.values())))
            elif fault.kind in ("cut", "close", "away"):
                for end in list(self._ends.values()):
                    self._drop(end, reset=fault.kind != "close")

    def _accept(self, now: float) -> None:
        near, _ = self._listener.accept()
        far = None
        if now >= self._until["away"]:
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self._target), timeout=2)
        if far is None:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            near.close()
            return
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        one, two = End(near), End(far)
        one.other, two.other = two, one
        self._ends |= {near: one, far: two}

    def _read(self, end: End, now: float) -> None:
        assert end.other is not None
        try:
            data = end.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(end, reset=False)
            return
        with self._lock:
            at = self._planned[0].at if self._planned else None
        if at is not None and self.carried < at <= self.carried + len(data):
            # exactly at its byte, wherever in a message that is
            first, data = data[: at - self.carried], data[at - self.carried :]
            self._pass(end.other, first, now)
            self._write(end.other, now)
            self._strike(self.carried)
            if end.sock not in self._ends:
                return
        if data and end.other is not None:
            self._pass(end.other, data, now)

    def _pass(self, end: End, data: bytes, now: float) -> None:
        if self._flip and data:
            self._flip = False
            place = self._random.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << self._random.randrange(8)]) + data[place + 1 :]
        late = self._random.uniform(0.0, 0.05) if now < self._until["delay"] else 0.0
        after = max(now + late, end.queue[-1][0] if end.queue else 0.0)
        end.queue.append((after, data))
        end.queued += len(data)
        self.carried += len(data)

    def _write(self, end: End, now: float) -> None:
        while end.queue and end.queue[0][0] <= now:
            due, data = end.queue.popleft()
            most = len(data)
            if now < self._until["throttle"]:
                most = min(most, int(self._allowance))
                self._allowance -= most
            try:
                sent = end.sock.send(data[:most]) if most else 0
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(end, reset=False)
                return
            end.queued -= sent
            if sent < len(data):
                end.queue.appendleft((due, data[sent:]))
                return

    def _drop(self, end: End, *, reset: bool = True) -> None:
        for each in (end, end.other):
            if each is None:
                continue
            self._ends.pop(each.sock, None)
            if reset:
                with contextlib.suppress(OSError):
                    each.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.sock.close()
