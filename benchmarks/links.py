"""What a link costs: round trips of small messages and throughput of large ones, plaintext and TLS, two processes.

    python benchmarks/links.py [--rounds 3000] [--gigabytes 4]

Prints one JSON object for each way of writing messages. Times are wall clock, the best and the median of eight parts;
`send_us` is the processor time of one small send on the calling thread.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mpcrt.cluster.certificates import throwaway
from mpcrt.ring import kernels
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.tls import TlsContext
from mpcrt.transport.zeromq import ZmqLink

PARTS = 8
LIMIT = 1 << 30
CHUNK = 1 << 20


def link_of(name: str, address: str, folder: str, listen_fd: int | None = None) -> ZmqLink:
    """One end; with TLS when there is a folder of certificates."""
    tls = TlsContext(f"{folder}/ca.pem", f"{folder}/{name}.pem", f"{folder}/{name}.key") if folder else None
    return ZmqLink(name, {"alice": address, "bob": None}, listen_fd=listen_fd, tls=tls)


def round_trips(link: ZmqLink, rounds: int) -> list[float]:
    """Microseconds a round trip of 64 bytes, one number for each part."""
    (peer,), small, times = link.peers, np.zeros(8, np.uint64), []
    for part in range(PARTS):
        start = time.perf_counter()
        for step in range(rounds // PARTS):
            address = Address(Kind.OPEN, 1, part, step)
            if link.name == "bob":
                link.send(peer, address, small)
            link.recv(peer, address, limit=LIMIT)
            if link.name == "alice":
                link.send(peer, address, small)
        times.append((time.perf_counter() - start) / (rounds // PARTS) * 1e6)
    return times


def throughput(link: ZmqLink, gigabytes: float) -> list[float]:
    """GB/s from alice to bob in buffers of 1 MiB, one number for each part."""
    (peer,), large, rates = link.peers, np.zeros(CHUNK // 8, np.uint64), []
    count = int(gigabytes * 1e9 / CHUNK / PARTS)
    for part in range(PARTS):
        start = time.perf_counter()
        for step in range(count):
            if link.name == "alice":
                link.send(peer, Address(Kind.DEAL, 1, part, step), large)
                if step % 16 == 15:
                    link.drain(peer, 64 * CHUNK)
            else:
                link.recv(peer, Address(Kind.DEAL, 1, part, step), limit=CHUNK)
        if link.name == "alice":
            link.recv(peer, Address(Kind.STEP, 1, part), limit=0)
        else:
            link.send(peer, Address(Kind.STEP, 1, part))
        rates.append(count * CHUNK / (time.perf_counter() - start) / 1e9)
    return rates


def overhead(link: ZmqLink, count: int = 1000) -> float:
    """Microseconds of this thread's processor time for one send of 64 bytes, ZeroMQ's queueing included."""
    (peer,), small = link.peers, np.zeros(8, np.uint64)
    start = time.thread_time()
    for step in range(count):
        link.send(peer, Address(Kind.META, 1, 0, step), small)
    sent = (time.thread_time() - start) / count * 1e6
    for step in range(count):
        link.recv(peer, Address(Kind.META, 1, 0, step), limit=LIMIT)
    return sent


def play(link: ZmqLink, rounds: int, gigabytes: float) -> dict[str, float]:
    """All measurements, in step at both ends."""
    with link:
        link.send(link.peers[0], Address(Kind.STEP, 0))
        link.recv(link.peers[0], Address(Kind.STEP, 0), limit=0)
        trips, rates = round_trips(link, rounds), throughput(link, gigabytes)
        send = overhead(link)
    return {
        "round_trip_us_best": round(min(trips), 1),
        "round_trip_us_median": round(statistics.median(trips), 1),
        "gigabytes_per_second_best": round(max(rates), 2),
        "gigabytes_per_second_median": round(statistics.median(rates), 2),
        "send_us": round(send, 1),
    }


def measure(certificates: str, rounds: int, gigabytes: float) -> dict[str, float]:
    """Between this process and a child, with TLS when there is a folder of certificates."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    sizes = ["--rounds", str(rounds), "--gigabytes", str(gigabytes)]
    child = subprocess.Popen([sys.executable, __file__, *sizes, "--bob", address, certificates])
    try:
        return play(link_of("alice", address, certificates, listening.detach()), rounds, gigabytes)
    finally:
        child.wait(60)


def main() -> None:
    """alice here, bob as a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--bob", nargs=2, metavar=("ADDRESS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    kernels.keep_memory()  # as a run does: else a buffer that arrives touches new pages
    if options.bob:
        play(link_of("bob", *options.bob), options.rounds, options.gigabytes)
        return
    with tempfile.TemporaryDirectory() as folder:
        throwaway(["alice", "bob"], Path(folder))
        for tls in (False, True):
            row = measure(folder if tls else "", options.rounds, options.gigabytes)
            print(json.dumps({"tls": tls} | row), flush=True)


if __name__ == "__main__":
    main()
