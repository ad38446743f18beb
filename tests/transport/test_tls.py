"""Who may connect: certificates good and bad, TLS at one end only, strangers on the port."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from link_worlds import Authority, listening, place, session, succeed, together

from mpcrt.errors import ConfigError, LinkError, MpcrtError, PeerFailed, PeerLost
from mpcrt.transport.channel import Refused
from mpcrt.transport.codec import control
from mpcrt.transport.header import Control
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.tls import TlsChannel, TlsContext
from mpcrt.transport.zeromq import ZmqLink

Contexts = Callable[[Authority, Authority], tuple[TlsContext | None, TlsContext | None]]

# what alice (who answers) and bob (who dials) bring, and what the dialer and the answering end must say
BAD: dict[str, tuple[Contexts, str, str]] = {
    "dialer plaintext": (lambda a, o: (a.issue("alice"), None), "does not speak TLS", "does not speak TLS"),
    "server plaintext": (lambda a, o: (None, a.issue("bob")), "TLS is off", "TLS is off"),
    "dialer expired": (lambda a, o: (a.issue("alice"), a.issue("bob", days=-1)), "has expired", "has expired"),
    "server expired": (lambda a, o: (a.issue("alice", days=-1), a.issue("bob")), "has expired", "has expired"),
    "dialer self-signed": (lambda a, o: (a.issue("alice"), a.issue("bob", self_signed=True)), "CA", "certs show"),
    "server self-signed": (lambda a, o: (a.issue("alice", self_signed=True), a.issue("bob")), "certs show", "CA"),
    "dialer other CA": (lambda a, o: (a.issue("alice"), o.issue("bob", ca=a.ca)), "CA", "issuer|certificate"),
    "server other CA": (lambda a, o: (o.issue("alice", ca=a.ca), a.issue("bob")), "issuer|certificate", "CA"),
    "dialer other name": (
        lambda a, o: (a.issue("alice"), a.issue("bob", names=["mallory"])),
        "certificate is for mallory, not bob",
        "certificate is for mallory, not bob",
    ),
    "server other name": (
        lambda a, o: (a.issue("alice", names=["mallory", "eve"]), a.issue("bob")),
        "certificate is for eve and mallory, not alice",
        "certificate is for eve and mallory, not alice",
    ),
}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "another CA")


def pair(alice: TlsContext | None, bob: TlsContext | None, **options) -> tuple[ZmqLink, ZmqLink]:
    sock = listening()
    addresses = {"alice": place(sock), "bob": None}
    options = {"connect": 6.0, "idle": 10.0} | options
    return (
        ZmqLink("alice", addresses, listen_fd=sock.detach(), tls=alice, **options),
        ZmqLink("bob", addresses, tls=bob, **options),
    )


def test_refused(authority: Authority, other: Authority):
    """The dialing end ends with LinkError naming the peer, its address and the reason; the other end names it too."""
    pairs = [pair(*contexts(authority, other)) for contexts, _, _ in BAD.values()]
    results = together(*(link.open for links in pairs for link in links))
    for number, (case, (_, dialer_says, server_says)) in enumerate(BAD.items()):
        server, dialer = results[2 * number : 2 * number + 2]
        assert isinstance(dialer, LinkError), (case, dialer)
        assert "alice (127.0.0.1:" in str(dialer), case
        assert any(words in str(dialer) for words in dialer_says.split("|")), (case, dialer)
        if case == "server other name":  # bob, who has proved to be bob, says so
            assert isinstance(server, LinkError), (case, server)
            assert "no link to bob (which dials this party): it refused this party" in str(server), (case, server)
        else:
            assert isinstance(server, PeerLost), (case, server)
            assert "did not come up within 6 s: bob" in str(server), (case, server)
            assert "refused meanwhile" in str(server), (case, server)
        assert any(words in str(server) for words in server_says.split("|")), (case, server)


def test_names_may_be_several_and_keys_encrypted(authority: Authority):
    context = authority.issue("bob", names=["bob.example.org", "bob"], password="correct horse")
    alice, bob = pair(authority.issue("alice"), context, connect=20.0)
    succeed(together(alice.open, bob.open))
    bob.send("alice", Address(Kind.META, 1), b"secret")
    assert alice.recv("bob", Address(Kind.META, 1), limit=9)[0].tobytes() == b"secret"
    succeed(together(alice.close, bob.close))


def test_corporate_certificates(authority: Authority, tmp_path: Path):
    """A leaf under an intermediate authority, sent with it, and a key with a password; alice trusts the root alone."""
    middle = Authority(tmp_path, "a department")
    below = authority._builder(middle.name, middle.key).add_extension(x509.BasicConstraints(True, 0), True)
    middle.certificate = below.sign(authority.key, hashes.SHA256())
    middle.issue("bob", password="sesame")
    leaf = next(tmp_path.glob("bob-*.pem"))
    bare = TlsContext(str(authority.ca), str(leaf), str(leaf.with_suffix(".key")), lambda: "sesame")
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.read_bytes() + middle.certificate.public_bytes(serialization.Encoding.PEM))
    whole = TlsContext(str(authority.ca), str(chain), str(leaf.with_suffix(".key")), lambda: "sesame")
    alice, bob = pair(authority.issue("alice"), whole, connect=20.0)
    succeed(together(alice.open, bob.open))
    bob.send("alice", Address(Kind.META, 1), b"hello")
    assert alice.recv("bob", Address(Kind.META, 1), limit=9)[0].tobytes() == b"hello"
    succeed(together(alice.close, bob.close))
    results = together(*(link.open for link in pair(authority.issue("alice"), bare, connect=4.0)))
    assert isinstance(results[1], LinkError) and "not signed by the cluster's CA" in str(results[1])


def test_files_that_cannot_be_used(authority: Authority, tmp_path: Path):
    good = str(authority.ca)
    with pytest.raises(ConfigError, match=r"tls.ca: nowhere.pem cannot be used: No such file"):
        TlsContext("nowhere.pem", good, good)
    with pytest.raises(ConfigError, match=r"tls: .* cannot be used"):
        TlsContext(good, good, good)
    authority.issue("carol", password="x")
    key = max(authority.folder.glob("carol-*.key"), key=os.path.getmtime)
    with pytest.raises(ConfigError, match="is encrypted and no password is configured"):
        TlsContext(good, str(key.with_suffix(".pem")), str(key))


def test_nothing_readable_on_the_wire(authority: Authority):
    """Ciphertext differs from the plaintext it carries, and damage is noticed."""
    client, server = session(authority)
    assert client.names == {"alice"} and server.names == {"bob"}
    encoded = control(Control.ABORT, ("a plaintext that is easy to find",))
    (frames,) = client.wrap(encoded)
    assert b"easy to find" not in bytes(frames[0])
    ((message, _),) = server.unwrap(frames, 100)
    assert b"easy to find" in message.arrays[0].tobytes()


def test_strangers_do_not_disturb(authority: Authority):
    """Port scanners, garbage and floods of half-open connections: the run goes on."""
    alice, bob = pair(authority.issue("alice"), authority.issue("bob"), connect=20.0)
    succeed(together(alice.open, bob.open))
    address = alice._addresses["alice"]
    assert address is not None
    host, port = address.split(":")
    context = zmq.Context()
    strangers = []
    for number in range(300):
        if number % 2:
            stranger = socket.create_connection((host, int(port)))
            stranger.sendall(os.urandom(100) if number % 4 == 1 else b"GET / HTTP/1.1\r\n\r\n")
        else:
            stranger = context.socket(zmq.DEALER)
            stranger.setsockopt(zmq.LINGER, 0)
            stranger.connect(f"tcp://{address}")
            stranger.send_multipart([os.urandom(number)] * (1 + number % 7))
        strangers.append(stranger)
    time.sleep(0.5)
    for step in range(20):
        bob.send("alice", Address(Kind.OPEN, 1, 0, step), bytes(50_000))
        alice.recv("bob", Address(Kind.OPEN, 1, 0, step), limit=1 << 20)
    for stranger in strangers:
        stranger.close()
    context.term()
    succeed(together(alice.close, bob.close))


def test_a_stranger_cannot_take_a_routing_id(authority: Authority):
    """ZeroMQ aborts a process that dials under an id which a stranger gave itself before; so ids are random."""
    alice, bob = pair(authority.issue("alice"), authority.issue("bob"), connect=20.0)
    succeed(together(alice.open, bob.open))
    assert bob._board is not None
    ids = {bob._board.switch.dial("tcp://127.0.0.1:9") for _ in range(5)}
    assert len(ids) == 5 and all(len(each) >= 16 for each in ids)
    succeed(together(alice.close, bob.close))


def test_strangers_do_not_fill_the_log(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    """The first refusals are shown, the flood is not."""
    monkeypatch.setattr("mpcrt.transport.switchboard.REFUSALS_SHOWN", 5)
    alice, bob = pair(authority.issue("alice"), authority.issue("bob"), connect=20.0)
    succeed(together(alice.open, bob.open))
    address, board = alice._addresses["alice"], alice._board
    assert board is not None
    with zmq.Context() as context, caplog.at_level("WARNING", logger="mpcrt.transport"):
        strangers = [context.socket(zmq.DEALER) for _ in range(20)]
        for stranger in strangers:
            stranger.setsockopt(zmq.LINGER, 0)
            stranger.connect(f"tcp://{address}")
            stranger.send(b"garbage")
        deadline = time.monotonic() + 20
        while board.refused < len(strangers) and time.monotonic() < deadline:
            time.sleep(0.02)
        for stranger in strangers:
            stranger.close()
    assert board.refused == 20
    assert sum("refused a connection" in record.message for record in caplog.records) == 5
    succeed(together(alice.close, bob.close))


def test_greeting_of_somebody_else():
    """In plaintext too, a name outside the cluster file and a wrong addressee are refused with the reason."""
    sock = listening()
    address = place(sock)
    alice = ZmqLink("alice", {"alice": address, "bob": None}, listen_fd=sock.detach(), connect=4.0)
    mallory = ZmqLink("mallory", {"alice": address, "mallory": None}, connect=4.0)
    lost = ZmqLink("bob", {"carol": address, "bob": None}, connect=4.0)
    results = together(alice.open, mallory.open, lost.open)
    assert isinstance(results[1], LinkError) and "'mallory' is not a party of this cluster file" in str(results[1])
    assert isinstance(results[2], LinkError) and "looks for 'carol' and this is alice" in str(results[2])
    assert isinstance(results[0], MpcrtError)


@pytest.mark.parametrize(("bad", "fault"), [("alice", "CA"), ("alice", "name"), ("bob", "CA"), ("carol", "CA")])
def test_everybody_learns_at_once_whose_certificate_is_refused(
    bad: str, fault: str, authority: Authority, other: Authority
):
    """One of three is refused by who dials it, or by whom it dials; the others hear that from who found it.

    Nobody dials carol, the last: who refuses her looks at her port whether that was her. Alice dials nobody: she looks
    at the ports of those who refuse her, and they stay until she has.
    """
    sockets = {name: listening() for name in ("alice", "bob", "carol")}
    addresses: dict[str, str | None] = {name: place(sock) for name, sock in sockets.items()}
    links = [
        ZmqLink(
            name,
            addresses,
            listen_fd=sock.detach(),
            tls=(
                authority.issue(name)
                if name != bad
                else other.issue(name, ca=authority.ca)
                if fault == "CA"
                else authority.issue(name, names=["mallory"])
            ),
            connect=20.0,
            idle=20.0,
        )
        for name, sock in sockets.items()
    ]
    start = time.monotonic()
    results = together(*(link.open for link in links))
    assert time.monotonic() - start < 15, "long before `connect` is over"
    for link, result in zip(links, results, strict=True):
        assert isinstance(result, LinkError | PeerFailed), result
        assert link.name == bad or bad in str(result), result
        assert "certificate" in str(result) or "CA" in str(result), result


def test_a_strangers_certificate_does_not_end_a_run(authority: Authority, other: Authority):
    """It makes alice look at the ports of those who are missing; theirs are in order, so she goes on waiting."""
    sockets = {name: listening() for name in ("alice", "bob")}
    addresses: dict[str, str | None] = {name: place(sock) for name, sock in sockets.items()}
    alice, bob = (
        ZmqLink(name, addresses, listen_fd=sock.detach(), tls=authority.issue(name), connect=20.0)
        for name, sock in sockets.items()
    )
    mallory = ZmqLink("bob", {"alice": addresses["alice"], "bob": None}, tls=other.issue("bob", ca=authority.ca))
    waiting = threading.Thread(target=alice.open)
    waiting.start()
    with pytest.raises(LinkError, match="it refused this party: the certificate is not signed by the cluster's CA"):
        mallory.open()
    time.sleep(0.3)
    assert waiting.is_alive()
    bob.open()
    waiting.join(60)
    assert not alice._board.missing()  # type: ignore[union-attr]
    succeed(together(alice.close, bob.close))


@pytest.mark.parametrize(
    ("certificate", "version", "says"),
    [
        (False, ssl.TLSVersion.TLSv1_3, "it has no certificate"),
        (True, ssl.TLSVersion.TLSv1_2, "does not speak TLS 1.3"),
    ],
)
def test_no_certificate_and_older_versions(certificate: bool, version: ssl.TLSVersion, says: str, authority: Authority):
    """A stranger with any other TLS program."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = version
    if certificate:
        authority.issue("bob")
        chain = max(authority.folder.glob("bob-*.pem"), key=os.path.getmtime)
        context.load_cert_chain(chain, chain.with_suffix(".key"))
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    stranger = context.wrap_bio(inward, outward)
    server = TlsChannel(authority.issue("alice"), dialing=False)
    with pytest.raises(Refused, match=says):
        for _ in range(4):
            with contextlib.suppress(ssl.SSLError):
                stranger.do_handshake()
            server.unwrap([outward.read()], 4096)
            for (frame,) in server.replies():
                inward.write(frame)
    assert not server.established
