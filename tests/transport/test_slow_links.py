"""Links that are slow, that are cut again and again, or both: a message gets across piece by piece, or the run ends."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from link_worlds import Authority, listening, place, session, succeed, together
from tcp_proxy import Proxy

from mpcrt.errors import PeerFailed, PeerLost, ProtocolError
from mpcrt.transport.arrival import PIECE
from mpcrt.transport.channel import Cut, PlainChannel
from mpcrt.transport.codec import Encoded, Message, control, encode
from mpcrt.transport.header import Control, Frame
from mpcrt.transport.line import FRUITLESS, Heart, Line
from mpcrt.transport.link import UNBOUND, Address, Kind
from mpcrt.transport.session import Session
from mpcrt.transport.switch import Switch
from mpcrt.transport.tls import TlsChannel
from mpcrt.transport.zeromq import ZmqLink

LIMIT = 1 << 24
SLACK = 3.0
"""Seconds that a busy machine may take beyond what is promised."""
Slow = Callable[..., tuple[ZmqLink, ZmqLink, Proxy]]


@pytest.fixture
def slow(authority: Authority) -> Iterator[Slow]:
    """alice, and bob who dials her through a proxy with the options given, over TLS; closed afterwards."""
    links: list[ZmqLink] = []
    proxies: list[Proxy] = []

    def make(idle: float, **faults) -> tuple[ZmqLink, ZmqLink, Proxy]:
        sock = listening()
        proxy = Proxy(place(sock))
        proxies.append(proxy)
        addresses = {"alice": place(sock), "bob": None}
        alice = ZmqLink("alice", addresses, listen_fd=sock.detach(), tls=authority.issue("alice"), idle=idle)
        bob = ZmqLink("bob", {"alice": proxy.address, "bob": None}, tls=authority.issue("bob"), idle=idle)
        links.extend([alice, bob])
        proxy.impair(**faults)
        succeed(together(alice.open, bob.open))
        return alice, bob, proxy

    yield make
    for proxy in proxies:
        proxy.impair()
    together(*(link.close for link in links))
    for proxy in proxies:
        proxy.close()


def carried(proxy: Proxy, payload: int) -> float:
    """How often the payload went over the wire."""
    return proxy.carried / payload


def send(source: ZmqLink, target: ZmqLink, size: int) -> None:
    """One message of `size` bytes, compared where it arrives."""
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8)
    address = Address(Kind.OPEN, 1, 0, size)
    source.send(target.name, address, data)
    assert np.array_equal(target.recv(source.name, address, limit=size)[0], data)


@pytest.mark.parametrize("back", [False, True])
def test_a_link_slower_than_a_frame_in_its_time(slow: Slow, back: bool):
    """A frame takes longer than idle / 4, for which nothing else is heard: the bytes that come are a sign of life."""
    alice, bob, proxy = slow(2.0, rate=PIECE / 1.2)
    source, target = (bob, alice) if back else (alice, bob)
    send(source, target, 4 * PIECE)
    assert alice.statistics.reconnects == bob.statistics.reconnects == 0
    assert carried(proxy, 4 * PIECE) < 1.2


@pytest.mark.parametrize("back", [False, True])
def test_a_cut_link_goes_on_at_the_piece(slow: Slow, back: bool):
    """Messages that take many connections, small ones among them: no piece that has come is sent again."""
    alice, bob, proxy = slow(6.0, rate=1 << 22, cut_bytes=1 << 20)
    source, target = (bob, alice) if back else (alice, bob)
    sizes = (10, 6 << 20, 4000, 2 << 20)
    succeed(together(lambda: [send(source, target, size) for size in sizes]))
    assert proxy.connections > 7
    assert carried(proxy, 8 << 20) < 1.5


def test_a_link_cut_by_the_clock(slow: Slow):
    """16 MB at 4 MB/s, cut every second."""
    alice, bob, proxy = slow(6.0, rate=4e6, cut_every=1.0)
    succeed(together(lambda: send(alice, bob, 16_000_000)))
    assert carried(proxy, 16_000_000) < 1.5


def test_connections_that_carry_nothing_are_no_progress(slow: Slow):
    """Each ends before a piece is across: both ends say so after idle, whoever greeted how often."""
    alice, bob, _ = slow(3.0, rate=1 << 18, cut_bytes=3 * PIECE // 4)
    began = time.monotonic()

    def stuck() -> None:
        alice.send("bob", Address(Kind.OPEN, 1), bytes(4 * PIECE))
        alice.recv("bob", Address(Kind.OPEN, 2), limit=9)

    results = together(stuck, lambda: bob.recv("alice", Address(Kind.OPEN, 2), limit=9))
    assert isinstance(results[0], PeerLost) and results[0].peer == "bob", results
    assert "s ended before anything more got across" in str(results[0])
    assert isinstance(results[1], PeerLost | PeerFailed), results
    assert 3.0 < time.monotonic() - began < 3.0 + 2.0 + SLACK


def test_connections_that_have_nothing_to_carry_may_come_and_go(slow: Slow):
    """Nobody waits for anything, as while user code runs: the peer is there, and that is enough."""
    alice, bob, proxy = slow(4.0, cut_every=0.75)  # a handshake takes a good part of that beside other work
    time.sleep(5.0)
    proxy.impair()
    send(alice, bob, 10)
    assert alice.statistics.reconnects > FRUITLESS


def test_a_connection_returns_at_once_while_user_code_runs(slow: Slow, monkeypatch: pytest.MonkeyPatch):
    """The steps of a handshake do not wait for a watcher's next look each, or a short-lived link carries nothing."""
    monkeypatch.setattr("mpcrt.transport.zeromq.SLICE", 1.5)
    _, bob, proxy = slow(20.0)
    board = bob._board
    assert board is not None
    proxy.cut()
    _until(lambda: board.lines["alice"].connection is None)
    began = time.monotonic()
    _until(lambda: board.lines["alice"].connection is not None)
    assert time.monotonic() - began < 2.6  # alice's next look is within 1.5 s; bob's second after this one in 3


