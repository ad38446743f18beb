"""One message as bytes: a msgpack header with a fixed schema, then raw little-endian buffers.

Layout, in bytes:
  0..2   b"mpc"
  3      1 when the buffers follow in the same frame, each padded with zeros to 8; 0 when each is a frame of its own
  4..7   length of the msgpack header, little-endian
  8..    the header, padded with zeros to 8:
         (version, nonce, sequence, acknowledged, consumed, kind, call, path, step, dtypes, shapes)

`sequence` counts the messages of one direction from 1 (0: a control message, not counted); `acknowledged` is the last
sequence received from the addressee, `consumed` the payload bytes of it taken by `recv` so far.
Sizes are checked before anything is allocated. Every malformed input raises ProtocolError and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from math import prod
from typing import NamedTuple, TypeAlias

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

Frame: TypeAlias = bytes | bytearray | memoryview


class Control(IntEnum):
    """Kinds that links exchange among themselves. GREETING opens a connection, REFUSE ends one, BYE ends a session."""

    GREETING = 64
    REFUSE = 65
    ACK = 66
    ABORT = 67
    BYE = 68


_PREFIX = struct.Struct("<3sBI")
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
_ITEM = {code: dtype.itemsize for code, dtype in _DTYPES.items()}
_BYTE = _DTYPES[2]


class Header(NamedTuple):
    """A checked header. `frame_bytes` is what precedes the buffers, `sizes` are theirs."""

    nonce: bytes
    sequence: int
    acknowledged: int
    consumed: int
    address: Address
    codes: bytes
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    payload: int
    inline: bool
    frame_bytes: int


class Encoded(NamedTuple):
    """A message ready to leave: the buffers as arrays, the frames, payload bytes and the rest."""

    frames: list[Frame]
    arrays: list[np.ndarray]
    payload: int
    header: int


class Message(NamedTuple):
    """A message that arrived."""

    header: Header
    arrays: list[np.ndarray]


def as_arrays(buffers: Sequence[Buffer]) -> list[np.ndarray]:
    """Buffers as C-contiguous little-endian arrays; bytes become one u1 array."""
    arrays = []
    for buffer in buffers:
        array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, _BYTE)
        if array.dtype not in _CODES:
            raise UsageError(f"a link carries no {array.dtype} arrays, only little-endian integers, floats and bools")
        arrays.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    return arrays


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
    arrays = as_arrays(buffers)
    if len(arrays) > BUFFERS_LIMIT:
        raise UsageError(f"{len(arrays)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    codes = bytes([_CODES[array.dtype] for array in arrays])
    shapes = [array.shape for array in arrays]
    header = packed((VERSION, nonce, sequence, acknowledged, consumed, *address, codes, shapes))
    if len(header) > HEADER_LIMIT:
        raise UsageError(f"a header of {len(header)} bytes; the limit is {HEADER_LIMIT}")
    payload = 0
    for array in arrays:
        payload += array.nbytes
    total = 8 + len(header) + payload
    if total + 8 * len(arrays) >= INLINE_LIMIT:
        first = _PREFIX.pack(_MAGIC, 0, len(header)) + header + bytes(-len(header) % 8)
        frames: list[Frame] = [first]
        frames += [array.reshape(-1).view(_BYTE).data for array in arrays]
        return Encoded(frames, arrays, payload, len(first))
    parts = [_PREFIX.pack(_MAGIC, 1, len(header)), header, bytes(-len(header) % 8)]
    for array in arrays:
        parts.append(array.tobytes())
        parts.append(bytes(-array.nbytes % 8))
    frame = b"".join(parts)
    return Encoded([frame], arrays, payload, len(frame) - payload)


def header_bytes(prefix: Frame) -> int:
    """How long the header frame is, from its first 8 bytes."""
    if len(prefix) < 8:
        raise ProtocolError(f"a frame of {len(prefix)} bytes is no message")
    magic, inline, length = _PREFIX.unpack_from(prefix)
    if magic != _MAGIC or inline > 1:
        raise ProtocolError("a frame that does not start as a message does")
    if not 0 < length <= HEADER_LIMIT:
        raise ProtocolError(f"a header of {length} bytes; the limit is {HEADER_LIMIT}")
    return 8 + length + -length % 8


def read_header(frame: Frame, limit: int) -> Header:
    """Decode and check the header at the start of `frame`; at most `limit` payload bytes may be announced."""
    end = header_bytes(frame)
    if len(frame) < end:
        raise ProtocolError("a header that ends before its length")
    _, inline, length = _PREFIX.unpack_from(frame)
    if any(frame[8 + length : end]):
        raise ProtocolError("padding that is not zero")
    try:
        fields = msgpack.unpackb(frame[8 : 8 + length], use_list=False, max_ext_len=0, max_map_len=0)
    # msgpack raises ValueError's children, and TypeError or OverflowError for some hostile input
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
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
    for number in (sequence, acknowledged, consumed, kind, call, path, step):
        if type(number) is not int or number < 0:
            raise ProtocolError("a header field that is not an unsigned number")
    if kind not in _KINDS:
        raise ProtocolError(f"message kind {kind} is unknown")
    sizes = _sizes(codes, shapes)
    payload = sum(sizes)
    if payload > limit:
        raise ProtocolError(f"a message of {payload} bytes where at most {limit} are allowed")
    return Header(
        nonce, sequence, acknowledged, consumed, Address(kind, call, path, step),
        codes, shapes, sizes, payload, bool(inline), end,
    )  # fmt: skip


def _sizes(codes: object, shapes: object) -> tuple[int, ...]:
    """The byte length of each announced buffer; refuses dtypes and shapes outside the schema."""
    if type(codes) is not bytes or type(shapes) is not tuple or len(codes) != len(shapes):
        raise ProtocolError("a header whose dtypes and shapes do not match")
    if len(codes) > BUFFERS_LIMIT:
        raise ProtocolError(f"{len(codes)} buffers in one message; the limit is {BUFFERS_LIMIT}")
    sizes = []
    for code, shape in zip(codes, shapes, strict=True):
        item = _ITEM.get(code)
        if item is None:
            raise ProtocolError(f"dtype code {code} is unknown")
        if type(shape) is not tuple or len(shape) > DIMENSIONS_LIMIT:
            raise ProtocolError("a shape that is not a list of at most 32 sizes")
        for size in shape:
            # an empty array may announce any other size, so each one is bounded by itself
            if type(size) is not int or not 0 <= size < 1 << 48:
                raise ProtocolError("a shape with a size that is not an unsigned number below 2^48")
        sizes.append(item * prod(shape))
    return tuple(sizes)


def read_message(frames: Sequence[Frame], limit: int) -> Message:
    """Decode one message from its frames. Arrays refer to the frames' memory and are read-only."""
    if not frames:
        raise ProtocolError("a message without frames")
    head = frames[0]
    header = read_header(head, limit)
    if not header.inline:
        if len(head) != header.frame_bytes:
            raise ProtocolError("trailing bytes after a header")
        return Message(header, assemble(header, frames[1:]))
    if len(frames) != 1:
        raise ProtocolError("frames after a message that is whole in one")
    if len(head) != header.frame_bytes + inline_bytes(header):
        raise ProtocolError(f"a frame of {len(head)} bytes does not fit its shapes")
    parts, start = [], header.frame_bytes
    for size in header.sizes:
        parts.append(head[start : start + size])
        start += size + -size % 8
        if size % 8 and any(head[start - (-size % 8) : start]):
            raise ProtocolError("padding that is not zero")
    return Message(header, assemble(header, parts))


