"""What callers can make a party keep: endless messages, half messages, connections without number."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from link_worlds import Authority, connected, listening, succeed, together, zmq_links

from mpcrt.errors import MpcrtError, ProtocolError
from mpcrt.transport.callers import CALLER_BYTES, CALLER_SECONDS, CALLERS, Callers, Wire
from mpcrt.transport.channel import PlainChannel
from mpcrt.transport.codec import encode
from mpcrt.transport.connection import STRANGER_LIMIT, Connection, Greeting
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.switch import Switch
from mpcrt.transport.tls import TlsChannel
from mpcrt.transport.zeromq import ZmqLink

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux counts a connection's bytes")

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER" + b"\x08Identity" + bytes(4)


def frame(data: bytes, more: bool = False, length: int | None = None) -> bytes:
    """As ZMTP 3.1 writes one; `length` is what it announces, where that is not what follows."""
    return bytes([2 + more]) + struct.pack(">Q", len(data) if length is None else length) + data


def call(address: str | None) -> socket.socket:
    """A connection that has shaken hands as ZeroMQ does, which closes one whose frames come before that is over."""
    caller = connected(address)
    caller.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    assert exactly(caller, len(GREETING))[:1] == b"\xff"
    kind, size = exactly(caller, 2)
    assert kind == 4 and exactly(caller, size).startswith(b"\x05READY")
    return caller


def exactly(caller: socket.socket, size: int) -> bytes:
    """The next `size` bytes and no more, so that what follows is left for `frames`."""
    data = b""
    while len(data) < size and (more := caller.recv(size - len(data))):
        data += more
    return data


def frames(caller: socket.socket) -> Iterator[bytes]:
    """What the other end sends after shaking hands, but for ZeroMQ's own commands."""
    with caller.makefile("rb") as stream:
        while kind := stream.read(1):
            size = int.from_bytes(stream.read(8 if kind[0] & 2 else 1), "big")
            data = stream.read(size)
            if not kind[0] & 4:
                yield data


def pour(caller: socket.socket, seconds: float = 20.0) -> int:
    """Send one message without end, until the connection is cut; how many bytes left."""
    piece, sent = frame(b"\x16" + bytes(60_000), more=True), 0
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            caller.sendall(piece)
            sent += len(piece)
        pytest.fail(f"not cut after {sent} bytes")
    return sent


def exchange(links: dict[str, ZmqLink], call: int) -> None:
    for one, other in (("alice", "bob"), ("bob", "alice")):
        links[one].send(other, Address(Kind.OPEN, call), b"a message")
        assert links[other].recv(one, Address(Kind.OPEN, call), limit=99)[0].tobytes() == b"a message"


@pytest.fixture
def links(authority: Authority) -> Iterator[dict[str, ZmqLink]]:
    links = zmq_links(["alice", "bob"], authority, silent=("bob",), connect=30.0, idle=20.0)
    succeed(together(*(link.open for link in links.values())))
    yield links
    succeed(together(*(link.close for link in links.values())))


def test_a_strangers_endless_message_is_cut(links: dict[str, ZmqLink]):
    """ZeroMQ would keep every frame; before this was bounded, 740 MB a second. Nobody else notices."""
    callers = [call(links["alice"]._addresses["alice"]) for _ in range(3)]
    sent = together(*(lambda caller=caller: pour(caller) for caller in callers))
    assert all(isinstance(each, int) for each in sent), sent
    exchange(links, 1)
    for caller in callers:
        caller.close()


def test_a_strangers_half_message_is_cut(links: dict[str, ZmqLink]):
    """Of one frame of a size that is allowed: more than anybody sends who has not greeted. At once, not for silence."""
    caller = call(links["alice"]._addresses["alice"])
    began = time.monotonic()
    caller.sendall(frame(bytes(2 * CALLER_BYTES), length=300_000))
    with contextlib.suppress(ConnectionError):
        assert not any(frames(caller))
    assert time.monotonic() - began < CALLER_SECONDS / 2
    exchange(links, 1)