def _until(happens: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_connection_that_is_taken_and_forgotten_is_made_again(slow: Slow):
    """A middlebox in trouble: it accepts, carries nothing over that connection ever, and is well a moment later."""
    alice, bob, proxy = slow(4.0)
    address = listening()
    host = proxy._target
    proxy.lead_to(place(address))
    proxy.cut()
    hole, _ = address.accept()
    proxy._target = host
    send(bob, alice, 10)
    hole.close()
    address.close()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/net/tcp")
def test_who_is_not_answered_dials_again():
    """The kernel's own attempts come ever more seldom: after an outage they would be too late."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    switch = Switch(heartbeat=0.1, timeout=0.2, frame_limit=1 << 20, copy_first=False)
    waiting = [socket.socket() for _ in range(4)]
    try:
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        ours = {each.getsockname()[1] for each in waiting}
        switch.dial(f"tcp://{place(full)}")
        seen: set[int] = set()

        def again() -> bool:
            seen.update(_dialing(full.getsockname()[1]) - ours)
            return len(seen) > 1

        _until(again)
    finally:
        switch.close(0)
        for each in [*waiting, full]:
            each.close()


def _dialing(port: int) -> set[int]:
    """Local ports of this machine's connections to `port` that have not been answered."""
    tables = [Path("/proc/self/net", name).read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table]
    ends = [[int(end.split(":")[1], 16) for end in row[1:3]] for row in rows if row[3] == "02"]
    return {near for near, far in ends if far == port}


def test_a_goodbye_waits_while_something_arrives(slow: Slow, monkeypatch: pytest.MonkeyPatch):
    """What is still on its way when a party has finished takes longer than a goodbye without an answer may."""
    monkeypatch.setattr("mpcrt.transport.zeromq.CLOSE_SECONDS", 1.0)
    alice, bob, _ = slow(8.0, rate=2 * PIECE)
    alice.send("bob", Address(Kind.OPEN, 1), bytes(6 * PIECE))
    closing = threading.Thread(target=alice.close)
    closing.start()
    try:
        assert len(bob.recv("alice", Address(Kind.OPEN, 1), limit=6 * PIECE)[0]) == 6 * PIECE
    finally:
        closing.join(30)


def test_a_round_trip_longer_than_a_quarter_of_idle(slow: Slow):
    """The heartbeats that come are as late as everything else, but they come."""
    alice, bob, _ = slow(2.0, delay=0.35)
    for size in (10, 2 * PIECE):
        send(alice, bob, size)
        send(bob, alice, size)
    time.sleep(1.0)
    assert alice.statistics.reconnects == bob.statistics.reconnects == 0


def test_damage_ends_a_run_when_nothing_gets_across(slow: Slow, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mpcrt.transport.switchboard.DAMAGES", 2)
    alice, _, _ = slow(8.0)
    board = alice._board
    assert board is not None
    with alice._turn:
        connection = board.lines["bob"].connection
        assert connection is not None
        for _ in range(2):
            board._damaged(connection, "noise")
        with pytest.raises(ProtocolError, match="2 connections were damaged, the last: noise"):
            board._damaged(connection, "noise")


def test_damage_with_progress_between_is_forgotten():
    """A link that is cut for hours may be damaged more often than one that carries nothing."""
    line, heart = Line("bob", None, False, Session("bob", inbox_limit=1)), Heart(60.0)
    line.session.outgoing(Address(Kind.OPEN, 1), [b"waits"], UNBOUND)
    line.judge(1.0, heart)
    line.damages = 5
    line.judge(2.0, heart)
    assert line.damages == 5
    line.session.acknowledge(1, 0)
    line.judge(3.0, heart)
    assert line.damages == 0


@pytest.fixture(scope="module")
def half_sent(authority: Authority) -> Callable[[], tuple[TlsChannel, TlsChannel, Encoded]]:
    """A new session's ends, of which the second has two of five pieces of a message that began over another."""

    def make() -> tuple[TlsChannel, TlsChannel, Encoded]:
        encoded = encode(Address(Kind.OPEN, 1), [np.arange(5 * PIECE // 8)], sequence=1)
        client, server = session(authority)
        for frames in islice(client.wrap(encoded), 2):
            assert not server.unwrap(frames, LIMIT)
        arriving = server.arriving
        assert arriving is not None and arriving.taken == 2
        client, server = session(authority)
        server.resume(arriving)
        return client, server, encoded

    return make


def taken(server: TlsChannel, sent: Iterable[Sequence[Frame]]) -> list[Message]:
    return [message for frames in sent for message, _ in server.unwrap([bytes(frame) for frame in frames], LIMIT)]


def test_a_message_resumes(half_sent: Callable):
    """In a new session, under a new key, after what is not numbered; and a third time after that."""
    client, server, encoded = half_sent()
    assert len(taken(server, client.wrap(control(Control.ACK, (0,))))) == 1
    rest = list(client.wrap(encoded, 2))
    assert len(rest) == 3
    ((arrays),) = [message.arrays for message in taken(server, rest)]
    assert np.array_equal(arrays[0], encoded.arrays[0]) and server.arriving is None


@pytest.mark.parametrize("size", [10, 5 * PIECE // 8])
def test_another_message_does_not_take_its_place(half_sent: Callable, size: int):
    """Small or large: two payloads for one address end the run."""
    client, server, encoded = half_sent()
    other = encode(Address(Kind.OPEN, 1), [np.arange(size)], sequence=1, acknowledged=1)
    assert other.frames != encoded.frames
    with pytest.raises(ProtocolError, match="two different messages number 1: OPEN of call 1"):
        taken(server, client.wrap(other))


def test_no_piece_is_asked_for_that_there_is_not(half_sent: Callable):
    client, _, encoded = half_sent()
    for start in (5, 6, 1 << 40):
        with pytest.raises(ProtocolError, match="of a message that has fewer"):
            client.wrap(encoded, start)
    with pytest.raises(ProtocolError, match="piece 1 of a message that has fewer"):
        client.wrap(encode(Address(Kind.OPEN, 1), [b"small"], sequence=1), 1)
    with pytest.raises(ProtocolError, match="in plaintext"):
        PlainChannel().wrap(encoded, 1)
    with pytest.raises(ProtocolError, match="a piece of message 1, which was never sent"):
        Session("bob", inbox_limit=1).resume(0, 1)


def test_a_damaged_piece_does_not_count(half_sent: Callable):
    """What has opened before it is kept, and the next connection brings it again."""
    client, server, encoded = half_sent()
    first, second, _ = ([bytes(frame) for frame in frames] for frames in client.wrap(encoded, 2))
    assert not taken(server, [first])
    with pytest.raises(Cut):
        taken(server, [[second[0][:-1] + bytes([second[0][-1] ^ 1])]])
    assert server.arriving is not None and server.arriving.taken == 3
