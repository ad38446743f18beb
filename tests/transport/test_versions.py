"""Links of another version, or of none: refused before anything is trusted, both ends say so, exit code 4."""

from __future__ import annotations

import contextlib
import ssl
import struct
import time
import zlib
from collections.abc import Sequence

import pytest
import zmq
from link_worlds import Authority, listening, place, session, together, zmq_links

from mpcrt.errors import DisagreementError
from mpcrt.transport.channel import Cut, Rejected
from mpcrt.transport.codec import control, read_message
from mpcrt.transport.connection import Connection, Greeting, said
from mpcrt.transport.header import LINKS, PREFIX_BYTES, VERSION, Control, Frame, OtherVersion
from mpcrt.transport.switch import Switch
from mpcrt.transport.tls import TlsChannel, TlsContext, failure
from mpcrt.transport.zeromq import ZmqLink

OTHERS: list[list[str]] = [[], [f"mpcrt/{VERSION - 1}"], ["h2", LINKS + "0"]]
"""What a tree without a version, an older one, and a stranger's may offer."""


def speaking(context: TlsContext, names: Sequence[str]) -> TlsContext:
    context.client.set_alpn_protocols(names)  # type: ignore[arg-type]
    context.server.set_alpn_protocols(names)  # type: ignore[arg-type]
    return context


class Mailbox(Switch):
    """A switch that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, identity: bytes, frames: Sequence[Frame]) -> bool:
        self.sent += map(bytes, frames)
        return True


@pytest.mark.parametrize("names", OTHERS)
@pytest.mark.parametrize("dialing", [False, True])
def test_a_handshake_with_another_version(dialing: bool, names: list[str], authority: Authority):
    """With somebody who checks nothing: it is told in its session, which has not carried a key before."""
    switch = Mailbox()
    ours = Connection(switch, b"bob", TlsChannel(authority.issue("alice"), dialing=dialing))
    context = speaking(authority.issue("bob"), names)
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    side = context.server if dialing else context.client
    theirs = side.wrap_bio(inward, outward, server_side=dialing)
    ours.start()
    with pytest.raises(OtherVersion, match=f"another version of the links than {LINKS}; install one") as refusal:
        for _ in range(4):
            inward.write(b"".join(switch.sent))
            switch.sent.clear()
            with contextlib.suppress(ssl.SSLWantReadError):
                theirs.do_handshake()
            ours.receive([outward.read()], 4096)
    assert ours.proven == {"bob"}
    ours.refuse(str(refusal.value))
    inward.write(b"".join(switch.sent))
    message = read_message([theirs.read()], 4096)
    assert message.header.address.kind == Control.REFUSE and said(message) == str(refusal.value)
    with pytest.raises(ssl.SSLWantReadError):
        theirs.read()
    with pytest.raises(Cut):
        ours.channel.unwrap([b"more"], 4096)


def test_links_of_another_version(authority: Authority):
    """Whoever dials, both ends end at once and name the other; a third hears it from them."""
    runs = []
    for names in OTHERS[:2]:
        for bad in ("alice", "bob"):
            links = zmq_links(["alice", "bob", "dealer"], authority, connect=40.0, idle=20.0)
            tls = links[bad]._tls
            speaking(tls, names)
            runs.append((bad, links))
    start = time.monotonic()
    results = together(*(link.open for _, links in runs for link in links.values()))
    assert time.monotonic() - start < 20, "long before `connect` is over"
    said_by = dict(zip((link for _, links in runs for link in links.values()), results, strict=True))
    for bad, links in runs:
        for name, link in links.items():
            error = said_by[link]
            assert isinstance(error, Exception)
            assert "another version of the links than" in str(error), (bad, name, error)
        ends = [error for error in (said_by[link] for link in links.values()) if isinstance(error, DisagreementError)]
        assert len(ends) >= 2 and all(
            error.exit_code == 4 and f"no link to {error.peer}" in str(error) for error in ends
        )
        assert isinstance(said_by[links[bad]], DisagreementError)


def older(frames: Sequence[Frame]) -> bytes:
    """A message as the version before would say it."""
    (frame,) = frames
    rest = bytes(frame[PREFIX_BYTES:]).replace(bytes((0x9B, VERSION)), bytes((0x9B, VERSION - 1)), 1)
    return bytes(frame[:8]) + struct.pack("<I", zlib.crc32(rest)) + rest


def test_plaintext_links_of_another_version():
    """Every message says its version."""
    says = f"it speaks version {VERSION - 1} of the links, not {LINKS}; install one"
    sock = listening()
    addresses = {"alice": place(sock), "bob": None}
    with zmq.Context() as context:
        sock.close()
        alice = context.socket(zmq.ROUTER)
        alice.setsockopt(zmq.LINGER, 0)
        alice.bind(f"tcp://{addresses['alice']}")

        def answer() -> None:
            identity, _ = alice.recv_multipart()
            greeting = Greeting("alice", "bob", bytes(16), 0).encode()
            alice.send_multipart([identity, older(greeting.frames)])

        bob = ZmqLink("bob", addresses, connect=20.0)
        error, _ = together(bob.open, answer)
        alice.close()
        assert isinstance(error, DisagreementError) and error.peer == "alice"
        assert f"no link to alice ({addresses['alice']}): {says}" in str(error)
        sock = listening()
        bob = context.socket(zmq.DEALER)
        bob.setsockopt(zmq.LINGER, 0)
        bob.connect(f"tcp://{place(sock)}")
        link = ZmqLink("alice", {"alice": place(sock), "bob": None}, listen_fd=sock.detach(), connect=2.0)
        bob.send(older(Greeting("bob", "alice", bytes(16), 0).encode().frames))
        error, refusal = together(link.open, bob.recv)
        bob.close()
    assert isinstance(refusal, bytes) and says in said(read_message([refusal], 4096))
    assert says in str(error)


ALERTS = {40, 41, 42, 43, 44, 45, 46, 48, 49, 70, 71, 111, 113, 114, 116}
"""Of TLS's alerts those that a certificate, a version or a cipher is for (RFC 8446, 6.2, and older ones)."""


