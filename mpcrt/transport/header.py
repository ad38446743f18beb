"""The header frame of a message: a prefix and msgpack with a fixed schema.

Layout, in bytes:
  0..2   b"mpc"
  3      1 when the buffers follow in the same frame, each padded with zeros to 8; 0 when each is a frame of its own
  4..7   length of the msgpack header, little-endian
  8..11  CRC-32 of the rest of the frame, little-endian: finds damage where TLS does not
  12..   the header, padded with zeros so that the frame's length is a multiple of 8:
         (version, nonce, sequence, acknowledged, consumed, kind, call, path, step, dtypes, shapes)

`sequence` counts the messages of one direction from 1 (0: a control message, not counted); `acknowledged` is the last
sequence received from the addressee, `consumed` the payload bytes of it taken by `recv` so far. Any msgpack of the
schema is read. What is written has every number but the kind as 64 bits: a header is then one structure, whose
numbers change, and dtypes and shapes, which seldom do.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from math import prod
from typing import NamedTuple, TypeAlias

import msgpack
import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.text import quoted
from mpcrt.transport.link import NONCE_BYTES, Address, Kind

VERSION = 3
"""Of all that travels on a link, sealed buffers included; whoever changes that raises it."""
LINKS = f"mpcrt/{VERSION}"
"""What TLS calls it (ALPN, RFC 7301)."""
HEADER_LIMIT = 1 << 18
INLINE_LIMIT = 8192
"""A message of fewer bytes than this, header included, is one frame; another is not."""
BUFFERS_LIMIT = 8192
DIMENSIONS_LIMIT = 32

Frame: TypeAlias = bytes | bytearray | memoryview


class Control(IntEnum):
    """Kinds that links exchange among themselves. GREETING opens a connection, REFUSE ends one, and TAKEN where another
    process under the same name is connected; BYE ends a session; PROBE asks, and answers, that both certificates are in
    order."""

    GREETING = 64
    REFUSE = 65
    ACK = 66
    ABORT = 67
    BYE = 68
    PROBE = 69
    TAKEN = 70


PREFIX = struct.Struct("<3sBII")
PREFIX_BYTES = PREFIX.size
MAGIC = b"mpc"
DTYPES: dict[int, np.dtype] = {
    1: np.dtype("?"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<u4"),
    7: np.dtype("<i4"),
    8: np.dtype("<u8"),
    9: np.dtype("<i8"),
    10: np.dtype("<f4"),
    11: np.dtype("<f8"),
}
PADDING = [bytes(count) for count in range(8)]
_KINDS = frozenset({*map(int, Kind), *map(int, Control)})
_FIXED = struct.Struct(">4s16scQcQcQBcQcQcQ")
"""All fields but the last two: the opening of an array of 11 with its version, the nonce, and numbers."""
_NUMBERS = struct.Struct(">4x16sxQxQxQBxQxQxQ")
"""The same without the opening and what precedes each number."""
_OPENING = bytes((0x9B, VERSION, 0xC4, NONCE_BYTES))
_WIDE = b"\xcf"
"""What precedes an unsigned 64-bit number in msgpack."""
_WIDES = 3 * _WIDE
_BEFORE_KIND = slice(PREFIX_BYTES + 20, PREFIX_BYTES + 47, 9)
_KIND = PREFIX_BYTES + 47
_AFTER_KIND = slice(PREFIX_BYTES + 48, PREFIX_BYTES + 75, 9)
_FIXED_END = PREFIX_BYTES + _FIXED.size
_PAIR = b"\x92"
_FEW = 32
"""The shapes of so many buffers, or as many bytes of them for each, are remembered."""
_packer = msgpack.Packer()
_make = tuple.__new__  # a named tuple in half the time


class Damaged(ProtocolError):
    """A frame that is not, or is no longer, the start of a message."""


class OtherVersion(ProtocolError):
    """The other end speaks another version of the links."""


class Layout(NamedTuple):
    """The buffers that a header announces: dtypes, shapes, byte lengths, their sum, and their sum with padding."""

    dtypes: tuple[np.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    payload: int
    padded: int


class Header(NamedTuple):
    """A checked header. `frame_bytes` is what precedes the buffers."""

    nonce: bytes
    sequence: int
    acknowledged: int
    consumed: int
    address: Address
    layout: Layout
    inline: bool
    frame_bytes: int


def packed(value: object) -> bytes:
    """msgpack bytes."""
    data = _packer.pack(value)
    assert data is not None  # None only from a Packer that keeps its buffer
    return data


def pack_header(
    address: Address,
    codes: bytes,
    shapes: tuple[tuple[int, ...], ...],
    nonce: bytes,
    sequence: int,
    acknowledged: int,
    consumed: int,
) -> bytes:
    """The header without prefix and padding. Raises UsageError where it would be too long."""
    if len(codes) > BUFFERS_LIMIT:
        raise UsageError(f"{len(codes)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    kind, call, path, step = address
    try:
        fixed = _FIXED.pack(
            _OPENING, nonce, _WIDE, sequence, _WIDE, acknowledged, _WIDE, consumed, kind,
            _WIDE, call, _WIDE, path, _WIDE, step,
        )  # fmt: skip
    except struct.error:
        raise UsageError(f"an address of numbers that are not unsigned, or not below 2^64: {address!r}") from None
    header = fixed + (_known_tail if len(codes) <= _FEW else _tail)(codes, shapes)
    if len(header) > HEADER_LIMIT:
        raise UsageError(f"a header of {len(header)} bytes; the limit is {HEADER_LIMIT}")
    return header


def _tail(codes: bytes, shapes: tuple) -> bytes:
    """The last two fields of a header."""
    return packed(codes) + packed(shapes)


_known_tail = lru_cache(maxsize=1024)(_tail)


def read_prefix(frame: Frame) -> tuple[bool, int, int, int]:
    """Whether the buffers follow in the same frame, where the header frame and its padding end and start, the CRC."""
    if len(frame) < PREFIX_BYTES:
        raise Damaged(f"a frame of {len(frame)} bytes is no message")
    magic, inline, length, check = PREFIX.unpack_from(frame)
    if magic != MAGIC or inline > 1:
        raise Damaged("a frame that does not start as a message does")
    if not 0 < length <= HEADER_LIMIT:
        raise Damaged(f"a header of {length} bytes; the limit is {HEADER_LIMIT}")
    stop = PREFIX_BYTES + length
    return inline == 1, stop + -stop % 8, stop, check


def read_fields(frame: bytes, prefix: tuple[bool, int, int, int], limit: int) -> Header:
    """Decode and check the header at the start of `frame`; at most `limit` payload bytes may be announced."""
    inline, end, stop, _ = prefix
    if len(frame) < end:
        raise Damaged("a header that ends before its length")
    if frame[stop:end] != PADDING[end - stop]:
        raise ProtocolError("padding that is not zero")
    if (
        stop > _FIXED_END
        and frame.startswith(_OPENING, PREFIX_BYTES)
        and (frame[_BEFORE_KIND] == _WIDES == frame[_AFTER_KIND] and frame[_KIND] in _KINDS)
    ):
        nonce, sequence, acknowledged, consumed, kind, call, path, step = _NUMBERS.unpack_from(frame, PREFIX_BYTES)
        layout = (_known_layout if end < _FIXED_END + 16 * _FEW else _announced)(frame[_FIXED_END:stop])
    else:
        fields = _unpacked(frame[PREFIX_BYTES:stop])
        nonce, sequence, acknowledged, consumed, kind, call, path, step = _checked(fields)
        layout = _layout(*fields[9:])
    if layout.payload > limit:
        raise ProtocolError(f"a message of {layout.payload} bytes where at most {limit} are allowed")
    if inline and end + layout.padded >= INLINE_LIMIT:
        raise ProtocolError(f"a message of {layout.payload} bytes in its first frame")
    address = _make(Address, (kind, call, path, step))
    return _make(Header, (nonce, sequence, acknowledged, consumed, address, layout, inline, end))


def _unpacked(data: Frame) -> tuple:
    """A msgpack array. Raises ProtocolError for anything else."""
    try:
        fields = msgpack.unpackb(data, use_list=False)
    # msgpack raises ValueError's children, and TypeError or OverflowError for some hostile input
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a header that is not msgpack ({type(error).__name__})") from None
    if type(fields) is not tuple or not fields:
        raise ProtocolError("a header that is not a list of fields")
    return fields


def _checked(fields: tuple) -> tuple[bytes, int, int, int, int, int, int, int]:
    """The fields between the version and the dtypes, however they were written."""
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise OtherVersion(f"it speaks version {quoted(fields[0])} of the links, not {LINKS}; install one release")
    if len(fields) != 11:
        raise ProtocolError(f"a header of {len(fields)} fields instead of 11")
    nonce, numbers = fields[1], fields[2:9]
    if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
        raise ProtocolError("a header without a run nonce")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ProtocolError("a header field that is not an unsigned number")
    if numbers[3] not in _KINDS:
        raise ProtocolError(f"message kind {numbers[3]} is unknown")
    return nonce, *numbers


def _announced(tail: bytes) -> Layout:
    """The layout of a header's last two fields as they were written."""
    return _layout(*_unpacked(_PAIR + tail))


