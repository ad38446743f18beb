"""Standard streams that neither miss nor block: there are always three, and who writes to standard error never waits
for somebody to read it."""

from __future__ import annotations

import io
import json
import os
import select
import sys
import threading
import time
from collections import deque
from typing import Any, TextIO

PIECE = select.PIPE_BUF
"""Bytes that a pipe which can be written to at all takes without blocking."""
WAITING_BYTES = 1 << 20
"""What is kept for a reader that does not read; the rest is dropped and counted."""
PATIENCE = 1.0
"""Seconds that a flush waits for a reader."""
CONTROL = "\x1e"
"""Begins a line that a child of a local run writes for its launcher alone: one JSON object."""


def open_missing() -> None:
    """Put the null device where a standard stream of this process is closed: the next file or socket would get its
    number, and be taken for it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def prepare() -> None:
    """Give this process the standard streams it lacks, and a standard error that never blocks."""
    open_missing()
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = Unblocked(2)


class Unblocked(io.TextIOBase):
    """A text stream over a descriptor. A write that would block is left to a thread, up to WAITING_BYTES."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._terminal = os.isatty(descriptor)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._line_open = self._status_shown = False
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """As at the start; a forked child has neither the thread nor what it had to write."""
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = self._dropped = 0
        self._thread: threading.Thread | None = None
        self._given_up = self._closed_there = self._dropping = False

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        """Takes it all, at once."""
        if text:
            with self._changed:
                erase, self._status_shown = "\r\x1b[2K" if self._status_shown else "", False
                # lines are dropped whole
                self._dropping = self._waiting_bytes > WAITING_BYTES and (self._dropping or not self._line_open)
                if not self._dropping:
                    self._put((erase + text).encode("utf-8", "backslashreplace"))
                self._dropped += self._dropping and text.count("\n")
                self._line_open = not text.endswith("\n")
        return len(text)

    def status(self, text: str) -> None:
        """Show one line at the foot of a terminal until something is written or another line is shown."""
        with self._changed:
            if self._terminal and not self._line_open and (text or self._status_shown):
                self._put(f"\r\x1b[2K{text}".encode())
                self._status_shown = bool(text)

    def control(self, entry: dict[str, Any]) -> None:
        """A line for the launcher."""
        with self._changed:
            start = "\n" if self._line_open else ""
            self._put(f"{start}{CONTROL}{json.dumps(entry)}\n".encode())
            self._line_open = False

    def flush(self) -> None:
        """Wait until all is written, as long as somebody reads."""
        with self._changed:
            deadline = time.monotonic() + PATIENCE
            while self._waiting and not self._given_up:
                if not self._changed.wait(max(deadline - time.monotonic(), 0)):
                    self._given_up = True  # until it moves again, or each further flush would wait as long

    # -- with the lock held

    def _put(self, data: bytes) -> None:
        if self._closed_there:
            return
        if not self._waiting:
            data = self._written(data)
        if not data or self._waiting_bytes > 2 * WAITING_BYTES:  # of a line that does not end
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._drain, name="mpcrt standard error", daemon=True)
            self._thread.start()

    def _written(self, data: bytes) -> bytes:
        """Writes what can be written without blocking; the rest of `data`."""
        try:
            while data and self._poll.poll(0):
                data = data[os.write(self._descriptor, data[:PIECE]) :]
            return data
        except OSError:
            self._closed_there = True
            return b""

    # -- the thread

    def _drain(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    return
                data = self._waiting[0]
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self._closed_there = True
            with self._changed:
                self._waiting_bytes -= len(self._waiting.popleft())
                self._given_up = False
                if self._closed_there:
                    self._waiting.clear()
                elif self._dropped and not self._waiting:
                    lost, self._dropped = self._dropped, 0
                    self._put(f"mpcrt: {lost} lines were dropped while nobody read standard error\n".encode())
                self._changed.notify_all()


_launcher: list[Unblocked] = []
"""The standard error of a process whose launcher reads it; kept here, since a program may put another in its place."""


def launched() -> None:
    """A launcher reads this process's standard error, and is told what it begins and how it ends."""
    stream = below(sys.stderr)
    _launcher[:] = [stream] if isinstance(stream, Unblocked) else []


def begins(function: str) -> None:
    """Tell the launcher, if there is one, which party function this process begins."""
    for stream in _launcher:
        stream.control({"begin": function})


def has_got(entry: dict[str, Any]) -> None:
    """Tell the launcher, if there is one, how far a call is, as `progress.show` shows it."""
    for stream in _launcher:
        stream.control({"progress": entry})


def has_launcher() -> bool:
    """Whether one reads this process's standard error."""
    return bool(_launcher)


def ends(code: int, said: str = "") -> None:
    """Tell the launcher that nothing follows, and what was said last. Who ends without it, something else has ended."""
    for stream in _launcher:
        stream.control({"end": code, "said": said})
        stream.flush()


class Above:
    """Standard output over a terminal at whose foot standard error has a status: what is written takes its place."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        clear_status()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def clear_status() -> None:
    """Take away the status, if standard error has one."""
    stream = below(sys.stderr)
    if isinstance(stream, Unblocked):
        stream.status("")


def below(stream: TextIO) -> TextIO:
    """The stream under one that dresses lines, as JSON logs have it for standard error."""
    return getattr(stream, "below", stream)
