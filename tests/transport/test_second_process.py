"""A second process under a party's name: turned away while the first is there, the end of the run once it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from link_worlds import Authority, listening, place, succeed, together
from tcp_proxy import Proxy

from mpcrt.errors import DisagreementError, PeerLost
from mpcrt.transport.line import RETURN_SECONDS
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.zeromq import ZmqLink

SAYS = "{} is connected already, from another process under its name; end that process, or wait"


class Company:
    """Parties' processes, each a link; closed at the end whatever happened."""

    def __init__(self, authority: Authority | None) -> None:
        self._authority = authority
        self._sockets = {name: listening() for name in ("alice", "bob", "dealer")}
        self.addresses: dict[str, str | None] = {name: place(sock) for name, sock in self._sockets.items()}
        self.addresses = {name: self.addresses.get(name) for name in ("alice", "bob", "carol", "dealer")}
        self.links: list[ZmqLink] = []
        self.proxy: Proxy | None = None

    def start(self, name: str, via: dict[str, str] | None = None, **options) -> ZmqLink:
        """Another process of a party, unopened: the first at its address, a second at a port of its own, as on another
        machine."""
        sock = self._sockets.pop(name, None) or (listening() if self.addresses[name] else None)
        link = ZmqLink(
            name,
            self.addresses | (via or {}),
            listen_fd=sock.detach() if sock else None,
            tls=self._authority.issue(name) if self._authority else None,
            **{"idle": 20.0, "connect": 30.0} | options,
        )
        self.links.append(link)
        return link

    def close(self) -> None:
        together(*(link.close for link in self.links))
        if self.proxy is not None:
            self.proxy.close()
        for sock in self._sockets.values():
            sock.close()


@pytest.fixture(params=["plain", "tls"])
def company(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Company]:
    company = Company(authority if request.param == "tls" else None)
    yield company
    company.close()


def exchange(links: dict[str, ZmqLink], call: int) -> None:
    """A message from everybody to everybody."""
    for name, link in links.items():
        for peer in link.peers:
            link.send(peer, Address(Kind.OPEN, call), name.encode())
    for link in links.values():
        for peer in link.peers:
            assert link.recv(peer, Address(Kind.OPEN, call), limit=99)[0].tobytes() == peer.encode()


def test_a_second_process_is_refused_by_name(company: Company):
    """With an address, without one, and a dealer on standby: each ends at once and says why, and the run goes on."""
    links = {name: company.start(name) for name in company.addresses}
    succeed(together(*(link.open for link in links.values())))
    exchange(links, 1)
    seconds = [company.start(name) for name in ("bob", "carol", "dealer")]
    began = time.monotonic()
    for link, ended in zip(seconds, together(*(link.open for link in seconds)), strict=True):
        assert isinstance(ended, DisagreementError) and ended.exit_code == 4, ended
        assert SAYS.format(link.name) in str(ended) and "no link to " in str(ended)
    assert time.monotonic() - began < 15
    exchange(links, 2)
    assert all(not link.statistics.reconnects for link in links.values())
    succeed(together(*(link.close for link in links.values())))


def test_a_second_process_before_all_are_up(company: Company):
    """Who waits for a third party goes on waiting, though a certificate of the cluster was turned away."""
    links = {name: company.start(name) for name in company.addresses}
    early = [name for name in links if name != "dealer"]
    opened: list[object] = []
    opening = threading.Thread(target=lambda: opened.extend(together(*(links[name].open for name in early))))
    opening.start()
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (
            (board := links["alice"]._board) and [line.peer for line in board.missing()] == ["dealer"]
        ):
            time.sleep(0.02)
        (ended,) = together(company.start("carol").open)
        assert isinstance(ended, DisagreementError) and SAYS.format("carol") in str(ended), ended
        succeed(together(links["dealer"].open))
    finally:
        opening.join(60)
    succeed(opened)
    exchange(links, 1)