def test_a_caller_that_falls_silent_is_cut(links: dict[str, ZmqLink], monkeypatch: pytest.MonkeyPatch):
    """It has shaken hands and answers no heartbeat; the party that is connected says as little and stays."""
    monkeypatch.setattr("mpcrt.transport.callers.CALLER_SECONDS", 1.0)
    caller = call(links["alice"]._addresses["alice"])
    deadline = time.monotonic() + 10
    while not _ended(caller):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    exchange(links, 1)
    assert not links["alice"].statistics.reconnects


FLOODED = """
import sys, time
sys.path[:0] = sys.argv[1:]
from link_worlds import listening, place
from test_callers import call, frame, reset
from mpcrt.transport.switch import Switch
sock = listening()
switch = Switch(heartbeat=0.05, timeout=5.0, frame_limit=1 << 20, copy_first=False)
address = place(sock)
switch.listen(sock.detach())
caller = call(address)
caller.sendall(frame(b"x") * 5000)
time.sleep(0.3)
reset(caller)
time.sleep(0.3)
taken = 0
while switch.receive() is not None:
    taken += 1
switch.close(0)
print(taken)
"""


def reset(caller: socket.socket) -> None:
    """Close it so that the other end's kernel says so at once, whatever has not been read."""
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()


def test_many_messages_and_a_reset_while_nobody_looks():
    """Who is busy in user code is not ended by ZeroMQ, which would abort the process where its queue was full."""
    command = [sys.executable, "-c", FLOODED, os.path.dirname(__file__)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "5000\n"), ended.stderr


def test_connections_that_say_nothing_are_few(links: dict[str, ZmqLink], monkeypatch: pytest.MonkeyPatch):
    """The rest is cut, any of them, long before they have been silent for too long."""
    monkeypatch.setattr("mpcrt.transport.callers.CALLER_SECONDS", 1000.0)
    board = links["alice"]._board
    assert board is not None
    callers = [connected(links["alice"]._addresses["alice"]) for _ in range(CALLERS + 60)]
    for caller in callers:
        with contextlib.suppress(ConnectionError):
            caller.sendall(GREETING + b"\x04" + bytes([len(READY)]) + READY)
    deadline = time.monotonic() + 20
    count = cut = 0
    while (count > CALLERS + 1 or cut < 60) and time.monotonic() < deadline:
        time.sleep(0.05)
        count = len(board.switch.callers._wires)
        cut = sum(_ended(caller) for caller in callers)
    assert cut >= 60 and count <= CALLERS + 1
    exchange(links, 1)
    for caller in callers:
        caller.close()


