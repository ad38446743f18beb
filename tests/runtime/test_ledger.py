"""The ledger of calls by itself, on links in memory: what is said of a call is bounded, and compared whole."""

from __future__ import annotations

import pytest

from mpcrt.errors import DisagreementError, ProtocolError, UsageError
from mpcrt.runtime.agreement import MAX_FACTS, Extras, Follower, Ledger
from mpcrt.runtime.commands import MAX_BODY, pack
from mpcrt.runtime.facts import Fact
from mpcrt.transport import Address, Kind, MemoryNetwork

NAMES = ("alice", "bob")


def ledgers() -> tuple[MemoryNetwork, Ledger, Ledger]:
    network = MemoryNetwork(NAMES, idle=5)
    return network, Ledger(network["alice"], NAMES, b"seed"), Ledger(network["bob"], NAMES, b"seed")


def test_a_call_too_large_for_one_message_is_not_announced():
    """Its peers would refuse it as a breach of the protocol."""
    _, alice, _ = ledgers()
    with pytest.raises(UsageError, match="call 1 brings too many values at once"):
        alice.announce(1, "f" * MAX_BODY, [], Extras())


@pytest.mark.parametrize("differs", [None, 0, MAX_FACTS + 1, MAX_FACTS + 49])
def test_more_arguments_than_a_message_lists_are_compared(differs: int | None):
    _, alice, bob = ledgers()
    facts: list[Fact] = [(f"argument {n}", n.to_bytes(32, "big")) for n in range(MAX_FACTS + 50)]
    others = [(what, b"x" * 32 if n == differs else value) for n, (what, value) in enumerate(facts)]
    alice.announce(1, "f", [], Extras(), facts)
    bob.announce(1, "f", [], Extras(), others)
    if differs is None:
        alice.agree(1)
    else:
        with pytest.raises(DisagreementError, match="argument 0" if differs == 0 else "a later argument"):
            alice.agree(1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_call_has_two_buffers(count: int):
    """The call itself and what travels beside it, both in order, and no other number."""
    network, alice, _ = ledgers()
    alice.announce(1, "f", [], Extras())
    buffers = [alice._bodies[1], Extras().encode(), b"more"]
    network["bob"].send("alice", Address(Kind.STEP, 1), *buffers[:count])
    with pytest.raises(ProtocolError, match="bob sent a malformed call"):
        alice.agree(1)


def test_who_follows_refuses_a_call_out_of_order():
    network = MemoryNetwork(NAMES, idle=5)
    follower = Follower(network["bob"], ["alice"])
    body = pack([2, b"", "f", [], []])
    network["alice"].send("bob", Address(Kind.STEP, 1), body, Extras().encode())
    with pytest.raises(ProtocolError, match="call 1 has number 2"):
        follower.next()
