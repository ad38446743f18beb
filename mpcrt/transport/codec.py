"""One message as bytes: a msgpack header with a fixed schema, then raw little-endian buffers.

Layout, in bytes:
  0..2   b"mpc"
  3      1 when the buffers follow in the same frame, each padded with zeros to 8; 0 when each is a frame of its own
  4..7   length of the msgpack header, little-endian
  8..11  CRC-32 of the rest of the frame, little-endian: finds damage where TLS does not
  12..   the header, padded with zeros so that the frame's length is a multiple of 8:
         (version, nonce, sequence, acknowledged, consumed, kind, call, path, step, dtypes, shapes)

`sequence` counts the messages of one direction from 1 (0: a control message, not counted); `acknowledged` is the last
sequence received from the addressee, `consumed` the payload bytes of it taken by `recv` so far.
Sizes are checked before anything is allocated. Every malformed input raises ProtocolError and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from math import prod
from typing import NamedTuple, TypeAlias
from zlib import crc32

import msgpack
import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.transport.link import NONCE_BYTES, UNBOUND, Address, Buffer, Kind

VERSION = 1
INLINE_LIMIT = 8192
"""A message of fewer bytes than this, header included, is one frame."""
HEADER_LIMIT = 1 << 18
BUFFERS_LIMIT = 8192
DIMENSIONS_LIMIT = 32
CONTROL_LIMIT = 4096

Frame: TypeAlias = bytes | bytearray | memoryview


class Control(IntEnum):
    """Kinds that links exchange among themselves. GREETING opens a connection, REFUSE ends one, BYE ends a session;
    PROBE asks, and answers, that both certificates are in order."""

    GREETING = 64
    REFUSE = 65
    ACK = 66
    ABORT = 67
    BYE = 68
    PROBE = 69


_PREFIX = struct.Struct("<3sBII")
PREFIX_BYTES = _PREFIX.size
_MAGIC = b"mpc"
_KINDS = frozenset({*map(int, Kind), *map(int, Control)})
_DTYPES: dict[int, np.dtype] = {
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
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_BYTE = _DTYPES[2]
_BOOL = _DTYPES[1]
_PADDING = [bytes(count) for count in range(8)]
_PACKER = msgpack.Packer()
_unpackb = msgpack.unpackb
_SMALL_HEADER = 512
"""Headers below this have their layout remembered."""


class Damaged(ProtocolError):
    """A frame that is not, or is no longer, the start of a message."""


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


class Encoded(NamedTuple):
    """A message ready to leave: the frames, the buffers as arrays, payload bytes and the rest."""

    frames: list[Frame]
    arrays: list[np.ndarray]
    payload: int
    header: int


class Message(NamedTuple):
    """A message that arrived."""

    header: Header
    arrays: list[np.ndarray]


def as_array(buffer: Buffer) -> np.ndarray:
    """A buffer as a C-contiguous array of a dtype that links carry; bytes become a u1 array."""
    array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, _BYTE)
    if array.dtype not in _CODES:
        raise UsageError(f"a link carries no {array.dtype} arrays, only little-endian integers, floats and bools")
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def packed(value: object) -> bytes:
    """msgpack bytes."""
    data = _PACKER.pack(value)
    assert data is not None  # None only from a Packer that keeps its buffer
    return data


def encode(
    address: Address,
    buffers: Sequence[Buffer],
    *,
    nonce: bytes = UNBOUND,
    sequence: int = 0,
    acknowledged: int = 0,
    consumed: int = 0,
) -> Encoded:
    """Encode one message. Large buffers are referred to, not copied."""
    arrays, shapes, codes, payload, padded = [], [], bytearray(), 0, 0
    for buffer in buffers:
        array = as_array(buffer)
        size = array.nbytes
        arrays.append(array)
        shapes.append(array.shape)
        codes.append(_CODES[array.dtype])
        payload += size
        padded += size + -size % 8
    if len(arrays) > BUFFERS_LIMIT:
        raise UsageError(f"{len(arrays)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    kind, call, path, step = address
    fields = (VERSION, nonce, sequence, acknowledged, consumed, kind, call, path, step, codes, shapes)
    header = packed(fields)
    length = len(header)
    if length > HEADER_LIMIT:
        raise UsageError(f"a header of {length} bytes; the limit is {HEADER_LIMIT}")
    pad = _PADDING[-(PREFIX_BYTES + length) % 8]
    if PREFIX_BYTES + 8 + length + padded < INLINE_LIMIT:
        parts = [header, pad]
        for array in arrays:
            parts.append(array.tobytes())
            if array.nbytes % 8:
                parts.append(_PADDING[-array.nbytes % 8])
        rest = b"".join(parts)
        frame = _PREFIX.pack(_MAGIC, 1, length, crc32(rest)) + rest
        return Encoded([frame], arrays, payload, len(frame) - payload)
    rest = header + pad
    first = _PREFIX.pack(_MAGIC, 0, length, crc32(rest)) + rest
    frames: list[Frame] = [first]
    frames += [array.reshape(-1).view(_BYTE).data for array in arrays]
    return Encoded(frames, arrays, payload, len(first))


def header_bytes(prefix: Frame) -> int:
    """How long the header frame is, from its first 12 bytes."""
    return _prefix(prefix)[1]


def _prefix(frame: Frame) -> tuple[bool, int, int, int]:
    """Whether the buffers follow in the same frame, where the header frame and its padding end and start, the CRC."""
    if len(frame) < PREFIX_BYTES:
        raise Damaged(f"a frame of {len(frame)} bytes is no message")
    magic, inline, length, check = _PREFIX.unpack_from(frame)
    if magic != _MAGIC or inline > 1:
        raise Damaged("a frame that does not start as a message does")
    if not 0 < length <= HEADER_LIMIT:
        raise Damaged(f"a header of {length} bytes; the limit is {HEADER_LIMIT}")
    stop = PREFIX_BYTES + length
    return inline == 1, stop + -stop % 8, stop, check


def read_header(frame: Frame, limit: int) -> Header:
    """Decode and check the header at the start of `frame`; at most `limit` payload bytes may be announced."""
    return _read_header(frame, _prefix(frame), limit)


def _read_header(frame: Frame, prefix: tuple[bool, int, int, int], limit: int) -> Header:
    inline, end, stop, _ = prefix
    if len(frame) < end:
        raise Damaged("a header that ends before its length")
    if frame[stop:end] != _PADDING[end - stop]:
        raise ProtocolError("padding that is not zero")
    try:
        fields = _unpackb(frame[PREFIX_BYTES:stop], use_list=False)
    # msgpack raises ValueError's children, and TypeError or OverflowError for some hostile input
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a header that is not msgpack ({type(error).__name__})") from None
    if type(fields) is not tuple or not fields:
        raise ProtocolError("a header that is not a list of fields")
    if fields[0] != VERSION or type(fields[0]) is not int:
        raise ProtocolError(f"message version {_shown(fields[0])}, this program speaks {VERSION}")
    if len(fields) != 11:
        raise ProtocolError(f"a header of {len(fields)} fields instead of 11")
    _, nonce, sequence, acknowledged, consumed, kind, call, path, step, codes, shapes = fields
    if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
        raise ProtocolError("a header without a run nonce")
    if not (int is type(sequence) is type(acknowledged) is type(consumed) is type(kind) is type(call)) or not (
        int is type(path) is type(step) and (sequence | acknowledged | consumed | kind | call | path | step) >= 0
    ):
        raise ProtocolError("a header field that is not an unsigned number")
    if kind not in _KINDS:
        raise ProtocolError(f"message kind {kind} is unknown")
    if type(codes) is not bytes or type(shapes) is not tuple or len(codes) != len(shapes):
        raise ProtocolError("a header whose dtypes and shapes do not match")
    try:
        layout = (_known_layout if end < _SMALL_HEADER else _layout)(codes, shapes)
    except TypeError:  # a shape that cannot be a dictionary's key is none
        raise ProtocolError("a shape that is not a list of sizes") from None
    if layout.payload > limit:
        raise ProtocolError(f"a message of {layout.payload} bytes where at most {limit} are allowed")
    address = Address(kind, call, path, step)
    return Header(nonce, sequence, acknowledged, consumed, address, layout, inline, end)


def _layout(codes: bytes, shapes: tuple) -> Layout:
    """Check dtypes and shapes against the schema, and measure them."""
    if len(codes) > BUFFERS_LIMIT:
        raise ProtocolError(f"{len(codes)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    sizes = []
    for code, shape in zip(codes, shapes, strict=True):
        dtype = _DTYPES.get(code)
        if dtype is None:
            raise ProtocolError(f"dtype code {code} is unknown")
        if type(shape) is not tuple or len(shape) > DIMENSIONS_LIMIT:
            raise ProtocolError("a shape that is not a list of at most 32 sizes")
        for size in shape:
            # an empty array may announce any other size, so each one is bounded by itself
            if type(size) is not int or not 0 <= size < 1 << 48:
                raise ProtocolError("a shape with a size that is not an unsigned number below 2^48")
        sizes.append(dtype.itemsize * prod(shape))
    dtypes = tuple(_DTYPES[code] for code in codes)
    return Layout(dtypes, shapes, tuple(sizes), sum(sizes), sum(size + -size % 8 for size in sizes))


# keys that are equal (1 and 1.0) share a layout, which is the checked one
_known_layout = lru_cache(maxsize=1024)(_layout)


def read_message(frames: Sequence[Frame], limit: int) -> Message:
    """Decode one message from its frames. Arrays refer to the frames' memory and are read-only."""
    if not frames:
        raise ProtocolError("a message without frames")
    head = frames[0]
    prefix = _prefix(head)
    if crc32(memoryview(head)[PREFIX_BYTES:]) != prefix[3]:
        raise Damaged("a frame that was damaged on its way")
    header = _read_header(head, prefix, limit)
    if not header.inline:
        if len(head) != header.frame_bytes:
            raise ProtocolError("trailing bytes after a header")
        return Message(header, assemble(header.layout, frames[1:]))
    if len(frames) != 1:
        raise ProtocolError("frames after a message that is whole in one")
    return Message(header, _inline_arrays(header, head if type(head) is bytes else bytes(head)))


