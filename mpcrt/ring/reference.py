"""The kernels in NumPy: the oracle of the native ones, and what runs where no compiler was found.

All arrays are numpy.uint64 and all arithmetic is modulo 2^64. Every function gives the same bits as its native
counterpart, for any strides, shapes and thread counts.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mpcrt.ring import samples
from mpcrt.ring.prg import BLOCK_BITS, KEY_BYTES, STREAM_BITS, STREAM_WORDS
from mpcrt.ring.reference_blocks import climb, deal_products, deal_tables
from mpcrt.ring.reference_steps import absorb, cross, deal, multiply, select, settle
from mpcrt.ring.samples import Basis
from mpcrt.ring.sources import Drawing, Source, drawn

__all__ = [
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
    "matmul",
    "multiply",
    "pack",
    "select",
    "settle",
    "unpack",
]

Pair = tuple[int, int]
_ZEROS = memoryview(bytes(1 << 16))


class Prg:
    """AES-128 in counter mode, addressed by (stream, word).

    Block b of a stream is AES_key(stream << 40 | b), the number as 16 big-endian bytes; its 16 output bytes, read as
    two little-endian 64-bit numbers, are the words 2b and 2b + 1. NIST SP 800-38A, section 6.5.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a stream key has {KEY_BYTES} bytes, not {len(key)}")
        self._algorithm = AES(bytes(key))

    def words(self, stream: int, count: int, offset: int = 0) -> np.ndarray:
        """Words offset .. offset + count - 1 of a stream, uint64[count]."""
        check_words(stream, count, offset)
        first = offset // 2
        size = 16 * ((offset + count + 1) // 2 - first)
        cipher = Cipher(self._algorithm, CTR((stream << BLOCK_BITS | first).to_bytes(16, "big"))).encryptor()
        out = np.empty(size + 15, np.uint8)  # update_into asks for a block less a byte more
        for at in range(0, size, len(_ZEROS)):
            cipher.update_into(_ZEROS[: size - at], out.data[at:])
        words = out[:size].view("<u8").astype(np.uint64, copy=False)
        return words[offset % 2 : offset % 2 + count]

    def fill(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Write words offset .. offset + out.size - 1 into a C-contiguous array."""
        flat(out)[:] = self.words(stream, out.size, offset)

    def add(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Add words offset .. offset + out.size - 1 to a C-contiguous array."""
        flat(out)[:] += self.words(stream, out.size, offset)

    def subtract(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Subtract words offset .. offset + out.size - 1 from a C-contiguous array."""
        flat(out)[:] -= self.words(stream, out.size, offset)

    def subtract_halves(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """The same, word by word as two numbers modulo 2^32."""
        flat(out).view("<u4")[:] -= self.words(stream, out.size, offset).view("<u4")

    def xor(self, stream: int, out: np.ndarray, offset: int = 0) -> None:
        """Exclusive-or words offset .. offset + out.size - 1 onto a C-contiguous array."""
        flat(out)[:] ^= self.words(stream, out.size, offset)


def check_words(stream: int, count: int, offset: int) -> None:
    """Raise ValueError where a range of words lies outside its stream."""
    if not 0 <= stream < 1 << STREAM_BITS:
        raise ValueError(f"stream number {stream} has more than {STREAM_BITS} bits")
    if count < 0 or offset < 0 or offset + count > STREAM_WORDS:
        raise ValueError(f"words {offset} to {offset + count} lie outside a stream of {STREAM_WORDS}")


def flat(out: np.ndarray) -> np.ndarray:
    """A one-dimensional view of a C-contiguous uint64 array."""
    if out.dtype != np.uint64 or not out.flags.c_contiguous:
        raise ValueError("expected a C-contiguous uint64 array")
    return out.reshape(-1)


def matmul(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a[B, M, K] @ b[B, K, N]; either batch may be 1 and is then broadcast. Any strides.

    Raises:
        ValueError: the shapes do not fit.
    """
    shape = matmul_shape(a, b)
    if out is None:
        out = np.empty(shape, np.uint64)
    elif out.shape != shape:
        raise ValueError(f"the product has shape {shape}, out has {out.shape}")
    np.matmul(a, b, out=out)
    return out


def matmul_shape(a: np.ndarray, b: np.ndarray) -> tuple[int, int, int]:
    """The shape of a product, or ValueError."""
    batches_fit = a.ndim == b.ndim == 3 and (a.shape[0] == b.shape[0] or 1 in (a.shape[0], b.shape[0]))
    if not batches_fit or a.shape[2] != b.shape[1]:
        raise ValueError(f"cannot multiply {a.shape} by {b.shape}")
    return (a.shape[0] if b.shape[0] == 1 else b.shape[0], a.shape[1], b.shape[2])


def conv(
    x: np.ndarray,
    k: np.ndarray,
    *,
    strides: Sequence[int],
    padding: Sequence[Pair],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    groups: int = 1,
) -> np.ndarray:
    """x[N, *spatial, C] with k[*spatial, C / groups, O] to [N, *out, O], as lax.conv_general_dilated (no kernel flip).

    Args:
        strides: window strides, one a spatial dimension.
        padding: (low, high) a spatial dimension, of the dilated input; negative values crop.
        lhs_dilation: input dilation: the input with d - 1 zeros between neighbours.
        rhs_dilation: kernel dilation.
        groups: feature groups; output channels are grouped in the same order.
    """
    rank = x.ndim - 2
    lhs_dilation = tuple(lhs_dilation or (1,) * rank)
    rhs_dilation = tuple(rhs_dilation or (1,) * rank)
    out_spatial = conv_shape(x, k, strides, padding, lhs_dilation, rhs_dilation, groups)
    padded = _dilate_and_pad(x, padding, lhs_dilation)
    batch, features = x.shape[0], k.shape[-1]
    depth, width = x.shape[-1] // groups, features // groups
    out = np.zeros((batch, *out_spatial, features), np.uint64)
    if not out.size:
        return out
    for tap in itertools.product(*(range(size) for size in k.shape[:-2])):
        window = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, rhs_dilation, out_spatial, strides, strict=True)
        )
        rows = padded[(slice(None), *window)]
        for g in range(groups):
            part = rows[..., g * depth : (g + 1) * depth].reshape(-1, depth)
            product = np.matmul(part, k[tap][:, g * width : (g + 1) * width])
            out[..., g * width : (g + 1) * width] += product.reshape(batch, *out_spatial, width)
    return out


def conv_shape(
    x: np.ndarray,
    k: np.ndarray,
    strides: Sequence[int],
    padding: Sequence[Pair],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    groups: int,
) -> tuple[int, ...]:
    """The output's spatial shape, or ValueError where the operands do not fit."""
    rank = x.ndim - 2
    if rank < 0 or k.ndim != x.ndim or any(len(v) != rank for v in (strides, padding, lhs_dilation, rhs_dilation)):
        raise ValueError(f"convolution of {x.shape} with {k.shape}: window parameters need {max(rank, 0)} entries")
    if groups < 1 or x.shape[-1] != k.shape[-2] * groups or k.shape[-1] % groups:
        raise ValueError(f"convolution of {x.shape} with {k.shape} in {groups} groups: channels do not fit")
    if any(v < 1 for v in (*strides, *lhs_dilation, *rhs_dilation)):
        raise ValueError("strides and dilations are at least 1")
    sizes = []
    for d in range(rank):
        size = max(0, (x.shape[1 + d] - 1) * lhs_dilation[d] + 1) if x.shape[1 + d] else 0
        size += padding[d][0] + padding[d][1]
        reach = (k.shape[d] - 1) * rhs_dilation[d] + 1
        sizes.append(max(0, (size - reach) // strides[d] + 1) if k.shape[d] else max(0, size))
    return tuple(sizes)


def _dilate_and_pad(x: np.ndarray, padding: Sequence[Pair], dilation: Sequence[int]) -> np.ndarray:
    for axis, ((low, high), d) in enumerate(zip(padding, dilation, strict=True), start=1):
        size = max(0, (x.shape[axis] - 1) * d + 1)
        shape = list(x.shape)
        shape[axis] = max(0, size + max(low, 0) + max(high, 0))
        wide = np.zeros(shape, np.uint64)
        at = [slice(None)] * x.ndim
        at[axis] = slice(max(low, 0), max(low, 0) + size, d)
        wide[tuple(at)] = x
        at[axis] = slice(max(-low, 0), max(shape[axis] - max(-high, 0), 0))
        x = wide[tuple(at)]
    return x


def pack(bits: np.ndarray) -> np.ndarray:
    """uint8[n] of zeros and ones to uint64[ceil(n / 64)]: bit i of word w is element 64 w + i; the rest is zero."""
    if bits.ndim != 1 or bits.dtype != np.uint8:
        raise ValueError("pack expects a uint8 vector")
    packed = np.zeros(8 * math.ceil(bits.size / 64), np.uint8)
    packed[: (bits.size + 7) // 8] = np.packbits(bits, bitorder="little")
    return packed.view("<u8").astype(np.uint64, copy=False)


def unpack(words: np.ndarray, n: int) -> np.ndarray:
    """The first n bits of packed words, as uint8[n]."""
    if words.ndim != 1 or n > 64 * words.size or n < 0:
        raise ValueError(f"{words.size} words do not hold {n} bits")
    words = np.ascontiguousarray(words.astype("<u8", copy=False))
    return np.unpackbits(words.view(np.uint8), bitorder="little", count=n)


def deal_samples(basis: Basis, mask: Source, n: int, less: tuple[Drawing, ...] = ()) -> np.ndarray:
    """The samples of n masks less what others draw of them, uint64[words, n]."""
    out = basis.deal(drawn(mask, n))
    for prg, stream, offset in less:
        prg.subtract(stream, out, offset)
    return out


def evaluate_samples(basis: Basis, d: np.ndarray, shares: Source, out: np.ndarray | None = None) -> np.ndarray:
    """A party's share of a sampled function, from D uint64[n] and its samples' shares."""
    total = samples.evaluate(basis, d, drawn(shares, samples.words(basis) * d.size).reshape(-1, d.size))
    if out is None:
        return total
    out[:] = total
    return out
