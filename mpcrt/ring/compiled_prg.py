"""Streams by the native module, with the interface of mpcrt.ring.reference.Prg."""

import numpy as np

from mpcrt.ring import _native
from mpcrt.ring.sources import Drawing

_SET, _ADD, _SUBTRACT, _XOR, _SUBTRACT_HALVES = range(5)


class NativePrg(_native.Key):
    """AES-128 in counter mode, addressed by (stream, word); see reference.Prg. Kernels take it as the key it is."""

    def __init__(self, key: bytes) -> None:
        super().__init__(bytes(key))

    def words(self, stream: int, count: int, offset: int = 0) -> np.ndarray:
        """Words offset .. offset + count - 1 of a stream, uint64[count]."""
        out = np.empty(count, np.uint64)
        _native.stream_op(self, stream, offset, out, _SET)
        return out

    def fill(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Write words offset .. offset + out.size - 1 into a C-contiguous array."""
        _native.stream_op(self, stream, offset, out, _SET)

    def add(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Add words offset .. offset + out.size - 1 to a C-contiguous array."""
        _native.stream_op(self, stream, offset, out, _ADD)

    def subtract(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Subtract words offset .. offset + out.size - 1 from a C-contiguous array."""
        _native.stream_op(self, stream, offset, out, _SUBTRACT)

    def subtract_halves(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """The same, word by word as two numbers modulo 2^32."""
        _native.stream_op(self, stream, offset, out, _SUBTRACT_HALVES)

    def xor(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Exclusive-or words offset .. offset + out.size - 1 onto a C-contiguous array."""
        _native.stream_op(self, stream, offset, out, _XOR)


def drawable(drawings: tuple[Drawing, ...]) -> bool:
    """Whether kernels can draw these as they go. A process has generators of one kind, so the first tells."""
    return not drawings or (isinstance(drawings[0][0], NativePrg) and len(drawings) <= _native.MOST_DRAWN)