_known_layout = lru_cache(maxsize=1024)(_announced)


def _layout(codes: bytes, shapes: tuple) -> Layout:
    """Check dtypes and shapes against the schema, and measure them."""
    if type(codes) is not bytes or type(shapes) is not tuple or len(codes) != len(shapes):
        raise ProtocolError("a header whose dtypes and shapes do not match")
    if len(codes) > BUFFERS_LIMIT:
        raise ProtocolError(f"{len(codes)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    sizes = []
    for code, shape in zip(codes, shapes, strict=True):
        dtype = DTYPES.get(code)
        if dtype is None:
            raise ProtocolError(f"dtype code {code} is unknown")
        if type(shape) is not tuple or len(shape) > DIMENSIONS_LIMIT:
            raise ProtocolError("a shape that is not a list of at most 32 sizes")
        for size in shape:
            # an empty array may announce any other size, so each one is bounded by itself
            if type(size) is not int or not 0 <= size < 1 << 48:
                raise ProtocolError("a shape with a size that is not an unsigned number below 2^48")
        sizes.append(dtype.itemsize * prod(shape))
    dtypes = tuple(DTYPES[code] for code in codes)
    return Layout(dtypes, shapes, tuple(sizes), sum(sizes), sum(size + -size % 8 for size in sizes))