def _inline_arrays(header: Header, frame: bytes) -> list[np.ndarray]:
    """The buffers behind the header in its frame. bytes start at a multiple of 8, and so does every buffer."""
    layout, start = header.layout, header.frame_bytes
    if len(frame) != start + layout.padded:
        raise ProtocolError(f"a frame of {len(frame)} bytes does not fit its shapes")
    arrays = []
    for dtype, shape, size in zip(layout.dtypes, layout.shapes, layout.sizes, strict=True):
        array = np.frombuffer(frame, dtype, size // dtype.itemsize, start) if size else _empty(dtype)
        start += size
        if size % 8:
            if any(frame[start : start + -size % 8]):
                raise ProtocolError("padding that is not zero")
            start += -size % 8
        arrays.append(_shaped(array, shape))
    return arrays


def assemble(layout: Layout, parts: Sequence[Frame]) -> list[np.ndarray]:
    """Give the raw bytes of each buffer its dtype and shape, without copying where they are aligned."""
    if len(parts) != len(layout.sizes):
        raise ProtocolError(f"{len(parts)} buffers where the header announces {len(layout.sizes)}")
    arrays = []
    for dtype, shape, size, part in zip(layout.dtypes, layout.shapes, layout.sizes, parts, strict=True):
        if len(part) != size:
            raise ProtocolError(f"a buffer of {len(part)} bytes where the header announces {size}")
        array = np.frombuffer(part, dtype) if size else _empty(dtype)
        if not array.flags.aligned:
            array = array.copy()
        array.flags.writeable = False
        arrays.append(_shaped(array, shape))
    return arrays


def _empty(dtype: np.dtype) -> np.ndarray:
    array = np.empty(0, dtype)
    array.flags.writeable = False
    return array


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in its shape; bools are checked, since NumPy takes any byte for one."""
    if array.dtype is _BOOL and array.size and array.view(_BYTE).max() > 1:
        raise ProtocolError("a bool that is neither 0 nor 1")
    if len(shape) == 1 and array.size:
        return array
    try:
        return array.reshape(shape)
    except ValueError:  # an empty array whose other sizes overflow
        raise ProtocolError("a shape that no array can have") from None


def control(kind: Control, fields: Sequence[object], *, acknowledged: int = 0, consumed: int = 0) -> Encoded:
    """A control message: one u1 buffer of msgpack, outside the sequence."""
    return encode(Address(kind), [packed(list(fields))], acknowledged=acknowledged, consumed=consumed)


def control_fields(message: Message, *types: type) -> tuple:
    """The fields of a control message, which must be exactly of `types`. They reach error lines, so they are short."""
    if message.header.layout.payload > CONTROL_LIMIT:
        raise ProtocolError(f"a control message of {message.header.layout.payload} bytes")
    try:
        fields = msgpack.unpackb(b"".join(array.tobytes() for array in message.arrays), use_list=False)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        fields = None
    if type(fields) is not tuple or tuple(type(field) for field in fields) != types:
        raise ProtocolError(f"a malformed {Control(message.header.address.kind).name} message")
    return fields


def _shown(value: object) -> str:
    """A peer's value in an error: short and printable."""
    return repr(value)[:40]
