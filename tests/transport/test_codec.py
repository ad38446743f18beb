"""The message codec: what goes in comes out, and hostile bytes end in ProtocolError and nothing else."""

from __future__ import annotations

import tracemalloc
import zlib

import hypothesis.extra.numpy as arrays_of
import msgpack
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.transport.codec import control, control_fields, encode, read_message
from mpcrt.transport.header import PREFIX, VERSION, Control
from mpcrt.transport.link import UNBOUND, Address, Kind

LIMIT = 1 << 20
unhurried = settings(deadline=None, max_examples=80)
NONCE = bytes(range(16))
DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8"]
shapes = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7)
some_arrays = st.lists(
    st.sampled_from(DTYPES).flatmap(lambda dtype: arrays_of.arrays(np.dtype(dtype), shapes)), max_size=5
)
numbers = st.integers(0, 2**64 - 1)
addresses = st.builds(Address, st.sampled_from(list(Kind)), numbers, numbers, numbers)


def frames_of(fields: object, *buffers: bytes, inline: int = 1) -> list[bytes]:
    """A message with any header at all."""
    header = msgpack.packb(fields)
    return checked(header + bytes(-(12 + len(header)) % 8), len(header), inline, *buffers)


def checked(rest: bytes, length: int, inline: int, *buffers: bytes) -> list[bytes]:
    """A frame with a prefix that fits it, and the buffers in it or behind it."""
    if inline:
        rest += b"".join(buffer + bytes(-len(buffer) % 8) for buffer in buffers)
    first = PREFIX.pack(b"mpc", inline, length, zlib.crc32(rest)) + rest
    return [first] if inline else [first, *buffers]


def fields(**changes: object) -> list[object]:
    """A good header for one u1 buffer of 3 bytes, changed."""
    values: dict[str, object] = {
        "version": VERSION, "nonce": NONCE, "sequence": 1, "acknowledged": 0, "consumed": 0,
        "kind": int(Kind.OPEN), "call": 1, "path": 2, "step": 3, "codes": b"\x02", "shapes": [[3]],
    }  # fmt: skip
    return list((values | changes).values())


@unhurried
@given(addresses, some_arrays, numbers, numbers, numbers)
def test_round_trip(address, arrays, sequence, acknowledged, consumed):
    encoded = encode(address, arrays, nonce=NONCE, sequence=sequence, acknowledged=acknowledged, consumed=consumed)
    message = read_message([bytes(frame) for frame in encoded.frames], LIMIT)
    header = message.header
    assert (header.address, header.nonce) == (address, NONCE)
    assert (header.sequence, header.acknowledged, header.consumed) == (sequence, acknowledged, consumed)
    assert len(message.arrays) == len(arrays)
    for sent, received in zip(arrays, message.arrays, strict=True):
        assert (received.dtype, received.shape) == (sent.dtype, sent.shape)
        assert received.tobytes() == sent.tobytes()
        assert not received.flags.writeable and received.flags.aligned
    assert encoded.payload == sum(array.nbytes for array in arrays)
    assert encoded.payload + encoded.header == sum(len(frame) for frame in encoded.frames)


@pytest.mark.parametrize("size", [0, 1, 1000, 8000, 8192, 100_000])
def test_one_frame_below_8_kib(size):
    encoded = encode(Address(Kind.DEAL), [np.zeros(size, np.uint8)])
    whole = sum(len(frame) for frame in encoded.frames)
    assert len(encoded.frames) == (1 if whole < 8192 else 2)
    message = read_message(encoded.frames, LIMIT)
    assert message.arrays[0].nbytes == size


def test_large_buffers_are_not_copied():
    array = np.arange(1 << 16, dtype=np.uint64)
    message = read_message(encode(Address(Kind.DEAL), [array]).frames, LIMIT)
    assert np.shares_memory(message.arrays[0], array)


