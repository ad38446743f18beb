"""Streams by the native module, with the interface of mpcrt.ring.reference.Prg."""

import numpy as np

from mpcrt.ring import _native
from mpcrt.ring.prg import KEY_BYTES
from mpcrt.ring.reference import check_words, flat

_SET, _ADD, _SUBTRACT, _XOR, _SUBTRACT_HALVES = range(5)


class NativePrg:
    """AES-128 in counter mode, addressed by (stream, word); see reference.Prg."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self.key = _native.Key(bytes(key))

    def words(self, stream: int, count: int, offset: int = 0) -> np.ndarray:
        """Words offset .. offset + count - 1 of a stream, uint64[count]."""
        check_words(stream, count, offset)
        out = np.empty(count, np.uint64)
        _native.stream_op(self.key, stream >> 24, stream & 0xFFFFFF, offset, out, _SET)
        return out

    def fill(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Write words offset .. offset + out.size - 1 into a C-contiguous array."""
        self._combine(stream, out, offset, _SET)

    def add(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Add words offset .. offset + out.size - 1 to a C-contiguous array."""
        self._combine(stream, out, offset, _ADD)

    def subtract(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Subtract words offset .. offset + out.size - 1 from a C-contiguous array."""
        self._combine(stream, out, offset, _SUBTRACT)

    def subtract_halves(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """The same, word by word as two numbers modulo 2^32."""
        self._combine(stream, out, offset, _SUBTRACT_HALVES)

    def xor(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Exclusive-or words offset .. offset + out.size - 1 onto a C-contiguous array."""
        self._combine(stream, out, offset, _XOR)

    def _combine(self, stream: int, out: np.ndarray, offset: int, op: int) -> None:
        check_words(stream, out.size, offset)
        _native.stream_op(self.key, stream >> 24, stream & 0xFFFFFF, offset, flat(out), op)
