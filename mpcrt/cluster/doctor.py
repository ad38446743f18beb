"""Everything that can be wrong before a run, found and said with what to do about it.

Doctors of several parties that run at the same time measure each other: version, cluster file, clock, round trip and
bandwidth. One alone sees its own file, certificates and ports, and whether anybody listens at the peers' addresses.
"""

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mpcrt.cluster import certificates
from mpcrt.cluster.config import ClusterConfig, TlsFiles
from mpcrt.cluster.introductions import (
    TIMEOUT,
    Introduction,
    Measured,
    Mismatch,
    answer,
    client_context,
    measure,
    server_context,
)
from mpcrt.cluster.sockets import listening_socket
from mpcrt.errors import ConfigError

SKEW_SECONDS = 5.0
RETRY_SECONDS = 0.3
EXPIRY_DAYS = 14


class State(Enum):
    """How a check went."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "fix"


@dataclass(frozen=True)
class Finding:
    """One checked thing: what, how it is, and in words what was found and what to do."""

    subject: str
    state: State
    message: str


def examine(config: ClusterConfig, party: str | None, wait: float) -> Iterator[Finding]:
    """All checks, as they are made. With a party: from its place, waiting up to `wait` seconds for the peers' doctors.

    Raises ConfigError for a party the file does not have.
    """
    yield Finding(
        "cluster file", State.GOOD, f"{config.file}: {', '.join(config.names)}; digest {config.digest().hex()[:16]}"
    )
    if party is None:
        for name in config.names:
            yield from _certificates(config, name, alone=False)
            yield from _port(config, name)
        return
    config.require_party(party)
    findings = list(_certificates(config, party, alone=True))
    yield from findings
    if any(finding.state is State.BAD for finding in findings):
        yield Finding("peers", State.NOTE, "not tried, since this party's certificates are not in order")
        return
    files = config.tls_files(party)
    endpoint, listening = config.parties[party].bind, None
    if endpoint is not None:
        try:
            listening = listening_socket(endpoint, party)
            yield Finding(f"port of {party}", State.GOOD, f"{endpoint} can be listened on")
        except ConfigError as error:
            yield Finding(f"port of {party}", State.BAD, str(error))
    deadline = time.monotonic() + wait
    met = {peer for peer in config.names if peer != party and config.parties[peer].address is None}
    with _Answering(config, party, listening, files) as answering:
        for finding in _peers(config, party, files, deadline):
            if finding.state is State.GOOD:
                met.add(finding.subject)
            yield finding
        answering.linger(met, deadline)
    yield from answering.findings()


def _certificates(config: ClusterConfig, party: str, *, alone: bool) -> Iterator[Finding]:
    subject = f"certificate of {party}"
    if config.tls == "off":
        yield Finding(subject, State.NOTE, "tls is off: links inside this machine only, readable by its users")
        return
    if config.tls is None and not alone:
        yield Finding(subject, State.NOTE, "no tls key: a run of all parties here mints throwaway certificates")
        return
    try:
        files = config.tls_files(party)
        assert files is not None
        wrong = certificates.problems(files, party)
        shown = certificates.show(files.certificate)[0]
    except ConfigError as error:
        yield Finding(subject, State.BAD, str(error))
        return
    for problem in wrong:
        yield Finding(subject, State.BAD, problem)
    if not wrong:
        days = (shown.not_after - datetime.datetime.now(datetime.UTC)).days
        soon = f", which is in {days} days: have a new one issued" if days < EXPIRY_DAYS else ""
        dates = f"{files.certificate}: valid until {shown.not_after:%Y-%m-%d %H:%M} UTC{soon}"
        yield Finding(subject, State.NOTE if soon else State.GOOD, dates)


def _port(config: ClusterConfig, party: str) -> Iterator[Finding]:
    endpoint = config.parties[party].bind
    if endpoint is None:
        yield Finding(f"port of {party}", State.NOTE, "it has no address and dials the others")
        return
    try:
        listening_socket(endpoint, party).close()
        yield Finding(f"port of {party}", State.GOOD, f"{endpoint} can be listened on here")
    except ConfigError as error:
        # a file for several machines is no mistake: the other machines' addresses are not this one's
        elsewhere = not endpoint.loopback and "not an address of this machine" in str(error)
        message = f"{endpoint} is not on this machine" if elsewhere else str(error)
        yield Finding(f"port of {party}", State.NOTE if elsewhere else State.BAD, message)


def _peers(config: ClusterConfig, party: str, files: TlsFiles | None, deadline: float) -> Iterator[Finding]:
    """Each peer once: as measured, or at the deadline why it was not."""
    context = client_context(files) if files else None
    open_questions = {peer: "" for peer in config.names if peer != party and config.parties[peer].address is not None}
    for peer in config.names:
        if peer != party and peer not in open_questions:
            yield Finding(peer, State.NOTE, "has no address: it dials this party, and its own doctor measures")
    own = Introduction.of(config, party)
    while open_questions:
        for peer in list(open_questions):
            try:
                measured = measure(config, party, peer, context)
            except ssl.SSLCertVerificationError as error:
                del open_questions[peer]
                yield Finding(
                    peer, State.BAD, f"its certificate is refused: {error.verify_message}; it needs one for {peer}"
                )
            except ssl.SSLError as error:
                open_questions[peer] = f"TLS failed ({error.reason or error}); its own doctor says why"
            except Mismatch as error:
                del open_questions[peer]
                yield Finding(peer, State.BAD, f"{config.parties[peer].address}: {error}")
            except OSError as error:
                open_questions[peer] = _unreachable(error)
            else:
                del open_questions[peer]
                yield from _compared(config, own, peer, measured)
        if time.monotonic() >= deadline:
            break
        time.sleep(RETRY_SECONDS if open_questions else 0)
    for peer, reason in open_questions.items():
        advice = f"start `mpcrt doctor FILE --party {peer}` there at the same time, and check the firewall"
        yield Finding(peer, State.BAD, f"{config.parties[peer].address}: {reason}; {advice}")


def _unreachable(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time (a firewall that drops packets looks like this)"
    if isinstance(error, ConnectionRefusedError):
        return "the machine answers, but nobody listens on the port"
    if isinstance(error, socket.gaierror):
        return "the host name is not known here"
    return error.strerror or str(error)


def _compared(config: ClusterConfig, own: Introduction, peer: str, measured: Measured | None) -> Iterator[Finding]:
    if measured is None:
        yield Finding(
            peer, State.NOTE, f"{config.parties[peer].address}: a run listens there already; end it to measure"
        )
        return
    other = measured.peer
    speed = f"round trip {measured.round_trip * 1e3:.2f} ms, {measured.bandwidth / 1e6:.0f} MB/s"
    versions = f"{measured.tls or 'no TLS'}, mpcrt {other.version}, jax {other.jax}"
    yield Finding(peer, State.GOOD, f"{config.parties[peer].address}: {speed}, {versions}")
    if other.digest != own.digest:
        difference = config.difference(other.canonical) or "in its version's rules"
        yield Finding(peer, State.BAD, f"its cluster file differs: {difference}; use one file everywhere")
    if other.version.split(".")[:2] != own.version.split(".")[:2]:
        yield Finding(
            peer, State.BAD, f"runs mpcrt {other.version}, here {own.version}; install the same minor version"
        )
    if abs(measured.skew) > SKEW_SECONDS:
        ahead = "ahead of" if measured.skew > 0 else "behind"
        message = f"its clock is {abs(measured.skew):.0f} s {ahead} this one; set both by NTP (certificates have dates)"
        yield Finding(peer, State.BAD, message)


class _Answering:
    """Answers the peers' doctors on this party's port while its own asks; leaving waits for those under way."""

    def __init__(
        self, config: ClusterConfig, party: str, listening: socket.socket | None, files: TlsFiles | None
    ) -> None:
        self._config, self._party, self._listening = config, party, listening
        self._context = server_context(files) if files else None
        self._stop = threading.Event()
        self._refused: dict[str, str] = {}
        self._served: set[str] = set()
        self._thread = threading.Thread(target=self._serve, name="doctor", daemon=True)

    def _serve(self) -> None:
        if self._listening is None:
            return
        self._listening.settimeout(0.1)
        while not self._stop.is_set():
            try:
                connection, address = self._listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                self._served.add(answer(self._config, self._party, connection, self._context).party)
            except (OSError, Mismatch) as error:
                reason = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else str(error)
                self._refused[address[0]] = reason

    def linger(self, peers: set[str], deadline: float) -> None:
        """Stays until `peers` have asked, or the deadline."""
        while self._listening is not None and not peers <= self._served and time.monotonic() < deadline:
            time.sleep(0.05)

    def findings(self) -> Iterator[Finding]:
        """Who dialled this party and was refused."""
        for host, reason in self._refused.items():
            yield Finding(f"caller from {host}", State.NOTE, f"was refused: {reason}")

    def __enter__(self) -> "_Answering":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2 * TIMEOUT)
        if self._listening is not None:
            with contextlib.suppress(OSError):
                self._listening.close()
