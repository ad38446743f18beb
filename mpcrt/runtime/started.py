"""The processes of a LocalCluster that has started, and the ways in which they end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from dataclasses import dataclass

from mpcrt.cluster.launcher import LocalRun
from mpcrt.errors import MpcrtError, PeerLost, UsageError
from mpcrt.runtime.engine import Engine
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.session import Session
from mpcrt.transport.link import Failure

DRIVER = "driver"
CLOSE_SECONDS = 5.0
FAILED_GRACE = 1.0
"""Seconds that the processes have to end by themselves when the work is not finished; then they are killed."""
POLL_SECONDS = 0.2


@dataclass(eq=False)
class Started:
    """The processes of a cluster that runs, and the driver's part in their run. Knows nothing of its LocalCluster, so
    that one that is dropped can still be ended."""

    pid: int
    run: LocalRun
    session: Session
    engine: Engine
    recorder: Profile

    def finish(self) -> None:
        """An orderly end where nothing has failed, else an end at once."""
        session, run, link = self.session, self.run, self.engine.link
        try:
            if session.failure is None:
                session.thread = threading.get_ident()
                with contextlib.suppress(MpcrtError):
                    session.finish()
            if link is not None:
                with contextlib.suppress(MpcrtError):
                    link.close()
            if session.failure is None:
                run.processes.wait(CLOSE_SECONDS)
            self.recorder.write()
        finally:
            run.close(CLOSE_SECONDS if session.failure is None else FAILED_GRACE)

    def cancel(self, why: str) -> None:
        """Ends the work of all processes, without waiting for them."""
        self.session.fail(UsageError(why))
        if self.engine.link is not None:
            self.engine.link.abort(Failure(DRIVER, "", self.session.number, 130))

    def abandon(self) -> None:
        """What is done when a LocalCluster is dropped without close, or the interpreter ends; in whatever thread."""
        if self.pid != os.getpid():
            return
        self.engine.abandoned = True  # its thread closes the link
        self.session.fail(UsageError("the LocalCluster was dropped"))
        self.run.close(grace=0)
        warnings.warn(
            "a LocalCluster was dropped without close(); use `with mpcrt.LocalCluster(...) as cluster:`, or close it",
            ResourceWarning,
            stacklevel=2,
        )


def watch(session: Session, run: LocalRun) -> None:
    """Until the run ends: a child that is killed ends it at once, without waiting for its silence."""
    while session.failure is None and not session.finished:
        for name, code in run.processes.poll().items():
            if code < 0:
                session.fail(PeerLost(f"{name}'s process was killed by signal {-code}", name))
        time.sleep(POLL_SECONDS)
