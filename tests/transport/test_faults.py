"""Connections that break, stall and return; parties that die, stop, come late or never."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from link_worlds import Authority, listening, place, succeed, together, zmq_links
from tcp_proxy import Proxy

from mpcrt.errors import MpcrtError, PeerLost, ProtocolError, UsageError
from mpcrt.transport.link import Address, Failure, Kind
from mpcrt.transport.zeromq import ZmqLink

LIMIT = 1 << 24
SLACK = 3.0
"""Seconds that a busy machine may take beyond what is promised."""
Pair = Callable[..., tuple[ZmqLink, ZmqLink, Proxy]]


@pytest.fixture(params=["plain", "tls"])
def through_proxy(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Pair]:
    """alice, and bob who dials her through a proxy; closed afterwards."""
    closing: list[Callable[[], object]] = []

    def make(**options) -> tuple[ZmqLink, ZmqLink, Proxy]:
        sock = listening()
        proxy = Proxy(place(sock))
        context = authority.issue if request.param == "tls" else lambda name: None
        options = {"idle": 8.0, "connect": 20.0} | options
        alice = ZmqLink(
            "alice", {"alice": place(sock), "bob": None}, listen_fd=sock.detach(), tls=context("alice"), **options
        )
        bob = ZmqLink("bob", {"alice": proxy.address, "bob": None}, tls=context("bob"), **options)
        closing.extend([alice.close, bob.close])
        succeed(together(alice.open, bob.open))
        closing.append(proxy.close)
        return alice, bob, proxy

    yield make
    succeed(together(*closing[:2]))
    for close in closing[2:]:
        close()


def exchange(link: ZmqLink, steps: int, seed: int, fault: Callable[[int], None] = lambda step: None) -> None:
    """Send and receive messages of all sizes whose content both ends know."""
    peer = link.peers[0]
    sizes = np.random.default_rng(seed).choice([1, 50, 3000, 40_000, 300_000], steps)
    for step, size in enumerate(sizes):
        fault(step)
        link.send(peer, Address(Kind.OPEN, 1, 0, step), np.full(size, step + len(link.name), np.uint64))
        if step % 2:
            for each in (step - 1, step):
                (got,) = link.recv(peer, Address(Kind.OPEN, 1, 0, each), limit=LIMIT)
                assert got.shape == (sizes[each],)
                assert np.all(got == each + len(peer))


def test_cut_connections_return(through_proxy: Pair):
    """Cuts at random bytes: everything arrives once and unchanged, and only what was missing is sent again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    alice, bob, proxy = through_proxy()
    cuts = set(rng.sample(range(60), 8))

    def cut(step: int) -> None:
        if step in cuts:
            proxy.cut_after(rng.randrange(1, 3_000_000))

    succeed(together(lambda: exchange(alice, 60, 1, cut), lambda: exchange(bob, 60, 1)))
    assert alice.statistics.reconnects >= 1
    assert proxy.connections >= 2
    assert alice.statistics.total("sent").messages == bob.statistics.total("received").messages == 60
    assert alice.statistics.total("sent").payload == bob.statistics.total("received").payload


