"""Looks from time to time at how far the engine is, for whoever is at a terminal. Without one there is no thread, and
the engine knows nothing of it: it is the counters that are read."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mpcrt.cluster import progress, streams
from mpcrt.runtime import calls

if TYPE_CHECKING:
    from mpcrt.cluster.options import RunOptions
    from mpcrt.runtime.engine import Engine

LOOK = 0.2
"""Seconds between two looks."""
LONG = 1.0
"""A call that takes longer is shown."""


@contextlib.contextmanager
def watching(engine: Engine, options: RunOptions) -> Iterator[None]:
    """Within it long calls are shown: on this terminal, or to the launcher that has asked for it."""
    launched = streams.has_launcher()
    if launched:
        tell = streams.has_got if options.progress else None
    else:
        tell = progress.show if progress.at_terminal() and not (options.quiet or options.log_json) else None
    if tell is None:
        yield
        return
    stop, stdout = threading.Event(), sys.stdout
    thread = threading.Thread(target=_watch, args=(engine, tell, stop), name="mpcrt progress", daemon=True)
    thread.start()
    if not launched and stdout.isatty():
        sys.stdout = streams.Above(stdout)  # type: ignore[assignment]
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.stdout = stdout


def _watch(engine: Engine, tell: Callable[[dict[str, Any]], None], stop: threading.Event) -> None:
    seen: calls.Call | None = None
    began = rounds = exchanged = 0
    shown = False
    while not stop.wait(LOOK):
        call, (now_rounds, now_exchanged) = engine.pipeline.oldest, exchanged_by(engine)
        if call is not seen:
            seen, began, rounds, exchanged = call, time.monotonic(), now_rounds, now_exchanged
        seconds = time.monotonic() - began
        if isinstance(call, calls.SecureCall | calls.Move) and seconds > LONG:
            tell({
                "call": f"{call.name}()", "rounds": now_rounds - rounds, "of": engine.devices.rounds_under_way,
                "bytes": now_exchanged - exchanged, "seconds": round(seconds, 1),
            })  # fmt: skip
            shown = True
        elif shown:
            tell({})
            shown = False
    if shown:
        tell({})


def exchanged_by(engine: Engine) -> tuple[int, int]:
    """Rounds so far, and bytes sent and received."""
    if not engine.opened.is_set() or engine.link is None or not hasattr(engine, "devices"):
        return 0, 0
    statistics = engine.link.statistics
    return engine.devices.rounds, statistics.total("sent").bytes + statistics.total("received").bytes
