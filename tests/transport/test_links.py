"""One body of tests for every kind of link: in memory, over ZeroMQ, over ZeroMQ with TLS."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from link_worlds import World, succeed, together

from mpcrt.errors import LinkError, MpcrtError, PeerFailed, PeerLost, ProtocolError, UsageError
from mpcrt.transport.link import Address, Failure, Kind

NONCE = bytes(range(16))
LIMIT = 1 << 24


def test_all_to_all(world: World):
    """Every party of three sends every other buffers of several sizes, and gets theirs, in another order."""
    links = world("alice", "bob", "carol")
    sizes = [0, 1, 100, 1000, 5000, 200_000]

    def play(name: str) -> None:
        link = links[name]
        for step, size in enumerate(sizes):
            for peer in link.peers:
                values = np.arange(size, dtype=np.uint64) + len(name)
                link.send(peer, Address(Kind.OPEN, 1, 0, step), values, name.encode())
        for step, size in reversed(list(enumerate(sizes))):
            for peer in link.peers:
                values, text = link.recv(peer, Address(Kind.OPEN, 1, 0, step), limit=LIMIT)
                assert np.array_equal(values, np.arange(size, dtype=np.uint64) + len(peer))
                assert text.tobytes() == peer.encode()
                assert not values.flags.writeable

    succeed(together(*(lambda name=name: play(name) for name in links)))
    for link in links.values():
        for direction in ("sent", "received"):
            count = link.statistics.total(direction)
            names = sum(len(peer if direction == "received" else link.name) for peer in link.peers)
            assert count.messages == len(sizes) * 2
            assert count.payload == 2 * 8 * sum(sizes) + names * len(sizes)
    sent = links["alice"].statistics.total("sent", peer="bob")
    assert sent == links["bob"].statistics.total("received", peer="alice")


def test_ping_pong(world: World):
    links = world("alice", "bob")

    def play(name: str, peer: str) -> int:
        link, total = links[name], 0
        for step in range(200):
            if name == "alice":
                link.send(peer, Address(Kind.STEP, 1, 0, step), np.full(3, step))
            total += int(link.recv(peer, Address(Kind.STEP, 1, 0, step), limit=LIMIT)[0].sum())
            if name == "bob":
                link.send(peer, Address(Kind.STEP, 1, 0, step), np.full(3, step))
        return total

    assert succeed(together(lambda: play("alice", "bob"), lambda: play("bob", "alice"))) == [59700, 59700]


def test_shapes_and_dtypes_survive(world: World):
    links = world("alice", "bob")
    arrays = [
        np.array(3.5),
        np.zeros((0, 4), np.int64),
        np.array([[True, False]]),
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        np.arange(90_000, dtype=np.float32).reshape(300, 300),
    ]
    links["alice"].send("bob", Address(Kind.INPUT, 1), *arrays)
    received = links["bob"].recv("alice", Address(Kind.INPUT, 1), limit=LIMIT)
    for sent, got in zip(arrays, received, strict=True):
        assert (sent.shape, sent.dtype) == (got.shape, got.dtype)
        assert np.array_equal(sent, got)


def test_an_address_is_used_once(world: World):
    links = world("alice", "bob")
    links["alice"].send("bob", Address(Kind.OPEN, 1), b"once")
    with pytest.raises(UsageError, match="second message to bob"):
        links["alice"].send("bob", Address(Kind.OPEN, 1), b"twice")
    assert links["bob"].recv("alice", Address(Kind.OPEN, 1), limit=9)[0].tobytes() == b"once"


def test_limit_of_a_message(world: World):
    links = world("alice", "bob")
    links["alice"].send("bob", Address(Kind.OPEN, 1), bytes(100))
    with pytest.raises(ProtocolError, match=r"alice sent 100 bytes .* at most 99"):
        links["bob"].recv("alice", Address(Kind.OPEN, 1), limit=99)


def test_unknown_peer(world: World):
    links = world("alice", "bob")
    for call in (
        lambda: links["alice"].send("carol", Address(Kind.OPEN), b""),
        lambda: links["alice"].recv("carol", Address(Kind.OPEN), limit=0),
    ):
        with pytest.raises(UsageError, match="no link to 'carol', only to bob"):
            call()


def test_nonce(world: World):
    """HELLO works before the nonce is bound at both ends; afterwards messages of another run are refused."""
    links = world("alice", "bob")
    alice, bob = links["alice"], links["bob"]
    alice.bind_nonce(NONCE)
    alice.send("bob", Address(Kind.HELLO), b"hello")
    alice.send("bob", Address(Kind.OPEN, 1), b"mine")
    alice.send("bob", Address(Kind.OPEN, 2), b"mine")
    assert bob.recv("alice", Address(Kind.HELLO), limit=9)[0].tobytes() == b"hello"
    bob.bind_nonce(NONCE)
    assert bob.recv("alice", Address(Kind.OPEN, 1), limit=9)[0].tobytes() == b"mine"
    bob.nonce = bytes(reversed(NONCE))
    with pytest.raises(ProtocolError, match="for another run"):
        bob.recv("alice", Address(Kind.OPEN, 2), limit=9)
    with pytest.raises(UsageError, match="another run's nonce"):
        alice.bind_nonce(bytes(reversed(NONCE)))


def test_drain(world: World):
    """drain returns once the peer has taken enough, and not before."""
    links = world("alice", "bob")
    alice, bob = links["alice"], links["bob"]
    for step in range(4):
        alice.send("bob", Address(Kind.DEAL, 1, 0, step), bytes(100_000))
    drained, taken = threading.Event(), threading.Event()

    def take() -> None:
        assert drained.wait(60)
        taken.set()
        for step in range(4):
            bob.recv("alice", Address(Kind.DEAL, 1, 0, step), limit=LIMIT)

    def drain() -> None:
        alice.drain("bob", 400_000)
        assert not taken.is_set()
        drained.set()
        alice.drain("bob", 0)
        assert taken.is_set()

    succeed(together(take, drain))


def test_abort_reaches_a_waiting_and_a_busy_peer(world: World):
    """One peer waits in recv; the other is busy and hears of it through on_failure."""
    links = world("alice", "bob", "carol")
    heard: list[MpcrtError] = []
    links["carol"].on_failure = heard.append
    results: list[object] = []

    def wait() -> None:
        with pytest.raises(PeerFailed) as info:
            links["bob"].recv("alice", Address(Kind.OPEN, 1), limit=9)
        results.append(info.value)

    def fail() -> None:
        time.sleep(0.2)
        links["alice"].abort(Failure("alice", "load_data", 7, 1))

    succeed(together(wait, fail))
    deadline = time.monotonic() + 5
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    for failure in [results[0], heard[0]]:
        assert isinstance(failure, PeerFailed)
        assert (failure.party, failure.function, failure.number, failure.code) == ("alice", "load_data", 7, 1)
    assert len(heard) == 1
    with pytest.raises(PeerFailed, match="alice failed in load_data"):
        links["carol"].send("bob", Address(Kind.OPEN, 1), b"")


def test_abort_has_a_bounded_size(world: World):
    links = world("alice", "bob")
    links["alice"].abort(Failure("alice", "f" * 10**6, 1))
    with pytest.raises(PeerFailed) as info:
        links["bob"].recv("alice", Address(Kind.OPEN, 1), limit=9)
    assert len(info.value.function) == 100


def test_a_peer_that_closed_is_not_lost(world: World):
    """What it sent can still be received; waiting for more, or sending to it, is an error that says so."""
    links = world("alice", "bob")
    alice, bob = links["alice"], links["bob"]
    heard: list[MpcrtError] = []
    bob.on_failure = heard.append
    alice.send("bob", Address(Kind.RESULT, 1), b"result")
    succeed(together(alice.close))
    time.sleep(0.5)
    assert bob.recv("alice", Address(Kind.RESULT, 1), limit=9)[0].tobytes() == b"result"
    with pytest.raises(PeerLost, match="alice ended its run"):
        bob.recv("alice", Address(Kind.RESULT, 2), limit=9)
    with pytest.raises(PeerLost, match="alice ended its run"):
        bob.send("alice", Address(Kind.RESULT, 3), b"")
    assert heard == []
    with pytest.raises(LinkError, match=r"closed|not open"):
        alice.send("bob", Address(Kind.RESULT, 9), b"")


def test_recorder_sees_every_buffer(world: World):
    links = world("alice", "bob")
    seen: dict[str, list] = {"alice": [], "bob": []}
    for name, link in links.items():
        link.recorder = lambda direction, peer, address, buffers, name=name: seen[name].append(
            (direction, peer, address, [buffer.tobytes() for buffer in buffers])
        )
    address = Address(Kind.REVEAL, 3, 2, 1)
    links["alice"].send("bob", address, b"one", np.arange(4, dtype=np.uint64))
    links["bob"].recv("alice", address, limit=LIMIT)
    buffers = [b"one", np.arange(4, dtype=np.uint64).tobytes()]
    assert seen == {
        "alice": [("sent", "bob", address, buffers)],
        "bob": [("received", "alice", address, buffers)],
    }


def test_two_threads_on_one_link(world: World):
    """The engine has one thread; two are slower, not wrong."""
    links = world("alice", "bob")

    def play(name: str, peer: str, path: int) -> None:
        for step in range(30):
            links[name].send(peer, Address(Kind.OPEN, 1, path, step), np.full(2, step))
            assert links[name].recv(peer, Address(Kind.OPEN, 1, path, step), limit=99)[0][0] == step

    pairs = [("alice", "bob", 0), ("bob", "alice", 0), ("alice", "bob", 1), ("bob", "alice", 1)]
    succeed(together(*(lambda pair=pair: play(*pair) for pair in pairs)))


def test_another_thread_ends_a_waiting_recv(world: World):
    """abort by the main thread, or its close, does not leave the engine waiting."""
    links = world("alice", "bob")

    def wait(name: str, peer: str) -> str:
        with pytest.raises(MpcrtError) as info:
            links[name].recv(peer, Address(Kind.OPEN, 1), limit=9)
        return str(info.value)

    def end() -> None:
        time.sleep(0.3)
        links["alice"].abort(Failure("alice", "main", 2))

    said = succeed(together(lambda: wait("alice", "bob"), lambda: wait("bob", "alice"), end, timeout=60))
    assert said[:2] == ["alice has aborted the run", "alice failed in main (call 2); its own log has the cause"]
