"""Large buffers beside TLS records: arrive as they were, unreadable on the way, never altered, moved or replayed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_worlds import Authority, session

from mpcrt.errors import ProtocolError
from mpcrt.transport.arrival import PIECE
from mpcrt.transport.channel import Cut, Refused
from mpcrt.transport.codec import Encoded, encode
from mpcrt.transport.header import INLINE_LIMIT, Frame
from mpcrt.transport.link import Address, Kind
from mpcrt.transport.seal import TAG_BYTES, Seal
from mpcrt.transport.tls import FRAME_LIMIT, TlsChannel

LIMIT = 1 << 30
Sent = list[list[bytes]]


def message(*sizes: int, seed: int = 0) -> Encoded:
    random = np.random.default_rng(seed)
    return encode(Address(Kind.OPEN, 1), [random.integers(0, 256, size, np.uint8) for size in sizes], sequence=1)


def sent(channel: TlsChannel, encoded: Encoded) -> Sent:
    return [[bytes(frame) for frame in frames] for frames in channel.wrap(encoded)]


def taken(channel: TlsChannel, messages: Sequence[Sequence[Frame]]) -> list[list[np.ndarray]]:
    return [got.arrays for frames in messages for got, _ in channel.unwrap(frames, LIMIT)]


@pytest.fixture(scope="module")
def ends(authority: Authority) -> tuple[TlsChannel, TlsChannel]:
    return session(authority)


SIZES = st.one_of(st.integers(0, 3 * INLINE_LIMIT), st.sampled_from([PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5]))


@given(st.lists(st.lists(SIZES, min_size=1, max_size=5), min_size=1, max_size=4), st.booleans())
@settings(max_examples=40, deadline=None)
def test_messages_arrive_in_order(ends: tuple[TlsChannel, TlsChannel], all_sizes: list[list[int]], back: bool):
    """Small and large ones, empty buffers among them, in either direction of one session."""
    source, target = ends[::-1] if back else ends
    for seed, sizes in enumerate(all_sizes):
        encoded = message(*sizes, seed=seed)
        (arrays,) = taken(target, sent(source, encoded))
        assert all(np.array_equal(got, made) for got, made in zip(arrays, encoded.arrays, strict=True))


def test_the_wire_shows_nothing_and_repeats_nothing(authority: Authority):
    """Zeros, sent twice in each direction of two sessions, are eight unlike ciphertexts of their length and a tag."""
    zeros = encode(Address(Kind.OPEN, 1), [np.zeros(PIECE, np.uint8)], sequence=1)
    found = set()
    for _ in range(2):
        client, server = session(authority)
        for end in (client, server, client, server):
            ((header, sealed),) = sent(end, zeros)
            assert len(sealed) == PIECE + TAG_BYTES and len(header) < FRAME_LIMIT
            counts = np.bincount(np.frombuffer(sealed, np.uint8), minlength=256)
            assert counts.max() < 2 * PIECE / 256  # uniform bytes: 2048 of each, give or take 45
            found.add(bytes(sealed))
    assert len(found) == 8


def flip(frame: Frame, bit: int) -> bytes:
    altered = bytearray(frame)
    altered[bit // 8 % len(altered)] ^= 1 << bit % 8
    return bytes(altered)


@given(st.integers(0, 1 << 24), st.integers(0, 1))
@settings(max_examples=25, deadline=None)
def test_an_altered_bit_is_noticed(authority: Authority, bit: int, place: int):
    client, server = session(authority)
    messages = sent(client, message(PIECE + 100))
    messages[place][-1] = flip(messages[place][-1], bit)
    with pytest.raises(Cut, match="damaged"):
        taken(server, messages)


ATTACKS = {
    "swapped": lambda m, other: [m[0], m[2], m[1]],
    "first swapped": lambda m, other: [[m[0][0], m[1][0]], [m[0][1]], m[2]],
    "repeated": lambda m, other: [m[0], m[1], m[1]],
    "of another session": lambda m, other: [m[0], other[1], m[2]],
    "shorter": lambda m, other: [m[0], [m[1][0][:-1]], m[2]],
    "longer": lambda m, other: [m[0], [m[1][0] + b"\0"], m[2]],
    "empty": lambda m, other: [m[0], [b""], m[2]],
    "a record in its place": lambda m, other: [m[0], [m[0][0]], m[2]],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_pieces_open_in_their_place_only(authority: Authority, attack: str):
    client, server = session(authority)
    (other, _), encoded = session(authority), message(3 * PIECE)
    messages, others = sent(client, encoded), sent(other, encoded)
    with pytest.raises(Cut):
        taken(server, ATTACKS[attack](messages, others))


def test_what_came_back_is_not_ones_own(authority: Authority):
    """A message returned to its sender: TLS refuses the header, and the key of the other direction the piece."""
    client, _ = session(authority)
    with pytest.raises(Cut):
        taken(client, sent(client, message(PIECE)))
    key, piece = Seal.draw(), memoryview(bytearray(100))
    with pytest.raises(Cut):
        Seal(Seal.draw()).open(Seal(key).close(piece), piece)


def test_the_network_cannot_blame_a_peer(authority: Authority):
    """Joining the header of a large message with a record that was sent later breaks a connection, not the protocol."""
    client, server = session(authority)
    ((header, _),), ((small,),) = sent(client, message(PIECE)), sent(client, message(10))
    with pytest.raises(Cut, match="where the buffers of a large message were expected"):
        server.unwrap([header + small], LIMIT)


def test_a_large_header_has_a_checksum_too(authority: Authority):
    client, server = session(authority)
    header = flip(message(PIECE).frames[0], 8 * 8)
    with pytest.raises(ProtocolError, match="checksum"):
        taken(server, sent(client, message(PIECE)._replace(frames=[header, bytes(PIECE)])))


def tampered(wire: Sent, random: Random) -> Sent:
    """A network's way with messages and frames: out of order, twice, not at all, joined, divided, altered."""
    wire = [list(frames) for frames in wire]
    for _ in range(random.randint(1, 3)):
        at, other = random.randrange(len(wire)), random.randrange(len(wire))
        place = random.randrange(len(wire[at]))
        frame = wire[at][place]
        middle = random.randrange(len(frame) + 1)
        match random.choice(("swap", "repeat", "drop", "join", "join frames", "divide", "flip", "cut", "lengthen")):
            case "swap":
                wire[at], wire[other] = wire[other], wire[at]
            case "repeat":
                wire.insert(other, list(wire[at]))
            case "drop":
                wire[at : at + 1] = [] if len(wire) > 1 else wire[at : at + 1]
            case "join":
                wire[at : at + 2] = [[frame for frames in wire[at : at + 2] for frame in frames]]
            case "join frames":
                wire[at][place] = frame + random.choice(wire[other])
            case "divide":
                wire[at][place : place + 1] = [frame[:middle], frame[middle:]]
            case "flip":
                wire[at][place] = flip(frame, 8 * middle + 1) if frame else frame
            case "cut":
                wire[at][place] = frame[:middle]
            case "lengthen":
                wire[at][place] = frame + random.randbytes(20)
    return wire


@given(st.lists(st.lists(SIZES, min_size=1, max_size=3), min_size=1, max_size=4), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_what_arrives_is_how_it_began(authority: Authority, all_sizes: list[list[int]], seed: int):
    """Whatever the network does: the first messages as they were sent, then Cut or Refused, then nothing for ever."""
    client, server = session(authority)
    messages = [message(*sizes, seed=number) for number, sizes in enumerate(all_sizes)]
    wire = [frames for encoded in messages for frames in sent(client, encoded)]
    arrived = []
    for frames in tampered(wire, Random(seed)) + wire:
        with contextlib.suppress(Cut, Refused):
            arrived += taken(server, [frames])
    assert len(arrived) <= len(messages)
    for arrays, encoded in zip(arrived, messages, strict=False):
        assert all(np.array_equal(got, made) for got, made in zip(arrays, encoded.arrays, strict=True))
