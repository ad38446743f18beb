"""What a call takes on slow networks: relu of one element and its reveal, real processes, links of a given round trip.

    python benchmarks/latency.py [--rtt 80] [--calls 12]

Every party is dialed through a proxy that hands on what it gets half a round trip later. Prints one JSON object, in
seconds, medians of calls at alice: `first`, the first call and its reveal, tracing included; `one`, a call and its
reveal, each awaited before the next; `fresh`, the same of an input that alice shares anew for each call; `five`, five
independent calls and their reveals, asked for at once; `chain`, five calls of which each takes the last one's result.
"""

from __future__ import annotations

import argparse
import json
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml

PROGRAM = """
import json
import statistics
import time

import jax.numpy as jnp
import numpy as np

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


@alice
def ours(k):
    return np.full(1, k, np.float32)


@bob
def theirs(k):
    return np.full(1, -k, np.float32)


@spu
def relu(x, y):
    return jnp.maximum(x + y, 0)


found = {}  # what this party measured: another has other times, and calls are given the same everywhere


@alice
def keep(file):
    with open(file, "w") as out:
        json.dump(found, out)


def main(arguments):
    calls, file = int(arguments[0]), arguments[1]
    pairs = [(ours(k).to(spu), theirs(0.5).to(spu)) for k in range(5)]

    def one():
        return [relu(*pairs[0])]

    def fresh():
        return [relu(ours(3), pairs[0][1])]

    def five():
        return [relu(*pair) for pair in pairs]

    def chain():
        y = pairs[0][0]
        for _, x in pairs:
            y = relu(y, x)
        return [y]

    def timed(work):
        began = time.perf_counter()
        for value in [y.to(mpcrt.public) for y in work()]:
            np.asarray(value)
        return time.perf_counter() - began

    found["first"] = timed(one)
    for work in (one, fresh, five, chain):
        timed(work), timed(work)
        found[work.__name__] = statistics.median(timed(work) for _ in range(calls))
    keep(file)
"""


class Slow:
    """Forwards connections to a port of this machine, each piece `delay` seconds after it came."""

    def __init__(self, port: int, delay: float) -> None:
        self._target, self._delay = ("127.0.0.1", port), delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                threading.Thread(target=self._take, args=(one, pieces), daemon=True).start()
                threading.Thread(target=self._give, args=(other, pieces), daemon=True).start()

    def _take(self, source: socket.socket, pieces: queue.SimpleQueue) -> None:
        data = b"more"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            pieces.put((time.monotonic() + self._delay, data))

    def _give(self, target: socket.socket, pieces: queue.SimpleQueue) -> None:
        while True:
            due, data = pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
            except OSError:
                return


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def measure(rtt: float, calls: int) -> dict[str, float]:
    names = ("alice", "bob", "dealer")
    with tempfile.TemporaryDirectory(prefix="mpcrt-latency-") as name:
        folder = Path(name)
        ports = free_ports(len(names))
        parties = {
            party: {"address": f"127.0.0.1:{Slow(port, rtt / 2).port}", "listen": f"127.0.0.1:{port}"}
            for party, port in zip(names, ports, strict=True)
        }
        cluster, program = folder / "cluster.yaml", folder / "program.py"
        cluster.write_text(
            yaml.safe_dump(
                {
                    "name": "slow", "parties": parties, "tls": "off", "timeouts": {"connect": 60, "idle": 60},
                    "devices": {"spu": {"parties": ["alice", "bob"], "dealer": "dealer"}},
                }
            )
        )  # fmt: skip
        program.write_text(PROGRAM)
        running = []
        for party in names:
            given = [] if party == "dealer" else [str(program)]
            after = [] if party == "dealer" else ["--", str(calls), str(folder / "result")]
            command = [sys.executable, "-m", "mpcrt", "run", str(cluster), *given, "--party", party, *after]
            running.append(subprocess.Popen(command, stderr=(folder / f"{party}.log").open("w")))
        codes = [process.wait() for process in running]
        if any(codes):
            for party in names:
                sys.stderr.write((folder / f"{party}.log").read_text())
            raise SystemExit(f"the run failed: {codes}")
        return json.loads((folder / "result").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rtt", type=float, default=80, help="milliseconds between any two processes")
    parser.add_argument("--calls", type=int, default=12)
    given = parser.parse_args()
    found = measure(given.rtt / 1e3, given.calls)
    print(json.dumps({"rtt": given.rtt / 1e3, **{k: round(v, 4) for k, v in found.items()}}))


if __name__ == "__main__":
    main()
