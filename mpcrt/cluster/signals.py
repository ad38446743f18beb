"""Signals that end a process in an orderly way, as KeyboardInterrupt."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

from mpcrt.cluster import exit_codes


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


@contextlib.contextmanager
def _handling(handler: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
