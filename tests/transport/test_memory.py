"""What only in-memory links do: lose and change messages on purpose, and give up a silent thread."""

from __future__ import annotations

import numpy as np
import pytest

from mpcrt.errors import PeerLost, UsageError
from mpcrt.transport import Address, Kind, MemoryNetwork


def test_tamper():
    """A hook sees each message before it leaves, and changes or loses it."""
    network = MemoryNetwork(["alice", "bob"], idle=0.2)
    seen = []

    def tamper(peer, address, buffers):
        seen.append((peer, address))
        return None if address.step else [buffers[0] ^ np.uint64(1)]

    network["alice"].tamper = tamper
    for step in range(2):
        network["alice"].send("bob", Address(Kind.OPEN, 1, 0, step), np.arange(4, dtype=np.uint64))
    (changed,) = network["bob"].recv("alice", Address(Kind.OPEN, 1), limit=32)
    assert changed.tolist() == [1, 0, 3, 2]
    with pytest.raises(PeerLost, match=r"alice sent no OPEN of call 1, path 0, step 1 within 0.2 s"):
        network["bob"].recv("alice", Address(Kind.OPEN, 1, 0, 1), limit=32)
    assert seen == [("bob", Address(Kind.OPEN, 1, 0, step)) for step in range(2)]


def test_names_are_unique():
    with pytest.raises(UsageError, match="a name given twice"):
        MemoryNetwork(["alice", "alice"])
