"""One message as frames: its header (header.py), then raw little-endian buffers, in the same frame or in their own.

Sizes are checked before anything is allocated. Every malformed input raises ProtocolError and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import msgpack
import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.transport.header import (
    DTYPES,
    INLINE_LIMIT,
    MAGIC,
    PADDING,
    PREFIX,
    PREFIX_BYTES,
    Control,
    Damaged,
    Frame,
    Header,
    Layout,
    pack_header,
    packed,
    read_fields,
    read_prefix,
)
from mpcrt.transport.link import UNBOUND, Address, Buffer

CONTROL_LIMIT = 4096

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_BOOL, _BYTE = DTYPES[1], DTYPES[2]
_make = tuple.__new__  # a named tuple in half the time


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
    arrays, shapes, codes, payload, padded = [], [], [], 0, 0
    for buffer in buffers:
        array = buffer if isinstance(buffer, np.ndarray) else np.frombuffer(buffer, _BYTE)
        code = _CODES.get(array.dtype)
        if code is None or not array.flags.c_contiguous:
            array = as_array(array)
            code = _CODES[array.dtype]
        size = array.nbytes
        arrays.append(array)
        shapes.append(array.shape)
        codes.append(code)
        payload += size
        padded += size + -size % 8
    header = pack_header(address, bytes(codes), tuple(shapes), nonce, sequence, acknowledged, consumed)
    length = len(header)
    pad = PADDING[-(PREFIX_BYTES + length) % 8]
    if PREFIX_BYTES + 8 + length + padded < INLINE_LIMIT:
        parts = [header, pad]
        for array in arrays:
            parts.append(array.tobytes())
            if array.nbytes % 8:
                parts.append(PADDING[-array.nbytes % 8])
        rest = b"".join(parts)
        frame = PREFIX.pack(MAGIC, 1, length, crc32(rest)) + rest
        return _make(Encoded, ([frame], arrays, payload, len(frame) - payload))
    rest = header + pad
    first = PREFIX.pack(MAGIC, 0, length, crc32(rest)) + rest
    frames: list[Frame] = [first]
    frames += [array.reshape(-1).view(_BYTE).data for array in arrays]
    return Encoded(frames, arrays, payload, len(first))


def read_message(frames: Sequence[Frame], limit: int) -> Message:
    """Decode one message from its frames. Arrays refer to the frames' memory and are read-only."""
    if not frames:
        raise ProtocolError("a message without frames")
    head = frames[0] if type(frames[0]) is bytes else bytes(frames[0])
    prefix = read_prefix(head)
    if crc32(head[PREFIX_BYTES:]) != prefix[3]:
        raise Damaged("a frame that was damaged on its way")
    header = read_fields(head, prefix, limit)
    if not header.inline:
        if len(head) != header.frame_bytes:
            raise ProtocolError("trailing bytes after a header")
        return Message(header, assemble(header.layout, frames[1:]))
    if len(frames) != 1:
        raise ProtocolError("frames after a message that is whole in one")
    return inline_message(header, head)


def inline_message(header: Header, frame: bytes) -> Message:
    """A message that is whole in its frame. bytes start at a multiple of 8, and so does every buffer."""
    layout, start = header.layout, header.frame_bytes
    if len(frame) != start + layout.padded:
        raise ProtocolError(f"a frame of {len(frame)} bytes does not fit its shapes")
    arrays = []
    for dtype, shape, size in zip(layout.dtypes, layout.shapes, layout.sizes):  # noqa: B905 (as long as each other)
        array = np.frombuffer(frame, dtype, size // dtype.itemsize, start) if size else _empty(dtype)
        start += size
        if size % 8:
            if any(frame[start : start + -size % 8]):
                raise ProtocolError("padding that is not zero")
            start += -size % 8
        arrays.append(array if len(shape) == 1 and size and dtype is not _BOOL else _shaped(array, shape))
    return _make(Message, (header, arrays))


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
