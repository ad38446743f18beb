"""A recorded connection played back, to whom it was meant for and to who made it, before a run and in it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from link_worlds import Authority, listening, place, succeed, together
from tcp_proxy import Proxy

from mpcrt.transport.link import Address, Kind
from mpcrt.transport.zeromq import ZmqLink


def linked(authority: Authority) -> tuple[ZmqLink, ZmqLink, Proxy, str]:
    """alice, and bob who dials her through a proxy, unopened, and alice's own address."""
    sock = listening()
    direct = place(sock)
    proxy = Proxy(direct)
    alice = ZmqLink(
        "alice", {"alice": direct, "bob": None}, listen_fd=sock.detach(), tls=authority.issue("alice"), idle=20.0
    )
    bob = ZmqLink("bob", {"alice": proxy.address, "bob": None}, tls=authority.issue("bob"), idle=20.0)
    return alice, bob, proxy, direct


def exchange(alice: ZmqLink, bob: ZmqLink, call: int) -> None:
    """A small and a large message each way, as they were sent."""
    for step, size in enumerate((100, 700_000)):
        for one, other in ((alice, bob), (bob, alice)):
            text = bytes([call, step]) * size
            one.send(other.name, Address(Kind.OPEN, call, 0, step), text)
            assert other.recv(one.name, Address(Kind.OPEN, call, 0, step), limit=1 << 22)[0].tobytes() == text


def recorded(authority: Authority) -> dict[str, bytearray]:
    """What each end of a whole connection said."""
    alice, bob, proxy, _ = linked(authority)
    succeed(together(alice.open, bob.open))
    exchange(alice, bob, 1)
    succeed(together(alice.close, bob.close))
    proxy.close()
    return proxy.said


def play(said: bytearray, address: str) -> None:
    """Say it all again to who answers at an address, until that end hangs up, or says nothing more."""
    host, port = address.split(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=2) as caller:
        caller.sendall(bytes(said))  # a copy: a proxy that still carries this connection appends to it
        caller.settimeout(0.5)
        while caller.recv(1 << 16):
            pass


class Player:
    """Answers every connection with what was recorded."""

    def __init__(self, said: bytearray) -> None:
        self._listener = listening()
        self.address = place(self._listener)
        self.played = 0
        self._said = said
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                with contextlib.suppress(OSError), caller:
                    caller.settimeout(2)
                    caller.recv(1)
                    caller.sendall(self._said)
                    self.played += 1
                    while caller.recv(1 << 16):
                        pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_replayed_to_who_answers(authority: Authority):
    """Before bob is there and afterwards: nobody is taken for bob, and the run goes on."""
    said = recorded(authority)["dialer"]
    alice, bob, proxy, direct = linked(authority)
    opening = threading.Thread(target=alice.open)
    opening.start()
    play(said, direct)
    assert opening.is_alive()
    bob.open()
    opening.join(30)
    exchange(alice, bob, 2)
    play(said, direct)
    play(proxy.said["dialer"], direct)
    exchange(alice, bob, 3)
    assert not alice.statistics.reconnects
    succeed(together(alice.close, bob.close))
    proxy.close()


def test_replayed_to_who_dials(authority: Authority):
    """Bob's connection is cut and leads to a recording of alice for a while: he does not take it for her."""
    alice, bob, proxy, direct = linked(authority)
    succeed(together(alice.open, bob.open))
    exchange(alice, bob, 1)
    player = Player(bytearray(proxy.said["answerer"]))
    proxy.lead_to(player.address)
    proxy.cut()
    deadline = time.monotonic() + 10
    while player.played < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert player.played >= 2
    proxy.lead_to(direct)
    player.close()
    exchange(alice, bob, 2)
    assert bob.statistics.reconnects >= 1
    succeed(together(alice.close, bob.close))
    proxy.close()