def test_random_faults(through_proxy: Pair):
    """Cuts, resets and stalls, and with TLS flipped bits, at random moments: the result is the same."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    alice, bob, proxy = through_proxy()
    faults = [lambda: proxy.cut_after(rng.randrange(1, 500_000)), proxy.cut, lambda: proxy.stall(rng.random())]
    if alice._tls is not None:
        faults.append(proxy.damage)

    def chaos() -> None:
        for _ in range(10):
            time.sleep(rng.random() / 4)
            rng.choice(faults)()

    succeed(together(lambda: exchange(alice, 100, seed), lambda: exchange(bob, 100, seed), chaos))


def test_a_cut_while_nobody_looks(through_proxy: Pair):
    """The watchers restore the connection while both engines are busy elsewhere."""
    alice, bob, proxy = through_proxy()
    for step in range(3):
        alice.send("bob", Address(Kind.OPEN, 1, 0, step), bytes(1000))
        proxy.cut()
        time.sleep(0.4)
    for step in range(3):
        assert bob.recv("alice", Address(Kind.OPEN, 1, 0, step), limit=LIMIT)[0].nbytes == 1000
    assert bob.statistics.reconnects >= 1


def test_a_stall_shorter_than_idle(through_proxy: Pair):
    """A stall that outlasts the heartbeat costs a connection, not the run."""
    alice, bob, proxy = through_proxy(idle=8.0)

    def stall(step: int) -> None:
        if step == 10:
            proxy.stall(2.5)

    succeed(together(lambda: exchange(alice, 20, 2, stall), lambda: exchange(bob, 20, 2)))


def test_a_stall_longer_than_idle(through_proxy: Pair):
    """Both ends name the other within idle + 2 s, and what a busy machine takes."""
    alice, bob, proxy = through_proxy(idle=1.2)
    proxy.stall(8.0)
    start = time.monotonic()
    results = together(
        lambda: alice.recv("bob", Address(Kind.OPEN, 1), limit=9),
        lambda: bob.recv("alice", Address(Kind.OPEN, 1), limit=9),
    )
    assert time.monotonic() - start < 3.2 + SLACK
    for result, name in zip(results, ["bob", "alice"], strict=True):
        assert isinstance(result, PeerLost) and result.peer == name
        assert f"{name} (" in str(result)
        # what was measured: the stall was noticed after idle / 4 and a beat, the rest is the time without a connection
        seconds = float(str(result).split("no connection for ")[1].split(" s")[0])
        assert 0.9 <= seconds <= time.monotonic() - start


def test_damaged_bytes(through_proxy: Pair):
    """A flipped bit: TLS notices and a new connection carries on; in plaintext no wrong value is ever returned."""
    alice, bob, proxy = through_proxy()

    def damage(step: int) -> None:
        if step in (4, 11):
            proxy.damage()

    def play(link: ZmqLink, fault: Callable[[int], None] = lambda step: None) -> None:
        try:
            exchange(link, 16, 3, fault)
        except AssertionError:
            link.abort(Failure(link.name, "exchange", 1))
            raise

    results = together(lambda: play(alice, damage), lambda: play(bob))
    if alice._tls is not None:
        succeed(results)
        assert alice.statistics.reconnects >= 1
    # in plaintext headers and small messages have a checksum; a large buffer has TCP's alone
    assert all(result is None or isinstance(result, MpcrtError | AssertionError) for result in results)


def test_late_and_outgoing_only():
    """alice waits for bob, who starts later; carol has no address and dials both."""
    links = zmq_links(["alice", "bob", "carol"], silent=("carol",), connect=20.0, idle=10.0)

    def late() -> None:
        time.sleep(0.5)
        links["bob"].open()

    succeed(together(links["alice"].open, late, links["carol"].open))
    links["alice"].send("carol", Address(Kind.META, 1), b"to carol")
    assert links["carol"].recv("alice", Address(Kind.META, 1), limit=9)[0].tobytes() == b"to carol"
    succeed(together(*(link.close for link in links.values())))


def test_nobody_listens_between_two_silent_parties():
    with pytest.raises(UsageError, match="neither bob nor carol has an address"):
        ZmqLink("carol", {"alice": "127.0.0.1:9101", "bob": None, "carol": None})


def test_connect_names_who_is_missing():
    sock = listening()
    addresses = {"alice": "127.0.0.1:1", "bob": place(sock), "carol": "127.0.0.1:2"}
    link = ZmqLink("bob", addresses, listen_fd=sock.detach(), connect=0.5)
    with pytest.raises(PeerLost, match=r"within 0.5 s: alice \(127.0.0.1:1\); carol \(127.0.0.1:2\)"):
        link.open()


def test_port_in_use():
    sock = listening()
    link = ZmqLink("alice", {"alice": place(sock), "bob": None})
    with pytest.raises(UsageError, match=f"alice cannot listen: {place(sock)} is in use; end the program"):
        link.open()
    sock.close()


def test_no_such_address():
    link = ZmqLink("alice", {"alice": "192.0.2.1:9101", "bob": None})
    with pytest.raises(UsageError, match=r"192.0.2.1:9101 is not an address of this machine; set `listen:`"):
        link.open()


def test_a_flood_ends_at_the_inbox_limit():
    links = zmq_links(["alice", "bob"], inbox_limit=1 << 20, idle=1.0)
    succeed(together(links["alice"].open, links["bob"].open))
    for step in range(30):
        links["bob"].send("alice", Address(Kind.OPEN, 1, 0, step), bytes(100_000))
    with pytest.raises(ProtocolError, match="bob broke the protocol: bob sent more than 1048576 bytes"):
        links["alice"].recv("bob", Address(Kind.OPEN, 2), limit=9)
    succeed(together(links["alice"].close, links["bob"].close))


def test_a_message_too_large_is_not_sent():
    links = zmq_links(["alice", "bob"], message_limit=1 << 20, idle=5.0)
    succeed(together(links["alice"].open, links["bob"].open))
    with pytest.raises(UsageError, match="1048577 bytes in one message; the limit is 1048576"):
        links["alice"].send("bob", Address(Kind.OPEN, 1), bytes((1 << 20) + 1))
    links["alice"].send("bob", Address(Kind.OPEN, 1), bytes(1 << 20))
    assert links["bob"].recv("alice", Address(Kind.OPEN, 1), limit=1 << 20)[0].nbytes == 1 << 20
    succeed(together(links["alice"].close, links["bob"].close))


def test_send_waits_at_the_resend_limit_and_no_longer():
    """A sender may be ahead of acknowledgements by the limit; both ends sending at once do not wait for each other."""
    links = zmq_links(["alice", "bob"], resend_limit=1 << 20, idle=10.0)
    succeed(together(links["alice"].open, links["bob"].open))

    def play(name: str, peer: str) -> None:
        for step in range(20):
            links[name].send(peer, Address(Kind.OPEN, 1, 0, step), bytes(300_000))
            assert links[name]._board.lines[peer].session.unacknowledged_bytes < (1 << 20) + 400_000
        for step in range(20):
            links[name].recv(peer, Address(Kind.OPEN, 1, 0, step), limit=LIMIT)

    succeed(together(lambda: play("alice", "bob"), lambda: play("bob", "alice")))
    succeed(together(links["alice"].close, links["bob"].close))


PEER = """
import sys, time
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.zeromq import ZmqLink
link = ZmqLink("bob", {"alice": sys.argv[1], "bob": None}, idle=float(sys.argv[2]), connect=20)
link.open()
link.send("alice", Address(Kind.META, 1), b"up")
time.sleep(60)
"""


def notices_its_end(how: signal.Signals, waiting: bool, script: Path) -> None:
    """A peer's process ends while alice waits in recv, or runs her own code."""
    idle = 2.0
    sock = listening()
    process = subprocess.Popen([sys.executable, script, place(sock), str(idle)])
    link = ZmqLink("alice", {"alice": place(sock), "bob": None}, listen_fd=sock.detach(), idle=idle, connect=30)
    heard: list[MpcrtError] = []
    link.on_failure = heard.append
    try:
        link.open()
        link.recv("bob", Address(Kind.META, 1), limit=9)
        time.sleep(idle / 2)
        assert not heard
        process.send_signal(how)
        start = time.monotonic()
        if waiting:
            with pytest.raises(PeerLost) as info:
                link.recv("bob", Address(Kind.META, 2), limit=9)
            heard.append(info.value)
        while not heard and time.monotonic() - start < 20:
            time.sleep(0.01)
        took = time.monotonic() - start
        assert isinstance(heard[0], PeerLost) and heard[0].peer == "bob"
        assert took < idle + 2 + SLACK
        assert len(heard) == 1
    finally:
        process.kill()
        process.wait()
        link.close()


