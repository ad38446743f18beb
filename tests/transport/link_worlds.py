"""Certificates good and bad, free ports, threads that report, and links on them; all are closed after each test."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mpcrt.transport.link import Link
from mpcrt.transport.tls import TlsChannel, TlsContext
from mpcrt.transport.zeromq import ZmqLink

LEFT: list[Callable[[], object]] = []
"""What conftest.py calls after each test, the last first, whether or not the test has come so far."""
DAY = datetime.timedelta(days=1)


class Authority:
    """A throwaway CA that issues what a test needs."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = folder / "ca.pem"
        certificate = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, None), True)
        self.certificate = certificate.sign(self.key, hashes.SHA256())
        self.ca.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key, *, days: int = 1, issuer: x509.Name | None = None):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * DAY)
            .not_valid_after(now + days * DAY)
        )

    def issue(
        self,
        name: str,
        *,
        names: list[str] | None = None,
        days: int = 1,
        self_signed: bool = False,
        password: str = "",
        ca: Path | None = None,
    ) -> TlsContext:
        """A context for `name` whose certificate says `names` (its own by default) and lasts `days`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key, days=days, issuer=subject if self_signed else None)
        alternatives = x509.SubjectAlternativeName([x509.DNSName(each) for each in names or [name]])
        certificate = builder.add_extension(alternatives, False).sign(key if self_signed else self.key, hashes.SHA256())
        stem = f"{name}-{certificate.serial_number % 10**6}"
        chain, secret = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        cipher = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
        ask = (lambda: password) if password else None
        return TlsContext(str(ca or self.ca), str(chain), str(secret), ask)


def session(authority: Authority) -> tuple[TlsChannel, TlsChannel]:
    """Both ends of a TLS session: bob's, which dialed, and alice's."""
    client = TlsChannel(authority.issue("bob"), dialing=True)
    server = TlsChannel(authority.issue("alice"), dialing=False)
    flight = client.start()
    while flight:
        for frames in flight:
            server.unwrap(frames, 100)
        for frames in server.replies():
            client.unwrap(frames, 100)
        flight = client.replies()
    assert client.established and server.established
    return client, server


def listening() -> socket.socket:
    """A listening socket on a free port."""
    sock = socket.create_server(("127.0.0.1", 0))
    LEFT.append(sock.close)
    return sock


def connected(address: str | None) -> socket.socket:
    """A TCP connection to who answers there."""
    assert address is not None
    host, port = address.split(":")
    sock = socket.create_connection((host, int(port)), timeout=20)
    LEFT.append(sock.close)
    return sock


def place(sock: socket.socket) -> str:
    return f"127.0.0.1:{sock.getsockname()[1]}"


def together(*calls: Callable[[], object], timeout: float = 60) -> list[object]:
    """Run the calls in threads; what each returned, or the exception it raised."""
    results: list[object] = [TimeoutError("the thread did not end")] * len(calls)

    def run(number: int, call: Callable[[], object]) -> None:
        try:
            results[number] = call()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    return results


def succeed(results: list[object]) -> list[object]:
    """The results, or the first exception among them; one that did not end may only have waited for another."""
    raised = [result for result in results if isinstance(result, BaseException)]
    for error in sorted(raised, key=lambda error: isinstance(error, TimeoutError)):
        raise error
    return results


def zmq_links(
    names: list[str],
    authority: Authority | None = None,
    silent: tuple[str, ...] = (),
    shown: Mapping[str, str] = {},
    **options,
) -> dict:
    """Unopened ZeroMQ links on free ports; those in `silent` have no address and dial, those in `shown` show the
    certificate of another."""
    sockets = {name: listening() for name in names if name not in silent}
    addresses = {name: place(sockets[name]) if name in sockets else None for name in names}
    return {
        name: ZmqLink(
            name,
            addresses,
            listen_fd=sockets[name].detach() if name in sockets else None,
            tls=authority.issue(name, names=[shown.get(name, name)]) if authority else None,
            **options,
        )
        for name in names
    }


World = Callable[..., dict[str, Link]]
