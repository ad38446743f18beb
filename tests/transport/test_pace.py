"""A link waits for what has not come, and for nothing else."""

from __future__ import annotations

import time

from link_worlds import succeed, together, zmq_links

from mpcrt.transport.link import Address, Kind
from mpcrt.transport.zeromq import SLICE


def test_what_has_come_is_not_waited_for():
    """A duty of the clock that is due meanwhile costs no pause."""
    links = zmq_links(["alice", "bob"], idle=10.0)
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
    succeed(together(alice.close, bob.close))
