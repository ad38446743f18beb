"""A child ends when its parent does: it waits on a pipe whose other end only the parent holds.

The kernel closes that end however the parent dies, kill -9 included.
"""

import contextlib
import os
import shutil
import signal
import threading
import time
from pathlib import Path

GRACE = 3.0
SCRATCH_PREFIX = "mpcrt-"


def watch(descriptor: int, scratch: Path | None = None, grace: float = GRACE) -> threading.Thread:
    """Starts the thread that ends this process once the pipe at `descriptor` closes.

    First as SIGTERM would; after `grace` seconds for good, with everything in its process group. `scratch` is the
    local run's temporary directory, which a killed parent could not remove.
    """
    os.set_inheritable(descriptor, False)
    thread = threading.Thread(target=_watch, args=(descriptor, scratch, grace), name="lifeline", daemon=True)
    thread.start()
    return thread


def _watch(descriptor: int, scratch: Path | None, grace: float) -> None:
    with contextlib.suppress(OSError):
        while os.read(descriptor, 1):
            pass
    remove_scratch(scratch)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(130)


def remove_scratch(scratch: Path | None) -> None:
    """Removes a local run's temporary directory, and nothing that is not one."""
    if scratch is not None and scratch.name.startswith(SCRATCH_PREFIX):
        shutil.rmtree(scratch, ignore_errors=True)
