"""The session layer by itself: numbers, duplicates, acknowledgements, resumption."""

from __future__ import annotations

import numpy as np
import pytest

from mpcrt.errors import PeerLost, ProtocolError
from mpcrt.transport.arrival import Arrival
from mpcrt.transport.codec import Encoded, Message, encode, read_message
from mpcrt.transport.header import INLINE_LIMIT, Control
from mpcrt.transport.link import UNBOUND, Address, Kind
from mpcrt.transport.session import FRAMES_KEPT, MESSAGE_COST, AddressBook, Session

LIMIT = 1 << 20


def session(peer: str = "bob") -> Session:
    return Session(peer, inbox_limit=LIMIT)


def arrive(receiver: Session, encoded: Encoded) -> bool:
    frames = [bytes(frame) for frame in encoded.frames]
    message: Message = read_message(frames, LIMIT)
    return receiver.incoming(message, frames[0])


def message(sequence: int, step: int, content: bytes = b"x", **numbers: int) -> Encoded:
    return encode(Address(Kind.OPEN, 1, 0, step), [content], sequence=sequence, **numbers)


@pytest.mark.parametrize("size", [10, 10_000])
def test_duplicates_are_dropped(size):
    """As long as they can be compared byte for byte; a large one that was taken cannot."""
    bob = session()
    sent = message(1, 0, bytes(size))
    assert arrive(bob, sent)
    assert not arrive(bob, sent)
    assert bob.take(Address(Kind.OPEN, 1), LIMIT, UNBOUND) is not None
    if size < INLINE_LIMIT:
        assert not arrive(bob, sent)
    else:
        with pytest.raises(ProtocolError, match="long after it was taken"):
            arrive(bob, sent)
    assert bob.take(Address(Kind.OPEN, 1), LIMIT, UNBOUND) is None


CRC_32 = sum(1 << 32 - degree for degree in (32, 26, 23, 22, 16, 12, 11, 10, 8, 7, 5, 4, 2, 1, 0))
"""The generator polynomial, least significant bit first: xored onto a message it leaves the checksum as it was."""


@pytest.mark.parametrize("taken", [False, True])
def test_a_duplicate_with_the_same_checksum_and_other_bytes(taken):
    """A checksum can be forged; the comparison is of bytes."""
    bob = session()
    sent, forged = message(1, 0, bytes(8)), message(1, 0, CRC_32.to_bytes(8, "little"))
    assert forged.frames[0][:12] == sent.frames[0][:12] and forged.frames != sent.frames
    arrive(bob, sent)
    if taken:
        bob.take(Address(Kind.OPEN, 1), LIMIT, UNBOUND)
    with pytest.raises(ProtocolError, match="two different messages number 1"):
        arrive(bob, forged)


def test_an_old_duplicate_is_no_duplicate():
    bob = session()
    first = message(1, 0)
    arrive(bob, first)
    for number in range(2, FRAMES_KEPT + 2):
        arrive(bob, message(number, number))
        bob.take(Address(Kind.OPEN, 1, 0, number), LIMIT, UNBOUND)
    with pytest.raises(ProtocolError, match="long after"):
        arrive(bob, first)


def test_a_flood_of_empty_messages_is_bounded():
    """What waits costs memory without a payload too."""
    bob = session()
    with pytest.raises(ProtocolError, match="not asked for"):
        for number in range(1, 2 * LIMIT // MESSAGE_COST):
            arrive(bob, message(number, number, b""))
    assert len(bob.inbox) <= LIMIT // MESSAGE_COST + 1


def test_an_address_is_not_forgotten_while_its_message_waits():
    bob = session()
    bob._heard = AddressBook(capacity=4)
    for number in range(1, 20):
        arrive(bob, message(number, number))
    with pytest.raises(ProtocolError, match="two messages under one address"):
        arrive(bob, message(20, 1, b"other"))


@pytest.mark.parametrize("size", [10, 10_000])
def test_two_payloads_for_one_address(size):
    """The same number with another payload, and another number with the same address."""
    for sequence in (1, 2):
        bob = session()
        arrive(bob, message(1, 0, bytes(size)))
        with pytest.raises(ProtocolError, match="two"):
            arrive(bob, message(sequence, 0, b"y" * size))


def test_gap_and_no_number():
    bob = session()
    with pytest.raises(ProtocolError, match="message 2 where 1 was expected"):
        arrive(bob, message(2, 0))
    with pytest.raises(ProtocolError, match="without a number"):
        arrive(bob, message(0, 0))


def test_acknowledgement_of_what_was_never_sent():
    bob = session()
    with pytest.raises(ProtocolError, match="never sent"):
        arrive(bob, message(1, 0, acknowledged=1))
    with pytest.raises(ProtocolError, match="never sent"):
        bob.acknowledge(0, 1)


def test_resend_is_byte_identical_and_only_what_is_missing():
    alice = session("alice")
    sent = [alice.outgoing(Address(Kind.OPEN, 1, 0, step), [np.full(5, step)], UNBOUND) for step in range(5)]
    before = [[bytes(frame) for frame in each.frames] for each in sent]
    alice.acknowledge(2, 40)
    assert alice.pending == 160
    again = alice.resume(3, 0)
    assert [[bytes(frame) for frame in each.frames] for each in again] == before[3:]
    with pytest.raises(ProtocolError, match="acknowledged before"):
        alice.resume(1, 0)


def test_a_hello_belongs_to_no_run():
    """It is sent before there is a nonce; one with a nonce is another run's."""
    bob = session()
    arrive(bob, encode(Address(Kind.HELLO), [b"x"], sequence=1, nonce=bytes(range(16))))
    with pytest.raises(ProtocolError, match="for another run"):
        bob.take(Address(Kind.HELLO), LIMIT, bytes(range(16)))


def test_only_the_next_message_is_gone_on_with():
    """What came of another than the one that is expected is not kept: the peer would be asked for the wrong rest."""
    bob = session()
    for sequence, kept in ((1, True), (2, False)):
        sent = message(sequence, sequence, bytes(INLINE_LIMIT))
        head = bytes(sent.frames[0])
        bob.keep(Arrival(read_message([head, *map(bytes, sent.frames[1:])], LIMIT).header, head))
        assert (bob.partial is not None) == kept


def test_nothing_after_goodbye():
    bob = session()
    arrive(bob, message(1, 0))
    arrive(bob, encode(Address(Control.BYE), [], sequence=2))
    with pytest.raises(ProtocolError, match="after its goodbye"):
        arrive(bob, message(3, 1))
    assert bob.take(Address(Kind.OPEN, 1), LIMIT, UNBOUND) is not None
    with pytest.raises(PeerLost, match="bob ended its run"):
        bob.take(Address(Kind.OPEN, 2), LIMIT, UNBOUND)


def test_address_book_stays_small():
    book = AddressBook(capacity=100)
    for step in range(1000):
        assert book.add(Address(Kind.OPEN, 1, 0, step))
        assert len(book._recent) + len(book._older) <= 100
    assert not book.add(Address(Kind.OPEN, 1, 0, 951))
