"""Starts `mpcrt` processes fast: what they import is imported here, once; each is a fork that runs the command line.

One JSON request a line on standard input and one JSON answer on standard output: {"argv": [...], "out": FILE, "err":
FILE} starts a process and gives its id; [id, ...] gives the exit codes so far, null while one runs. A child has its own
session, its output in files, and one thread when it starts, as a fresh process has.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import traceback

ORPHANS = 1000
"""Given as the exit code of a process that left others running."""


def child(request: dict) -> None:
    """What the forked process does; never returns."""
    code = 1
    try:
        os.setsid()
        empty = os.open(os.devnull, os.O_RDONLY)
        out, err = (os.open(request[key], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for key in ("out", "err"))
        for number, descriptor in enumerate((empty, out, err)):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.argv = ["mpcrt", *request["argv"]]
        from mpcrt.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        # threads and registered ends as in an ordinary process
        import atexit
        import threading

        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import what parties import, then fork on request until standard input ends."""
    import jax.numpy
    import msgpack
    import zmq.utils.monitor

    import mpcrt.cli.run
    import mpcrt.protocols
    import mpcrt.ring.kernels
    import mpcrt.runtime.main
    import mpcrt.runtime.secure
    import mpcrt.tracing
    import mpcrt.transport.tls
    import mpcrt.transport.zeromq

    assert jax.numpy and msgpack and zmq.utils.monitor and mpcrt
    print("ready", flush=True)
    ended: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, list):
            print(json.dumps([poll(number, ended) for number in request]), flush=True)
            continue
        number = os.fork()
        if number == 0:
            child(request)
        print(number, flush=True)


def poll(number: int, ended: dict[int, int]) -> int | None:
    """A child's exit code, negative for a signal; None while it runs. What it left in its group is killed."""
    if number not in ended:
        found, status = os.waitpid(number, os.WNOHANG)
        if not found:
            return None
        ended[number] = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(number, signal.SIGKILL)
            ended[number] = ORPHANS
    return ended[number]


if __name__ == "__main__":
    main()
