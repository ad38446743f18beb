"""Mutual TLS 1.3 inside ZeroMQ messages, through OpenSSL's memory buffers.

Both ends show a certificate under the cluster's CA; a party's name is a DNS name in its subject alternative names. One
TLS session a TCP connection, never resumed. What goes through it: a key for what this end seals, then messages. The
buffers of a large message follow its header outside the records, sealed (seal.py), in one ZeroMQ message a piece.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from zlib import crc32

from mpcrt.errors import ConfigError, ProtocolError
from mpcrt.transport.arrival import PIECE, Arrival, piece_count, pieces
from mpcrt.transport.channel import TLS_RECORDS, Channel, Cut, Refused, Rejected
from mpcrt.transport.codec import Encoded, Message, inline_message
from mpcrt.transport.header import (
    HEADER_LIMIT,
    LINKS,
    PREFIX_BYTES,
    Frame,
    OtherVersion,
    read_fields,
    read_prefix,
)
from mpcrt.transport.seal import KEY_BYTES, Seal

FRAME_LIMIT = max(PIECE, HEADER_LIMIT) + (1 << 16)
"""The most that a frame has: a sealed piece, or a header with the bytes round each record."""
RECORD = 1 << 14
"""The most that one read gives."""
SESSION_BYTES = 1 << 37
"""A session ends after so many bytes in one direction: AES-GCM allows 2^24.5 records of 16 KiB under one key, and as
many bytes in longer pieces."""

_REFUSALS = {
    code: words
    for words, codes in {
        "it has no certificate": "NO_CERTIFICATE CERTIFICATE_REQUIRED PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "the certificate is not signed by the cluster's CA": "UNKNOWN_CA",
        "the certificate has expired": "CERTIFICATE_EXPIRED",
        "the certificate was revoked": "CERTIFICATE_REVOKED",
        "the certificate was not accepted": (
            "BAD_CERTIFICATE UNSUPPORTED_CERTIFICATE CERTIFICATE_UNKNOWN CERTIFICATE_UNOBTAINABLE"
            " BAD_CERTIFICATE_STATUS_RESPONSE BAD_CERTIFICATE_HASH_VALUE WRONG_CERTIFICATE_TYPE"
        ),
        "it does not speak TLS 1.3": (
            "PROTOCOL_VERSION UNSUPPORTED_PROTOCOL WRONG_VERSION_NUMBER WRONG_SSL_VERSION UNKNOWN_SSL_VERSION"
            " UNSUPPORTED_SSL_VERSION VERSION_TOO_LOW VERSION_TOO_HIGH"
        ),
        "access denied": "ACCESS_DENIED",
        "no cipher or other means that both allow": "HANDSHAKE_FAILURE INSUFFICIENT_SECURITY",
        "it speaks another version of the links": "NO_APPLICATION_PROTOCOL",
    }.items()
    for code in codes.split()
}
"""OpenSSL's reasons, alerts without their prefix, for which a certificate or version is at fault; what is not here can
be damage on the way."""
_OTHER_AUTHORITY = {18, 19, 20, 21}
"""OpenSSL's X509_V_ERR codes of a certificate whose issuer is not among those trusted, or unknown."""
COMPARE = "not signed by the tls.ca of who refuses it; `mpcrt certs show` says by whom"
_ALERT = re.compile(r"(?:SSLV3_ALERT|TLSV13_ALERT|TLSV1_ALERT|TLSV1)_(\w+)")
"""OpenSSL's reasons for alerts that came; older ones of TLS's extensions lack the word."""


def failure(error: ssl.SSLError) -> Cut | Refused:
    """Refused, or Rejected by the other end, where a certificate or version is at fault; Cut where it can only be
    damage on the way."""
    alert = _alert(error)
    if not isinstance(error, ssl.SSLCertVerificationError) and (alert or error.reason) not in _REFUSALS:
        return Cut(reason(error))
    return (Rejected if alert else Refused)(reason(error))


