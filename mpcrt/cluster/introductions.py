"""How two doctors talk: over a party's own port, one measuring connection, TLS as the cluster file says.

Bytes: the server sends BANNER; with TLS both handshake, each showing its certificate; both send one JSON line (at most
16 KiB); the client sends PINGS times 64 bytes and waits for each to come back; then BULK bytes and waits for one byte.
Nothing that is received is used for anything but the report.
"""

import json
import socket
import ssl
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpcrt.cluster import certificates
from mpcrt.cluster.config import ClusterConfig, TlsFiles
from mpcrt.cluster.version import package_version
from mpcrt.text import plain

BANNER = b"MPCRT-DOCTOR 1\n"
ZEROMQ = b"\xff"
LINE_LIMIT = 16 << 10
PINGS, PING_BYTES = 20, 64
BULK = 8 << 20
TIMEOUT = 10.0


class Mismatch(Exception):
    """The peer answered, but not as the cluster file's party."""


@dataclass(frozen=True)
class Introduction:
    """What one party's doctor says of itself."""

    party: str
    version: str
    jax: str
    digest: str
    canonical: dict[str, Any]
    time: float

    @classmethod
    def of(cls, config: ClusterConfig, party: str) -> "Introduction":
        """This process's own."""
        digest, canonical = config.digest().hex(), config.canonical()
        return cls(party, package_version(), package_version("jax"), digest, canonical, time.time())

    @classmethod
    def read(cls, line: bytes) -> "Introduction":
        """A peer's. Raises Mismatch when it is none."""
        try:
            data = json.loads(line)
            words = {key: plain(data[key], 100) for key in ("party", "version", "jax", "digest")}
            found = cls(**words, canonical=dict(data["canonical"]), time=float(data["time"]))
            if not 0 <= found.time < 1 << 40:
                raise ValueError
            return found
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            raise Mismatch("answers with something that is no introduction") from None

    def line(self) -> bytes:
        """As sent."""
        return json.dumps(vars(self)).encode() + b"\n"


@dataclass(frozen=True)
class Measured:
    """One peer as this party's doctor found it. Seconds; bytes a second."""

    peer: Introduction
    round_trip: float
    bandwidth: float
    skew: float
    tls: str | None


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Of the end that dials."""
    return certificates.tls_context(ssl.PROTOCOL_TLS_CLIENT, files)


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """The same for the end that was dialled."""
    return certificates.tls_context(ssl.PROTOCOL_TLS_SERVER, files)


def measure(config: ClusterConfig, party: str, peer: str, context: ssl.SSLContext | None) -> Measured | None:
    """Talks to `peer`'s doctor. None: another ZeroMQ process, most likely a run, listens there.

    Raises OSError when it cannot be reached and Mismatch when it is not who it should be.
    """
    address = config.parties[peer].address
    assert address is not None
    with socket.create_connection(address, timeout=TIMEOUT) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = plain.recv(1)
        if first == ZEROMQ:
            return None
        if first + _exactly(plain, len(BANNER) - 1) != BANNER:
            raise Mismatch("some other program listens there; check address and port")
        with _secured(plain, context) as link:
            _check_certificate(link, peer, f"its certificate is not for {peer}; it needs one with the DNS name {peer}")
            link.sendall(Introduction.of(config, party).line())
            before = time.time()
            introduction = Introduction.read(_line(link))
            after = time.time()
            if introduction.party != peer:
                raise Mismatch(f"says it is {introduction.party}; check the addresses")
            trips = []
            for _ in range(PINGS):
                began = time.perf_counter()
                link.sendall(bytes(PING_BYTES))
                _exactly(link, PING_BYTES)
                trips.append(time.perf_counter() - began)
            began = time.perf_counter()
            link.sendall(bytes(BULK))
            _exactly(link, 1)
            seconds = time.perf_counter() - began
            # the peer's clock was read somewhere between our connecting and our reading
            skew = introduction.time - (before + after) / 2
            tls = link.version() if isinstance(link, ssl.SSLSocket) else None
            return Measured(introduction, statistics.median(trips), BULK / seconds, skew, tls)


def answer(
    config: ClusterConfig, party: str, connection: socket.socket, context: ssl.SSLContext | None
) -> Introduction:
    """The other end of `measure`. Raises OSError or Mismatch."""
    with connection:
        connection.settimeout(TIMEOUT)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(BANNER)
        secured = connection if context is None else context.wrap_socket(connection, server_side=True)
        with secured as link:
            introduction = Introduction.read(_line(link))
            said = f"says it is {introduction.party}, but its certificate is for another name"
            _check_certificate(link, introduction.party, said)
            link.sendall(Introduction.of(config, party).line())
            for _ in range(PINGS):
                link.sendall(_exactly(link, PING_BYTES))
            left = BULK
            while left:
                left -= len(_some(link, min(left, 1 << 18)))
            link.sendall(b"\0")
            return introduction


def _secured(plain: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    return plain if context is None else context.wrap_socket(plain)


def _check_certificate(link: socket.socket, party: str, message: str) -> None:
    if isinstance(link, ssl.SSLSocket) and party not in certificate_names(link.getpeercert()):
        raise Mismatch(message)


def certificate_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The DNS names of a certificate as `ssl` gives it: its party, letter by letter, without wildcards or the common
    name."""
    return tuple(name for kind, name in (certificate or {}).get("subjectAltName", ()) if kind == "DNS")


def _line(link: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        if len(line) >= LINE_LIMIT:
            raise Mismatch(f"introduces itself with more than {LINE_LIMIT} bytes")
        line += _some(link, 1)
    return line


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += _some(link, count - len(data))
    return data


def _some(link: socket.socket, most: int) -> bytes:
    data = link.recv(most)
    if not data:
        raise ConnectionError("it closed the connection; its own doctor says why")
    return data
