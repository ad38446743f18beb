"""The reference for links: a plain TCP socket between two processes, round trips and throughput.

python benchmarks/sockets.py
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time

SMALL, LARGE = 64, 1 << 20
ROUNDS, PARTS = 2000, 8


def receive(connection: socket.socket, into: memoryview) -> None:
    """Fill the buffer."""
    while into:
        count = connection.recv_into(into)
        if not count:
            raise ConnectionError("the other end has gone")
        into = into[count:]


def echo(port: int, megabytes: int) -> None:
    """The other end: answers each small message; takes the large ones and answers once a part."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        small, large = memoryview(bytearray(SMALL)), memoryview(bytearray(LARGE))
        for _ in range(ROUNDS):
            receive(connection, small)
            connection.sendall(small)
        for _ in range(PARTS):
            for _ in range(megabytes // PARTS):
                receive(connection, large)
            connection.sendall(small)


def measure(megabytes: int = 800) -> tuple[float, float]:
    """(seconds of a round trip of 64 bytes, seconds to carry 1 MiB), the least over parts."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, __file__, str(server.getsockname()[1]), str(megabytes)]
        child = subprocess.Popen(command)
        try:
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                return round_trip(connection), transfer(connection, megabytes)
        finally:
            child.wait(30)


def round_trip(connection: socket.socket) -> float:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    small, times = memoryview(bytearray(SMALL)), []
    for _ in range(PARTS):
        start = time.perf_counter()
        for _ in range(ROUNDS // PARTS):
            connection.sendall(small)
            receive(connection, small)
        times.append((time.perf_counter() - start) / (ROUNDS // PARTS))
    return min(times)


def transfer(connection: socket.socket, megabytes: int) -> float:
    small, large, times = memoryview(bytearray(SMALL)), bytes(LARGE), []
    for _ in range(PARTS):
        start = time.perf_counter()
        for _ in range(megabytes // PARTS):
            connection.sendall(large)
        receive(connection, small)
        times.append((time.perf_counter() - start) / (megabytes // PARTS))
    return min(times)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        echo(int(sys.argv[1]), int(sys.argv[2]))
    else:
        trip, carry = measure()
        print(
            json.dumps({"round_trip_us": round(trip * 1e6, 1), "gigabytes_per_second": round(LARGE / carry / 1e9, 2)})
        )