def _alert(error: ssl.SSLError) -> str:
    """What the other end's alert says; empty where it is this end that found the fault."""
    match = _ALERT.fullmatch(error.reason or "")
    return match[1] if match else ""


class TlsContext:
    """This party's certificate and key and the CA of all parties, read once."""

    def __init__(self, ca: str, certificate: str, key: str, password: Callable[[], str] | None = None) -> None:
        """Paths of PEM files; `certificate` may hold a chain; `password` is asked for an encrypted key.

        Raises ConfigError naming the file that cannot be used.
        """
        self.server = self._make(ssl.PROTOCOL_TLS_SERVER, ca, certificate, key, password)
        self.server.num_tickets = 0
        self.client = self._make(ssl.PROTOCOL_TLS_CLIENT, ca, certificate, key, password)

    @staticmethod
    def _make(role: int, ca: str, certificate: str, key: str, password: Callable[[], str] | None) -> ssl.SSLContext:
        context = ssl.SSLContext(role)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # names are parties, compared in `names`
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols([LINKS])  # compared in `_shake`
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls.ca: {ca} cannot be used: {_cause(error)}") from None

        def refuse() -> str:
            raise ConfigError(f"tls.key: {key} is encrypted and no password is configured")

        try:
            context.load_cert_chain(certificate, key, password or refuse)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"tls: {certificate} with {key} cannot be used: {_cause(error)}") from None
        return context


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not a PEM file").replace("_", " ").lower()
    return getattr(error, "strerror", None) or type(error).__name__


def reason(error: ssl.SSLError) -> str:
    """Why a handshake failed, in the words of an operator."""
    if isinstance(error, ssl.SSLCertVerificationError):
        unsigned = f"; {COMPARE}" if error.verify_code in _OTHER_AUTHORITY else ""
        return f"its certificate was not accepted: {error.verify_message}{unsigned}"
    if alert := _alert(error):
        return f"it refused this party: {_REFUSALS.get(alert) or alert.replace('_', ' ').lower()}"
    code = error.reason or "unknown reason"
    return _REFUSALS.get(code) or f"TLS failed: {code.replace('_', ' ').lower()}"