def test_alerts(authority: Authority):
    """Real ones: which of them are a refusal by the other end; the rest can be damage, as can what is no alert."""
    context = authority.issue("bob")
    rejected = set()
    for alert in range(256):
        channel = TlsChannel(context, dialing=True)
        channel.start()
        with pytest.raises((Cut, Rejected)) as ended:
            channel.unwrap([bytes((0x15, 3, 3, 0, 2, 2, alert))], 4096)
        if isinstance(ended.value, Rejected):
            assert str(ended.value).startswith("it refused this party: "), alert
            rejected.add(alert)
    assert ALERTS <= rejected <= ALERTS | {120}  # no_application_protocol, where Python has a name for it


def test_what_only_sounds_like_a_refusal(authority: Authority):
    """Writing where the session has ended: PROTOCOL_IS_SHUTDOWN."""
    client, _ = session(authority)
    with pytest.raises(ssl.SSLWantReadError):
        client._tls.unwrap()
    with pytest.raises(Cut, match="protocol is shutdown"):
        list(client.wrap(control(Control.PROBE, ())))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE", Rejected),
        ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", Rejected),
        ("TLSV1_UNRECOGNIZED_NAME", Cut),
        ("SSLV3_ROLLBACK_ATTACK", Cut),
        ("CERTIFICATE_LENGTH_MISMATCH", Cut),
        ("", Cut),
    ],
)
def test_reasons(reason: str, kind: type[Exception]):
    """Those that this OpenSSL gives only in places that are hard to reach."""
    error = ssl.SSLError(1, "[SSL] whatever")
    error.reason = reason
    assert type(failure(error)) is kind