def test_bytes_and_strided_arrays():
    strided = np.arange(12, dtype=np.uint64).reshape(3, 4)[:, ::2]
    message = read_message(encode(Address(Kind.META), [b"abc", strided]).frames, LIMIT)
    assert message.arrays[0].tobytes() == b"abc"
    assert np.array_equal(message.arrays[1], strided)


@pytest.mark.parametrize("dtype", [">u8", "f2", "c16", "O", "U3", "M8[s]"])
def test_refuses_to_send_other_dtypes(dtype):
    with pytest.raises(UsageError, match="carries no"):
        encode(Address(Kind.META), [np.zeros(2, dtype)])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": VERSION - 1}, f"version {VERSION - 1} of the links, not mpcrt/{VERSION}"),
        ({"version": True}, "version"),
        ({"nonce": b"short"}, "nonce"),
        ({"nonce": "0123456789abcdef"}, "nonce"),
        ({"sequence": -1}, "unsigned"),
        ({"step": 1.5}, "unsigned"),
        ({"kind": 0}, "kind 0 is unknown"),
        ({"kind": 255}, "kind 255 is unknown"),
        ({"kind": True}, "unsigned"),
        ({"codes": b"\x00"}, "dtype code 0"),
        ({"codes": b"\x63"}, "dtype code 99"),
        ({"codes": b"\x02\x02"}, "do not match"),
        ({"codes": "\x02"}, "do not match"),
        ({"shapes": [3]}, "shape"),
        ({"shapes": [[-3]]}, "unsigned"),
        ({"shapes": [[2**62, 2**62]]}, "2\\^48"),
        ({"shapes": [[7.5]]}, "unsigned"),
        ({"shapes": [{"a": 1}]}, "shape"),
        ({"shapes": [[9]]}, "does not fit"),
        ({"shapes": [[2]]}, "padding"),
        ({"shapes": [[1 << 21]]}, "at most"),
        ({"shapes": [[1] * 33]}, "at most 32"),
        ({"codes": b"\x01"}, "neither 0 nor 1"),
    ],
)
def test_refuses(changes, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        read_message(frames_of(fields(**changes), b"abc"), LIMIT)


def test_refuses_frames_that_do_not_match():
    good = frames_of(fields(), b"abc")
    assert read_message(good, LIMIT).arrays[0].tobytes() == b"abc"
    bad: dict[str, list[bytes]] = {
        "empty": [],
        "a frame too many": [*good, b"x"],
        "damaged": [good[0][:-1] + b"\x01"],
        "trailing bytes": checked(good[0][12:] + bytes(8), *PREFIX.unpack_from(good[0])[2:0:-1]),
        "short": checked(good[0][12:-8], *PREFIX.unpack_from(good[0])[2:0:-1]),
        "prefix only": [good[0][:12]],
        "half a prefix": [good[0][:5]],
        "magic": [b"xyz" + good[0][3:]],
        "inline flag": [good[0][:3] + b"\x02" + good[0][4:]],
        "header length": [good[0][:4] + b"\xff\xff\xff\xff" + good[0][8:]],
        "no header": [good[0][:4] + bytes(4) + good[0][8:]],
        "buffer missing": frames_of(fields(), inline=0),
        "buffer too many": frames_of(fields(), b"abc", b"d", inline=0),
        "buffer too long": frames_of(fields(), b"abcd", inline=0),
        "trailing in the header": [*checked(good[0][12:], PREFIX.unpack_from(good[0])[2], 0), b"abc"],
        "extra field": frames_of([*fields(), 1], b"abc"),
        "no list": frames_of({"version": 1}, b"abc"),
        "large in one frame": frames_of(fields(shapes=[[8192]]), bytes(8192)),
        "nested": checked(b"\x91" * 4100, 4096, 1),
    }
    for name, frames in bad.items():
        with pytest.raises(ProtocolError):
            read_message(frames, LIMIT)
            pytest.fail(f"accepted: {name}")


def test_no_allocation_beyond_the_bound():
    """A header that announces 2^47 bytes is refused before they are allocated."""
    huge = frames_of(fields(shapes=[[1 << 47]]), inline=0)
    tracemalloc.start()
    with pytest.raises(ProtocolError, match="at most"):
        read_message(huge, LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@unhurried
@given(st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes(frames):
    with pytest.raises(ProtocolError):
        read_message(frames, LIMIT)


@unhurried
@given(st.data())
def test_damaged_messages(data):
    """Flip, cut or extend a good message: it is refused, or still a message within its bound."""
    encoded = encode(Address(Kind.OPEN, 5, 6, 7), [np.arange(9, dtype="<u8"), b"xyz"], nonce=NONCE, sequence=3)
    frame = bytearray(encoded.frames[0])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame) - 1))
        frame[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        frame[8:12] = zlib.crc32(frame[12:]).to_bytes(4, "little")
    frame = frame[: data.draw(st.integers(0, len(frame)))] + data.draw(st.binary(max_size=9))
    try:
        message = read_message([frame], LIMIT)
    except ProtocolError:
        return
    assert sum(array.nbytes for array in message.arrays) <= len(frame)


some_fields = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-9, 2**64 - 1), st.floats(), st.text(max_size=5), st.binary(max_size=9)
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@unhurried
@given(st.data())
def test_any_header_fields(data):
    """Any msgpack at all in place of one field, or of the whole header."""
    if data.draw(st.booleans()):
        header = data.draw(some_fields)
    else:
        header = fields()
        header[data.draw(st.integers(0, 10))] = data.draw(some_fields)
    try:
        message = read_message(frames_of(header, b"abc"), LIMIT)
    except ProtocolError:
        return
    assert sum(array.nbytes for array in message.arrays) <= 8


