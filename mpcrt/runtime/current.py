"""The running session: the one context variable, bound by the launcher and by nothing else."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mpcrt.errors import UsageError

if TYPE_CHECKING:
    from mpcrt.runtime.session import Session

session: ContextVar[Session | None] = ContextVar("mpcrt session", default=None)


def require(what: str) -> Session:
    """The session of this thread, for a placement call; UsageError where such a call cannot be made."""
    found = session.get()
    if found is None:
        raise UsageError(
            f"{what}: no session in this thread; placement calls are made by main(), in the thread that runs it, "
            "in a program started with `mpcrt run` (or use mpcrt.LocalCluster)"
        )
    if found.busy_thread == threading.get_ident():
        raise UsageError(
            f"{what}: called inside a placement function; party functions work on plain values; main() makes the calls"
        )
    if found.thread != threading.get_ident():
        raise UsageError(f"{what}: called from another thread; only the thread that runs main() makes placement calls")
    return found
