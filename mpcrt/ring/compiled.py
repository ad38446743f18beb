"""The kernels of the native module, with the interface of mpcrt.ring.reference."""

import os
from collections.abc import Sequence

import numpy as np

from mpcrt.ring import _native, reference
from mpcrt.ring.compiled_blocks import climb, deal_products, deal_tables
from mpcrt.ring.compiled_prg import NativePrg
from mpcrt.ring.compiled_samples import deal_samples, evaluate_samples
from mpcrt.ring.compiled_steps import absorb, cross, deal, multiply, select, settle
from mpcrt.ring.reference import conv_shape, matmul_shape

__all__ = [
    "NativePrg",
    "Prg",
    "absorb",
    "climb",
    "conv",
    "cross",
    "deal",
    "deal_products",
    "deal_samples",
    "deal_tables",
    "evaluate_samples",
    "keep_memory",
    "level",
    "levels",
    "matmul",
    "multiply",
    "pack",
    "select",
    "set_level",
    "settle",
    "threads",
    "unpack",
]

threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Threads a large product or convolution may use; no result depends on it."""

level = _native.level
levels = _native.levels
set_level = _native.set_level
keep_memory = _native.keep_memory


def Prg(key: bytes) -> "reference.Prg | NativePrg":
    """The generator of a 16-byte key: native where the level in use has AES instructions; see reference.Prg."""
    return reference.Prg(key) if level() == "portable" else NativePrg(key)


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
