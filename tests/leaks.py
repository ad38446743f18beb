"""What a process holds and a test must not leave behind: threads, and where there is /proc sockets and children."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path

SELF = Path("/proc/self")
PATIENCE = 10.0
"""Seconds for what is ending to end: a thread in its last slice, a killed child that is not yet waited for."""


_kept: set[Hashable] = set()


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """What comes to be held in the block may stay: a fixture of a wider scope makes it when it is first needed."""
    before = held()
    yield
    _kept.update(held().keys() - before.keys())


def held() -> dict[Hashable, str]:
    """Everything of the three kinds, with a name for messages."""
    # pyzmq has a thread for all of a process, from the first buffer that it sends without a copy
    running = [thread for thread in threading.enumerate() if not type(thread).__module__.startswith("zmq.")]
    threads = {("thread", thread): f"thread {thread.name!r}" for thread in running}
    return threads | dict(sockets()) | dict(children())


def sockets() -> Iterator[tuple[Hashable, str]]:
    for entry in entries(SELF / "fd"):
        try:
            target = os.readlink(entry)
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            yield target, f"{target}, descriptor {entry.name}"


def children() -> Iterator[tuple[Hashable, str]]:
    for task in entries(SELF / "task"):
        try:
            pids = (task / "children").read_text().split()
        except OSError:
            continue
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            yield ("child", int(pid)), f"child {pid}: {command[:200] or 'has ended, nobody waited for it'}"


def entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def end(keys: Iterable[Hashable]) -> None:
    """Kill the children among `keys`; of threads and sockets there is nothing that could be ended from here."""
    for key in keys:
        if isinstance(key, tuple) and isinstance(key[1], int):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(key[1], signal.SIGKILL)
                os.waitpid(key[1], 0)


def left(before: dict[Hashable, str], patience: float = PATIENCE) -> list[str]:
    """What is held now and was not before, once it has had `patience` seconds to go; children among it are ended."""
    deadline = time.monotonic() + patience
    while (over := (more := held()).keys() - before.keys() - _kept) and time.monotonic() < deadline:
        time.sleep(0.01)
    end(over)
    return sorted(more[key] for key in over)
