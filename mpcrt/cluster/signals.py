"""Signals that end a process in an orderly way, as KeyboardInterrupt."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from mpcrt.cluster import exit_codes
from mpcrt.cluster.logs import last_line

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_once() -> None:
    """Until something else is set, a signal ends the process with its last line and code: before there is anything to
    end in an orderly way, and while imports run, which an exception would leave half done."""
    for number in _taken():
        signal.signal(number, _end)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """`end_at_once` within it."""
    with _handling(_end):
        yield


@contextlib.contextmanager
def terminating_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; only the main thread can have handlers."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """As `terminating_signals` for a party's own process: the first signal raises KeyboardInterrupt, later ones of
    the launcher do not disturb the orderly end, and a second Ctrl-C ends the process at once."""
    seen = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal seen
        if not seen:
            seen = True
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            os._exit(exit_codes.INTERRUPTED)

    with _handling(interrupt):
        yield


def _end(number: int, frame: object) -> None:
    words = sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]
    party = words[words.index("--party") + 1] if "--party" in words[:-1] else ""
    line = last_line(party, "interrupted", exit_codes.INTERRUPTED, "--log-json" in words) + "\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode())
    os._exit(exit_codes.INTERRUPTED)


def _taken() -> list[signal.Signals]:
    """The signals that end this process. SIGHUP and SIGINT that whoever started it has set to be ignored stay so:
    `nohup` does that, and a shell for what it runs in the background."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [n for n in _ENDING if n == signal.SIGTERM or signal.getsignal(n) is not signal.SIG_IGN]


@contextlib.contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _taken()}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