def pair(company: Company) -> tuple[ZmqLink, ZmqLink, Proxy]:
    """alice, and bob who dials her through a proxy, open."""
    address = company.addresses["alice"]
    assert address is not None
    company.addresses = {"alice": address, "bob": None}
    company.proxy = proxy = Proxy(address)
    alice, bob = company.start("alice", idle=8.0), company.start("bob", {"alice": proxy.address}, idle=8.0)
    succeed(together(alice.open, bob.open))
    return alice, bob, proxy


def away(alice: ZmqLink) -> None:
    """Until alice has noticed that bob's connection has ended."""
    deadline = time.monotonic() + 10
    while alice._board.lines["bob"].connection is not None and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_restarted_process_ends_the_run(company: Company):
    """The first is gone, as if it were killed; the second is not taken for it, and not left waiting."""
    alice, bob, _ = pair(company)
    bob._release(bob._board)
    second = company.start("bob", connect=RETURN_SECONDS + 4)
    results = together(lambda: alice.recv("bob", Address(Kind.META, 1), limit=9), second.open)
    assert isinstance(results[0], PeerLost) and "bob (which dials this party) was restarted" in str(results[0])
    assert isinstance(results[1], PeerLost)


def test_a_process_that_returns_keeps_its_place(company: Company):
    """Its connection was cut just before the second process came: that one waits, and is refused when it is back."""
    alice, bob, proxy = pair(company)
    proxy.turn_away = True
    proxy.cut()
    away(alice)
    second: list[object] = []
    opening = threading.Thread(target=lambda: second.extend(together(company.start("bob").open)))
    opening.start()
    try:
        time.sleep(RETURN_SECONDS / 2)
        assert not second
        proxy.turn_away = False
        exchange({"alice": alice, "bob": bob}, 1)
    finally:
        opening.join(60)
    assert isinstance(second[0], DisagreementError) and SAYS.format("bob") in str(second[0])
    assert alice.statistics.reconnects == 1
    exchange({"alice": alice, "bob": bob}, 2)


def test_a_silent_process_is_waited_for(company: Company):
    """Nothing is heard of the first for a while, so that neither can be told; then it is there, and the run goes on."""
    alice, bob, proxy = pair(company)
    proxy.stall(1.7)
    time.sleep(1.35)
    (ended,) = together(company.start("bob").open)
    assert isinstance(ended, DisagreementError) and SAYS.format("bob") in str(ended)
    exchange({"alice": alice, "bob": bob}, 1)


def test_a_stopped_process_has_idle_to_return(company: Company, monkeypatch: pytest.MonkeyPatch):
    """It was given up for silence, longer ago than who has ended needs to return: it may be there, and is."""
    monkeypatch.setattr("mpcrt.transport.line.RETURN_SECONDS", 0.2)
    alice, bob, proxy = pair(company)
    proxy.stall(4.0)
    away(alice)
    second: list[object] = []
    opening = threading.Thread(target=lambda: second.extend(together(company.start("bob").open)))
    opening.start()
    try:
        exchange({"alice": alice, "bob": bob}, 1)
    finally:
        opening.join(60)
    assert isinstance(second[0], DisagreementError) and SAYS.format("bob") in str(second[0])
    exchange({"alice": alice, "bob": bob}, 2)


def test_the_next_run_waits_for_this_one(company: Company):
    """bob has finished and starts again while alice is still at work: her run ends as it should."""
    alice, bob, _ = pair(company)
    bob.send("alice", Address(Kind.META, 1), b"last")
    succeed(together(bob.close))
    away(alice)
    ended = together(company.start("bob", connect=1.5).open)
    assert isinstance(ended[0], PeerLost) and "did not come up within 1.5 s: alice" in str(ended[0])
    assert alice.recv("bob", Address(Kind.META, 1), limit=9)[0].tobytes() == b"last"
    assert alice._failure is None
