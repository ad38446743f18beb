"""A link waits for what has not come, and for nothing else."""

from __future__ import annotations

import time

from link_worlds import succeed, together, zmq_links

from mpcrt.transport.link import Address, Kind
from mpcrt.transport.zeromq import SLICE


def test_what_has_come_is_not_waited_for():
    """A duty of the clock that is due meanwhile, or an acknowledgement that lets `send` go on, costs no pause."""
    links = zmq_links(["alice", "bob"], idle=10.0, resend_limit=1 << 16)
    alice, bob = links["alice"], links["bob"]
    succeed(together(alice.open, bob.open))
    took = []
    for step in range(21):
        alice.send("bob", Address(Kind.OPEN, 1, 0, step), bytes(100))
        time.sleep(0.005)
        bob._next_tick = 0.0
        start = time.monotonic()
        bob.recv("alice", Address(Kind.OPEN, 1, 0, step), limit=100)
        took.append(time.monotonic() - start)
    assert sorted(took)[10] < SLICE / 4, "half of them, since the machine may be busy"

    def ahead() -> float:
        start = time.monotonic()
        for step in range(100, 120):
            alice.send("bob", Address(Kind.OPEN, 1, 0, step), bytes(1 << 20))
        return time.monotonic() - start

    def behind() -> None:
        for step in range(100, 120):
            bob.recv("alice", Address(Kind.OPEN, 1, 0, step), limit=1 << 20)

    spent, _ = succeed(together(ahead, behind))
    assert isinstance(spent, float) and spent < 10 * SLICE
    succeed(together(alice.close, bob.close))
