"""Valid certificates of the wrong party: the run ends at once, everywhere, and nobody else can be blamed or end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from link_worlds import Authority, listening, place, session, succeed, together, zmq_links

from mpcrt.errors import LinkError, PeerFailed
from mpcrt.transport.channel import Cut
from mpcrt.transport.codec import control
from mpcrt.transport.connection import Connection, Greeting
from mpcrt.transport.header import Control, Frame
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.switch import Switch
from mpcrt.transport.zeromq import ZmqLink

# all parties, who has a wrong certificate, whose it is, who has no address
CASES = [
    ("alice bob", "alice", "bob", ""),
    ("alice bob", "bob", "alice", ""),
    ("alice bob", "alice", "bob", "bob"),
    ("alice bob", "bob", "alice", "bob"),
    ("alice bob dealer", "alice", "bob", "bob"),
    ("alice bob dealer", "alice", "dealer", "dealer"),
    ("alice bob dealer", "bob", "dealer", ""),
    ("alice bob dealer", "bob", "alice", "alice"),
    ("alice bob dealer", "bob", "dealer", "bob"),
    ("alice bob dealer", "dealer", "alice", ""),
    ("alice bob carol dealer", "carol", "dealer", ""),
    ("alice bob carol dealer", "dealer", "bob", "dealer"),
]


def test_another_partys_certificate_ends_the_run_everywhere(authority: Authority):
    """Dialing and answering, with an address and without: nobody waits for `connect`, all name who and whose."""
    runs = [
        zmq_links(names.split(), authority, (silent,), {bad: shown}, connect=40.0, idle=20.0)
        for names, bad, shown, silent in CASES
    ]
    took: dict[ZmqLink, float] = {}

    def opened(link: ZmqLink) -> None:
        start = time.monotonic()
        try:
            link.open()
        finally:
            took[link] = time.monotonic() - start

    links = [link for run in runs for link in run.values()]
    results = dict(zip(links, together(*(lambda link=link: opened(link) for link in links)), strict=True))
    for case, run in zip(CASES, runs, strict=True):
        _, bad, shown, _ = case
        for link in run.values():
            assert isinstance(results[link], LinkError | PeerFailed), (case, link.name, results[link])
            said = f"its certificate is for {shown}, not {bad}; start {bad} with its own"
            assert said in str(results[link]), (case, link.name, results[link])
            assert took[link] < 20, (case, link.name)


def dialing_as(name: str, shown: str, alice: str, authority: Authority) -> ZmqLink:
    """Somebody without an address who says to alice that it is `name`."""
    return ZmqLink(name, {"alice": alice, name: None}, tls=authority.issue(name, names=[shown]), connect=20.0)


def test_who_pretends_to_be_another_party_does_not_get_it_blamed(authority: Authority):
    """Carol, in the cluster file and malicious, says that she is bob: alice ends, with what is proved, carol's key."""
    sock = listening()
    addresses = {"alice": place(sock), "bob": None, "carol": place(sock)}
    alice = ZmqLink("alice", addresses, listen_fd=sock.detach(), tls=authority.issue("alice"), connect=20.0)
    carol = dialing_as("bob", "carol", place_of(alice), authority)
    ended, _ = together(alice.open, carol.open)
    assert isinstance(ended, LinkError) and ended.peer == ""
    assert str(ended).startswith("refused a connection with the certificate for carol: ")


def place_of(link: ZmqLink) -> str:
    address = link._addresses[link.name]
    assert address is not None
    return address


def test_a_certificate_of_no_party_does_not_end_a_run(authority: Authority):
    """The cluster's authority may sign for many others: whoever shows such a certificate is a stranger."""
    links = zmq_links(["alice", "bob"], authority, connect=40.0, idle=20.0)
    waiting = threading.Thread(target=links["alice"].open)
    waiting.start()
    with pytest.raises(LinkError, match="it refused this party: its certificate is for mallory, not bob"):
        dialing_as("bob", "mallory", place_of(links["alice"]), authority).open()
    time.sleep(0.3)
    assert waiting.is_alive()
    links["bob"].open()
    waiting.join(60)
    assert not links["alice"]._board.missing()
    succeed(together(*(link.close for link in links.values())))


def test_once_a_run_is_up_a_wrong_party_is_only_refused(authority: Authority):
    """Carol's key can end a run that is coming up, as carol can; one that is up goes on."""
    links = zmq_links(["alice", "bob", "carol"], authority, connect=40.0, idle=20.0)
    succeed(together(*(link.open for link in links.values())))
    with pytest.raises(LinkError, match="its certificate is for carol, not bob"):
        dialing_as("bob", "carol", place_of(links["alice"]), authority).open()
    for name in ("bob", "carol"):
        links[name].send("alice", Address(Kind.META, 1), b"still here")
        assert links["alice"].recv(name, Address(Kind.META, 1), limit=99)[0].tobytes() == b"still here"
    succeed(together(*(link.close for link in links.values())))


class Nowhere(Switch):
    """A switch that sends nothing."""

    def __init__(self) -> None:
        pass

    def send(self, identity: bytes, frames: Sequence[Frame]) -> bool:
        return True


@pytest.mark.parametrize("place", [0, 1, 2, 5, -1])
def test_damage_after_the_handshake_is_no_refusal(place: int, authority: Authority):
    """OpenSSL calls a record header's flipped version "wrong version"; the certificate was accepted before that."""
    client, server = session(authority)
    greeting = Greeting("bob", "alice", bytes(16), 0).encode()
    ((record,),) = client.wrap(greeting)
    damaged = bytearray(record)
    damaged[place] ^= 1
    with pytest.raises(Cut):
        Connection(Nowhere(), b"bob", server).receive([bytes(damaged)], 4096)


def test_a_refusal_inside_tls_is_the_peers(authority: Authority):
    """What arrives unharmed is read as ever."""
    client, server = session(authority)
    (frames,) = client.wrap(control(Control.REFUSE, ("no",)))
    ((message, _),) = Connection(Nowhere(), b"bob", server).receive(frames, 4096)
    assert message.header.address.kind == Control.REFUSE