def inline_bytes(header: Header) -> int:
    """What the buffers take when they follow in the header's frame."""
    return sum(size + -size % 8 for size in header.sizes)


def assemble(header: Header, parts: Sequence[Frame]) -> list[np.ndarray]:
    """Give the raw bytes of each buffer its dtype and shape, without copying where they are aligned."""
    if len(parts) != len(header.sizes):
        raise ProtocolError(f"{len(parts)} buffers where the header announces {len(header.sizes)}")
    arrays = []
    for code, shape, size, part in zip(header.codes, header.shapes, header.sizes, parts, strict=True):
        if len(part) != size:
            raise ProtocolError(f"a buffer of {len(part)} bytes where the header announces {size}")
        dtype = _DTYPES[code]
        array = np.frombuffer(part, dtype) if size else np.empty(0, dtype)
        if not array.flags.aligned:
            array = array.copy()
        if code == 1 and size and array.view(_BYTE).max() > 1:
            raise ProtocolError("a bool that is neither 0 nor 1")
        try:
            array = array.reshape(shape)
        except ValueError:  # an empty array whose other sizes overflow
            raise ProtocolError("a shape that no array can have") from None
        array.flags.writeable = False
        arrays.append(array)
    return arrays


def control(kind: Control, fields: Sequence[object], *, acknowledged: int = 0, consumed: int = 0) -> Encoded:
    """A control message: one u1 buffer of msgpack, outside the sequence."""
    return encode(Address(kind), [packed(list(fields))], acknowledged=acknowledged, consumed=consumed)


def packed(value: object) -> bytes:
    """msgpack bytes."""
    data = msgpack.packb(value)
    assert data is not None  # None only with a Packer that keeps its buffer
    return data


def control_fields(message: Message, *types: type) -> tuple:
    """The fields of a control message, which must be exactly of `types`."""
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