def _ended(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        while data := caller.recv(4096):
            assert data
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_peers_endless_message_ends_the_run(authority: Authority, monkeypatch: pytest.MonkeyPatch):
    """A party of the cluster file, with its own key, after its greeting: bounded too, and named."""
    monkeypatch.setattr("mpcrt.transport.connection.WAITING_BYTES", 1 << 24)
    sock = listening()
    place = f"127.0.0.1:{sock.getsockname()[1]}"
    alice = ZmqLink(
        "alice", {"alice": place, "bob": None}, listen_fd=sock.detach(), tls=authority.issue("alice"), connect=20.0
    )
    ended: list[MpcrtError] = []
    alice.on_failure = ended.append
    opening = threading.Thread(target=lambda: opened.extend(together(alice.open)))
    opened: list[object] = []
    opening.start()
    bob, channel = call(place), TlsChannel(authority.issue("bob"), dialing=True)
    incoming = frames(bob)
    flight = channel.start()
    while not channel.established:
        bob.sendall(b"".join(frame(bytes(part)) for message in flight for part in message))
        channel.unwrap([next(incoming)], 4096)
        flight = channel.replies()
    greeting = channel.wrap(Greeting("bob", "alice", bytes(16), 0).encode())
    bob.sendall(b"".join(frame(bytes(part)) for message in [*flight, *greeting] for part in message))
    opening.join(20)
    assert opened == [None]
    assert pour(bob) > 1 << 24
    deadline = time.monotonic() + 20
    while not ended and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(ended[0], ProtocolError) and str(ended[0]) == "bob sent a message without end"
    alice.close()
    bob.close()


def test_strangers_that_began_are_few(links: dict[str, ZmqLink], monkeypatch: pytest.MonkeyPatch):
    """Each has sent the start of a TLS record and is waited for; a further one takes the place of any of them."""
    monkeypatch.setattr("mpcrt.transport.switchboard.CALLERS", 4)
    board = links["alice"]._board
    assert board is not None
    before = len(board._gone)
    callers = [call(links["alice"]._addresses["alice"]) for _ in range(10)]
    for caller in callers:
        caller.sendall(frame(b"\x16\x03\x01"))
    deadline = time.monotonic() + 20
    while len(board._gone) - before + len(board._strangers) < 10 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(board._strangers) == 4 and len(board._gone) - before == 6
    exchange(links, 1)


def test_a_frame_above_the_limit_ends_its_connection_unread():
    """By what it announces, before its bytes come and memory is taken for them."""
    sock = listening()
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    switch = Switch(heartbeat=60.0, timeout=60.0, frame_limit=1000, copy_first=True)
    switch.listen(sock.detach())
    try:
        fits, large = call(address), call(address)
        fits.sendall(frame(bytes(1000)))
        large.sendall(frame(b"", length=1001))
        large.settimeout(10)
        assert not any(frames(large))
        switch.wait(10)
        message = switch.receive()
        assert message is not None and message[2] == [bytes(1000)]
    finally:
        switch.close(0)


def test_little_is_read_of_a_stranger():
    """What a header may announce before somebody has said who it is, whatever a message of a peer may have."""
    said = []
    connection = Connection(SimpleNamespace(send=lambda *sent: said.append(sent)), b"", PlainChannel())  # type: ignore[arg-type]
    limit = 1 << 30
    assert connection.receive(encode(Address(Kind.OPEN), [bytes(STRANGER_LIMIT)]).frames, limit)
    with pytest.raises(ProtocolError, match="at most 4096 are allowed"):
        connection.receive(encode(Address(Kind.OPEN), [bytes(STRANGER_LIMIT + 1)]).frames, limit)


def test_who_answers_and_does_not_greet_is_dialed_again(monkeypatch: pytest.MonkeyPatch):
    """It shakes hands as ZeroMQ does, and its heartbeats come."""
    monkeypatch.setattr("mpcrt.transport.switchboard.GREETING_SECONDS", 0.3)
    sock = listening()
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    switch = Switch(heartbeat=0.1, timeout=5.0, frame_limit=1 << 20, copy_first=True)
    switch.listen(sock.detach())
    bob = ZmqLink("bob", {"alice": address, "bob": None}, connect=2.0)
    opening = threading.Thread(target=lambda: together(bob.open))
    opening.start()
    callers = set()
    try:
        deadline = time.monotonic() + 4
        while len(callers) < 2 and time.monotonic() < deadline:
            switch.wait(0.05)
            if (message := switch.receive()) is not None:
                callers.add(message[0])
    finally:
        opening.join(30)
        switch.close(0)
    assert len(callers) == 2


def test_only_the_connection_that_was_meant_is_cut():
    """A descriptor may be closed by ZeroMQ, and be somebody else's, at any moment."""
    server = listening()
    first, other = (socket.create_connection(server.getsockname()) for _ in range(2))
    near, far = (server.accept()[0] for _ in range(2))
    callers = Callers()
    callers.came(near.fileno())
    wire = Wire(near.fileno())
    assert wire == Wire(near.fileno()) != Wire(far.fileno()) and hash(wire) == hash(Wire(near.fileno()))
    first.sendall(b"hello")
    assert near.recv(99) == b"hello" and wire.received == 5
    assert callers.look({wire: sys.maxsize}) == []
    number = near.detach()
    far = socket.socket(fileno=_moved(far, number))
    assert wire.received is None
    wire.cut()
    assert callers.look({wire: 0}) == []
    other.sendall(b"still there")
    assert far.recv(99) == b"still there"
    far.close()
    assert Wire(number).received is None
    for end in (first, other, server):
        end.close()


def _moved(end: socket.socket, number: int) -> int:
    """The same socket at another descriptor, whose own is closed."""
    os.dup2(end.fileno(), number)
    end.close()
    return number