def test_a_dead_or_stopped_process_is_noticed(tmp_path: Path):
    """Within idle + 2 s, whatever alice does; four pairs of processes at once."""
    script = tmp_path / "peer.py"
    script.write_text(PEER)
    kinds = [(how, waiting) for how in (signal.SIGKILL, signal.SIGSTOP) for waiting in (False, True)]
    succeed(together(*(partial(notices_its_end, how, waiting, script) for how, waiting in kinds)))


def test_a_restarted_process_does_not_blame_its_peers():
    """The new alice answers a bob who has messages of the old one: neither broke the protocol."""
    sock = listening()
    address = place(sock)
    addresses = {"alice": address, "bob": None}
    first = ZmqLink("alice", addresses, listen_fd=sock.detach(), idle=20.0)
    bob = ZmqLink("bob", addresses, idle=20.0)
    succeed(together(first.open, bob.open))
    first.send("bob", Address(Kind.META, 1), b"of the first")
    bob.recv("alice", Address(Kind.META, 1), limit=99)
    assert first._board is not None
    first._release(first._board)  # as if it were killed: no goodbye
    second = ZmqLink("alice", addresses, idle=20.0, connect=20.0)
    results = together(second.open, lambda: bob.recv("alice", Address(Kind.META, 2), limit=9))
    assert isinstance(results[0], PeerLost) and "bob (which dials this party) is in a run already" in str(results[0])
    assert isinstance(results[1], PeerLost) and "was restarted" in str(results[1])
    succeed(together(second.close, bob.close))