class TlsChannel(Channel):
    """One TLS session over one connection."""

    def __init__(self, context: TlsContext, *, dialing: bool) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = context.client if dialing else context.server
        self._tls = side.wrap_bio(self._in, self._out, server_side=not dialing)
        self._plain = b""
        self._key = Seal.draw()
        self._sealing, self._opening = Seal(self._key), None
        self._arrival: Arrival | None = None
        """The large message whose pieces come now."""
        self._resumed: Arrival | None = None
        """The one that began over another connection, until its header has come again."""
        self._bytes_in = self._bytes_out = 0
        self._broken = False

    def start(self) -> list[Sequence[Frame]]:
        self._shake()
        return self.replies()

    def replies(self) -> list[Sequence[Frame]]:
        return [[self._out.read()]] if self._out.pending else []

    @property
    def spent(self) -> bool:
        return max(self._bytes_in, self._bytes_out) > SESSION_BYTES

    def _shake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise failure(error) from None
        certificate = self._tls.getpeercert() or {}
        entries = certificate.get("subjectAltName", ())
        self.names = frozenset(value for kind, value in entries if kind == "DNS")  # type: ignore[misc]
        self.established = True
        # OpenSSL as Python sets it up goes on where the two have no name in common; a refusal is read without the key
        if self._tls.selected_alpn_protocol() != LINKS:
            raise OtherVersion(f"it speaks another version of the links than {LINKS}; install one release")
        self._write(self._key)

    @property
    def arriving(self) -> Arrival | None:
        return self._arrival or self._resumed

    def resume(self, arrival: Arrival | None) -> None:
        self._resumed = arrival

    def wrap(self, encoded: Encoded, start: int = 0) -> Iterable[Sequence[Frame]]:
        frames = encoded.frames
        if start and not 0 < start < piece_count(frames[1:]):
            raise ProtocolError(f"it asks for piece {start} of a message that has fewer")
        self._write(frames[0])
        return ((self._written(),),) if len(frames) == 1 else self._sealed(frames, start)

    def _sealed(self, frames: Sequence[Frame], start: int) -> Iterator[Sequence[Frame]]:
        """The header of a large message leaves with its first piece."""
        before: list[Frame] = [self._written()]
        for piece in islice(pieces(frames[1:]), start, None):
            sealed = self._sealing.close(piece)
            self._bytes_out += len(sealed)
            yield (*before, sealed)
            before = []
        if before:
            yield before

    def _write(self, data: Frame) -> None:
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise failure(error) from None

    def _written(self) -> bytes:
        data = self._out.read()
        self._bytes_out += len(data)
        return data

    def unwrap(self, frames: Sequence[Frame], limit: int) -> list[tuple[Message, Frame]]:
        if self._broken:
            raise Cut("nothing is read any more after what was wrong before")
        self._broken = True  # whatever is raised below: what follows a gap must not be taken for what was in it
        complete: list[tuple[Message, Frame]] = []
        for frame in frames:
            if self._arrival is not None:
                assert self._opening is not None
                self._opening.open(frame, self._arrival.place)
                self._arrival.took()
            else:
                complete += self._take(frame, limit)
            self._bytes_in += len(frame)
            if self._arrival is not None and self._arrival.whole:
                complete.append((self._arrival.message(), self._arrival.head))
                self._arrival = None
        self._broken = False
        return complete

    def _take(self, frame: Frame, limit: int) -> list[tuple[Message, Frame]]:
        """The messages that TLS records complete; where a large one begins, which ends them, `_arrival` is set."""
        if not self._bytes_in and not (frame and frame[0] in TLS_RECORDS):
            raise Refused("it does not speak TLS, which every link here needs")
        self._in.write(frame)
        if not self.established:
            self._shake()
        complete: list[tuple[Message, Frame]] = []
        while self.established and (data := self._read()) is not None:
            self._plain = self._plain + data if self._plain else data
            while self._arrival is None and (message := self._next(limit)) is not None:
                complete.append(message)
        if self._arrival is not None and self._plain:  # no fault of the peer's: the network can join frames
            raise Cut("records where the buffers of a large message were expected")
        return complete

    def _read(self) -> bytes | None:
        """Some plaintext, or None when more ciphertext is needed."""
        if not self._left:
            return None
        try:
            data = self._tls.read(RECORD)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            raise failure(error) from None
        if not data:
            raise Cut("it ended the TLS session")
        return data

    @property
    def _left(self) -> bool:
        """Whether anything is left to read; to try costs more, since it raises when there is not."""
        return self._in.pending > 0 or self._tls.pending() > 0

    def _next(self, limit: int) -> tuple[Message, Frame] | None:
        """The next small message in the plaintext, or None; then `_arrival` may be set, by the start of a large one."""
        if self._opening is None:
            if len(self._plain) < KEY_BYTES:
                return None
            self._opening, self._plain = Seal(self._plain[:KEY_BYTES]), self._plain[KEY_BYTES:]
        plain = self._plain
        if len(plain) < PREFIX_BYTES or len(plain) < (end := (prefix := read_prefix(plain))[1]):
            return None
        header = read_fields(plain, prefix, limit)
        if header.inline:
            end += header.layout.padded
            if len(plain) < end:
                return None
        frame, self._plain = plain[:end], plain[end:]
        if crc32(frame[PREFIX_BYTES:]) != prefix[3]:
            raise ProtocolError("a frame with another checksum than its own")
        resumed = None
        if header.sequence:
            resumed, self._resumed = self._resumed, None
            if resumed is not None and resumed.head != frame:
                raise ProtocolError(f"two different messages number {header.sequence}: {header.address}")
        if header.inline:
            return inline_message(header, frame), frame
        self._arrival = resumed or Arrival(header, frame)
        return None
