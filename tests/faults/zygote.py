"""Starts `mpcrt` processes fast: what they import is imported here, once; each is a fork that runs the command line.

One JSON request a line on standard input and one JSON answer on standard output: {"argv": [...], "out": FILE, "err":
FILE, "trace": FILE, "holds": [...]} starts a process and gives its id; [id, ...] gives the exit codes so far, null
while one runs. A child has its own session, its output in files, and one thread when it starts, as a fresh process has.
Into `trace` it writes `SECONDS PHASE` whenever it comes to another phase of the run. A hold, [phase, n, seconds],
makes it sleep at the n-th message of a phase, before it is sent or taken, after writing `SECONDS PHASE held`.
With "secrets": FILE a child writes there what its log must not hold (see `note_secrets`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import traceback

PHASES = {
    "HELLO": "agree", "STEP": "agree", "META": "agree", "RESULT": "agree", "INPUT": "input", "PUBLISH": "input",
    "OPEN": "rounds", "DEAL": "rounds", "REVEAL": "reveal",
}  # fmt: skip
"""What a run is doing when it sends or takes a message of a kind."""
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
        trace(request["trace"], [tuple(hold) for hold in request["holds"]])
        if "secrets" in request:
            note_secrets(request["secrets"])
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


def trace(file: str, holds: list[tuple[str, int, float]]) -> None:
    """Note the phases of this process's link, and hold it where asked."""
    from mpcrt.transport.link import Address, Kind
    from mpcrt.transport.zeromq import ZmqLink

    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    names = {int(kind): PHASES[kind.name] for kind in Kind}
    counts = dict.fromkeys(PHASES.values(), 0)
    last = [""]

    def note(address: Address) -> None:
        phase = names[address.kind]
        counts[phase] += 1
        if phase != last[0]:
            last[0] = phase
            os.write(descriptor, f"{time.monotonic()} {phase}\n".encode())
        if holds and phase == holds[0][0] and counts[phase] >= holds[0][1]:
            seconds = holds.pop(0)[2]
            os.write(descriptor, f"{time.monotonic()} {phase} held\n".encode())
            time.sleep(seconds)

    send, recv = ZmqLink.send, ZmqLink.recv

    def noted_send(self, peer, address, *buffers):
        note(address)
        return send(self, peer, address, *buffers)

    def noted_recv(self, peer, address, *, limit):
        note(address)
        return recv(self, peer, address, limit=limit)

    ZmqLink.send, ZmqLink.recv = noted_send, noted_recv


def note_secrets(file: str) -> None:
    """Write to `file`, as lines `KIND HEX`: pair seeds, the first words of masked messages, and what ABORT says."""
    import numpy as np

    from mpcrt.runtime import main as runtime
    from mpcrt.transport.link import Kind
    from mpcrt.transport.zeromq import ZmqLink

    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(kind: str, data: bytes) -> None:
        os.write(descriptor, f"{kind} {data.hex()}\n".encode())

    meet, send, abort = runtime.meet, ZmqLink.send, ZmqLink.abort

    def noted_meet(*arguments, **options):
        roster = meet(*arguments, **options)
        for seed in roster.seeds.values():
            note("seed", seed)
        return roster

    def noted_send(self, peer, address, *buffers):
        for buffer in buffers:
            data = np.asarray(buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, np.uint8)).tobytes()
            if address.kind in (Kind.INPUT, Kind.OPEN, Kind.DEAL, Kind.REVEAL) and len(data) >= 8:
                note("word", data[:8])
        return send(self, peer, address, *buffers)

    def noted_abort(self, failure):
        note("abort", repr(tuple(failure)).encode())
        return abort(self, failure)

    runtime.meet, ZmqLink.send, ZmqLink.abort = noted_meet, noted_send, noted_abort


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