@unhurried
@given(some_fields)
def test_control_messages(value):
    encoded = control(Control.ABORT, ("alice", "load", 3, 1))
    assert control_fields(read_message(encoded.frames, LIMIT), str, str, int, int) == ("alice", "load", 3, 1)
    assert read_message(encoded.frames, LIMIT).header.nonce == UNBOUND
    assume(not (isinstance(value, list) and [type(each) for each in value] == [str, str, int, int]))
    hostile = encode(Address(Control.ABORT), [msgpack.packb(value)])
    with pytest.raises(ProtocolError, match="malformed ABORT"):
        control_fields(read_message(hostile.frames, LIMIT), str, str, int, int)


def test_control_messages_are_short():
    """What a peer says of a failure ends in a log line."""
    frames = control(Control.ABORT, ("alice", "f" * 5000, 1, 1, "")).frames
    with pytest.raises(ProtocolError, match="control message of"):
        control_fields(read_message(frames, 1 << 20), str, str, int, int, str)


@unhurried
@given(st.data())
def test_headers_as_written_are_read_as_msgpack(data: st.DataObject):
    """The short way through a header that has every number at full width takes and refuses what msgpack does."""
    (frame,) = encode(Address(Kind.OPEN, 1, 2, 3), [b"abc"], nonce=NONCE, sequence=4).frames
    length = PREFIX.unpack_from(frame)[2]
    header = bytearray(frame[12 : 12 + length])
    for place in data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=2)):
        header[place] = data.draw(st.integers(0, 255) | st.sampled_from([0x9B, 0xCF, 0xD3, 0xCA, 0xC4, *range(10)]))
    changed = checked(bytes(header) + frame[12 + length :], length, 1)
    try:
        fields = msgpack.unpackb(bytes(header), use_list=False)
        expected = read_message(frames_of(fields, b"abc"), LIMIT).header[:5]
    except (ProtocolError, ValueError, TypeError):
        with pytest.raises(ProtocolError):
            read_message(changed, LIMIT)
        return
    assert read_message(changed, LIMIT).header[:5] == expected


def test_numbers_that_no_header_holds():
    for step in (-1, 1 << 64):
        with pytest.raises(UsageError, match="unsigned"):
            encode(Address(Kind.OPEN, 1, 2, step), [])
