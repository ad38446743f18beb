"""A group of child processes, one a party, that start together and never outlive their parent."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mpcrt.cluster.forks import guard
from mpcrt.cluster.relay import Relay

GRACE = 5.0
POLL = 0.02


class Processes:
    """The running children by name. Each has its own session, so signals reach it and its own children only.

    `command(name, inherited)` is a child's argument list, where `inherited` names the descriptors it gets:
    "lifeline", "listen" if `sockets` has one for it, and "key" if `keys` has one. Closing is idempotent and leaves no
    child behind.
    """

    def __init__(
        self,
        names: Sequence[str],
        command: Callable[[str, Mapping[str, int]], Sequence[str]],
        relay: Relay,
        *,
        sockets: Mapping[str, socket.socket] | None = None,
        keys: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.return_codes: dict[str, int] = {}
        self.killed: set[str] = set()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._relay = relay
        lifeline, self._lifeline = os.pipe()
        guard(self)
        try:
            for name in names:
                inherited = {"lifeline": lifeline}
                if sockets and name in sockets:
                    inherited["listen"] = sockets[name].fileno()
                if keys and name in keys:
                    inherited["key"] = keys[name]
                self._children[name] = subprocess.Popen(
                    list(command(name, inherited)),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=tuple(inherited.values()),
                    env=dict(environment) if environment is not None else None,
                    cwd=directory,
                    # not a session of its own: Linux weighs sessions, and a yield would not reach another's process
                    process_group=0,
                )
                self._relay_output(name)
        except BaseException:
            self.stop(grace=0)
            raise
        finally:
            os.close(lifeline)

    def pid(self, name: str) -> int:
        """A child's process id, which is also its group's."""
        return self._children[name].pid

    def poll(self) -> dict[str, int]:
        """The return codes of the children that have ended so far."""
        for name, child in self._children.items():
            if name not in self.return_codes:
                code = child.poll()
                if code is not None:
                    self.return_codes[name] = code
                    self._signal(name, signal.SIGKILL)  # what the child itself left running
        return self.return_codes

    @property
    def running(self) -> tuple[str, ...]:
        """Who has not ended."""
        ended = self.poll()
        return tuple(name for name in self._children if name not in ended)

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until all have ended, at most `timeout` seconds; whether they have."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.running:
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL)
        return True

    def stop(self, grace: float = GRACE) -> None:
        """Ends every child: SIGTERM, and SIGKILL for those still there after `grace` seconds."""
        try:
            for name in self.running:
                self._signal(name, signal.SIGTERM)
                self._signal(name, signal.SIGCONT)
            self.wait(grace)
        finally:
            self.killed.update(self.running)
            for name in self.running:
                self._signal(name, signal.SIGKILL)
            for child in self._children.values():
                child.wait()
            self.poll()
            self.close()

    def close(self) -> None:
        """After all have ended: prints what they still had to say and closes the lifeline."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        for thread in self._threads:
            thread.join(2)

    def forked(self) -> None:
        """A forked process would keep the children alive after this one."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _signal(self, name: str, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._children[name].pid, number)

    def _relay_output(self, name: str) -> None:
        child = self._children[name]
        for stream, write in ((child.stdout, self._relay.out), (child.stderr, self._relay.err)):
            assert stream is not None
            thread = threading.Thread(target=_pump, args=(stream, name, write), name=f"relay {name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _pump(stream: IO[bytes], name: str, write: Callable[[str, str], None]) -> None:
    with stream:
        while line := stream.readline(1 << 20):
            write(name, line.decode("utf-8", "replace"))
