"""The kernels of the native module, with the interface of mpcrt.ring.reference."""

import os
from collections.abc import Sequence

import numpy as np

from mpcrt.ring import _native, reference
from mpcrt.ring.compiled_blocks import bit_plane, deal_products, deal_tables, evaluate, gather, look_up
from mpcrt.ring.compiled_samples import deal_samples, evaluate_samples
from mpcrt.ring.compiled_steps import cross, select, settle
from mpcrt.ring.prg import KEY_BYTES
from mpcrt.ring.reference import check_words, conv_shape, flat, matmul_shape

__all__ = [
    "Prg",
    "bit_plane",
    "conv",
    "cross",
    "deal_products",
    "deal_samples",
    "deal_tables",
    "evaluate",
    "evaluate_samples",
    "gather",
    "keep_memory",
    "level",
    "levels",
    "look_up",
    "matmul",
    "pack",
    "select",
    "set_level",
    "settle",
    "threads",
    "unpack",
]

_SET, _ADD, _SUBTRACT, _XOR = range(4)

threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Threads a large product or convolution may use; no result depends on it."""

level = _native.level
levels = _native.levels
set_level = _native.set_level
keep_memory = _native.keep_memory


def Prg(key: bytes) -> "reference.Prg | NativePrg":
    """The generator of a 16-byte key: native where the level in use has AES instructions; see reference.Prg."""
    return reference.Prg(key) if level() == "portable" else NativePrg(key)


class NativePrg:
    """AES-128 in counter mode, addressed by (stream, word); see reference.Prg."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = _native.Key(bytes(key))

    def words(self, stream: int, count: int, offset: int = 0) -> np.ndarray:
        """Words offset .. offset + count - 1 of a stream, uint64[count]."""
        check_words(stream, count, offset)
        out = np.empty(count, np.uint64)
        _native.stream_op(self._key, stream >> 24, stream & 0xFFFFFF, offset, out, _SET)
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

    def xor(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Exclusive-or words offset .. offset + out.size - 1 onto a C-contiguous array."""
        self._combine(stream, out, offset, _XOR)

    def _combine(self, stream: int, out: np.ndarray, offset: int, op: int) -> None:
        check_words(stream, out.size, offset)
        _native.stream_op(self._key, stream >> 24, stream & 0xFFFFFF, offset, flat(out), op)


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a[B, M, K] @ b[B, K, N] mod 2^64; see reference.matmul."""
    shape = matmul_shape(a, b)
    if out is None:
        out = np.empty(shape, np.uint64)
    elif out.shape != shape:
        raise ValueError(f"the product has shape {shape}, out has {out.shape}")
    if not out.size:
        return out
    if shape[2] > 1 and out.strides[2] != 8:
        out[...] = matmul(a, b)
        return out
    _native.matmul(a, b, out, threads)
    return out


def conv(
    x: np.ndarray,
    k: np.ndarray,
    *,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """x[N, *spatial, C] with k[*spatial, C / groups, O] to [N, *out, O] mod 2^64; see reference.conv."""
    ones = (1,) * (x.ndim - 2)
    lhs_dilation, rhs_dilation = lhs_dilation or ones, rhs_dilation or ones
    spatial = conv_shape(x, k, strides, padding, lhs_dilation, rhs_dilation, groups)
    out = np.empty((x.shape[0], *spatial, k.shape[-1]), np.uint64)
    low = [pair[0] for pair in padding]
    x, k = np.ascontiguousarray(x), np.ascontiguousarray(k)
    _native.conv(x, k, out, list(strides), low, list(lhs_dilation), list(rhs_dilation), groups, threads)
    return out


def pack(bits: np.ndarray) -> np.ndarray:
    """uint8[n] of zeros and ones to uint64[ceil(n / 64)]; see reference.pack."""
    words = np.empty((bits.size + 63) // 64, np.uint64)
    _native.pack(np.ascontiguousarray(bits), words)
    return words


def unpack(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of packed words, as uint8[n]; see reference.unpack."""
    if words.ndim != 1 or n > 64 * words.size or n < 0:
        raise ValueError(f"{words.size} words do not hold {n} bits")
    bits = np.empty(n, np.uint8)
    _native.unpack(np.ascontiguousarray(words), bits)
    return bits