def test_nothing_is_left_behind(authority: Authority):
    """No threads, descriptors or ports, after runs that ended well and ones that did not come up."""

    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    def once() -> str:
        links = zmq_links(["alice", "bob"], authority, connect=10.0, idle=5.0)
        succeed(together(links["alice"].open, links["bob"].open))
        links["alice"].send("bob", Address(Kind.META, 1), bytes(1 << 20))
        links["bob"].recv("alice", Address(Kind.META, 1), limit=LIMIT)
        succeed(together(links["alice"].close, links["bob"].close))
        sock = listening()
        alone = ZmqLink("carol", {"carol": place(sock), "dave": None}, listen_fd=sock.detach(), connect=0.2)
        with pytest.raises(PeerLost):
            alone.open()
        address = links["alice"]._addresses["alice"]
        assert address is not None
        return address

    once()
    before, threads = descriptors(), threading.active_count()
    for _ in range(3):
        address = once()
    assert descriptors() <= before
    assert threading.active_count() <= threads
    again = ZmqLink("alice", {"alice": address, "bob": None}, connect=0.1)
    with pytest.raises(PeerLost):
        again.open()


def test_who_loses_a_peer_says_so_to_the_others(through_proxy: Pair):
    """The reason of an abort is what the link found, whatever the caller says."""
    alice, bob, _ = through_proxy()
    heard: list[MpcrtError] = []
    bob.on_failure = heard.append
    alice._failure = PeerLost("carol (127.0.0.1:1) was lost: silent for 1.2 s", "carol")
    alice.abort(Failure("carol", "predict", 4, 3))
    deadline = time.monotonic() + 20
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert str(heard[0]) == "alice reports: carol (127.0.0.1:1) was lost: silent for 1.2 s"


def test_who_aborts_waits_for_those_that_are_away(through_proxy: Pair, monkeypatch: pytest.MonkeyPatch):
    """A connection that is down when a run fails comes back to be told, on a busy machine a little later."""
    monkeypatch.setattr("mpcrt.transport.zeromq.FAREWELL", 10.0)
    alice, bob, proxy = through_proxy(idle=20.0)
    proxy.cut()
    time.sleep(0.1)
    alice.abort(Failure("alice", "load", 3, 1))

    def wait() -> str:
        with pytest.raises(MpcrtError) as info:
            bob.recv("alice", Address(Kind.OPEN, 1), limit=9)
        return str(info.value)

    said = succeed(together(alice.close, wait))
    assert said[1] == "alice failed in load (call 3); its own log has the cause"
