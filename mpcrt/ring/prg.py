"""Streams, keys and randomness: the one module that draws secure random values.

A pseudo-random word is named by (key, stream, index) and computed when needed by whoever holds the key. The key belongs
to one pair of processes and one run; the stream names one use of one op; so no word is ever used twice.
"""

import os
from collections.abc import Iterable

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 16
NONCE_BYTES = 32

CALL_BITS, PATH_BITS, OP_BITS, ROLE_BITS = 32, 24, 24, 8
STREAM_BITS = CALL_BITS + PATH_BITS + OP_BITS + ROLE_BITS
BLOCK_BITS = 128 - STREAM_BITS
STREAM_WORDS = 2 << BLOCK_BITS
"""Words one stream holds: 2^41."""


def stream(call: int, path: int, op: int, role: int) -> int:
    """The 88-bit number of a stream: call (32 bits), loop path (24), op (24), role (8), most significant first.

    Raises:
        ValueError: a field does not fit its width; two uses would share their words.
    """
    if not (0 <= call < 1 << CALL_BITS and 0 <= path < 1 << PATH_BITS and 0 <= op < 1 << OP_BITS and 0 <= role < 256):
        raise ValueError(f"stream fields out of range: call={call} path={path} op={op} role={role}")
    return ((call << PATH_BITS | path) << OP_BITS | op) << ROLE_BITS | role


def derive_key(contributions: Iterable[bytes], nonce: bytes, label: bytes) -> bytes:
    """A 16-byte stream key: HKDF-SHA256 (RFC 5869) over the contributions of the processes that share it.

    Args:
        contributions: each process's secret random bytes, in an order both agree on.
        nonce: the salt, the run nonce made from all parties' parts.
        label: what the key is for, such as the pair's names and the plan's fingerprint.
    """
    material = b"".join(len(part).to_bytes(4, "big") + part for part in contributions)
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=nonce, info=b"mpcrt stream key\0" + label).derive(material)


def random_bytes(count: int) -> bytes:
    """`count` bytes from the operating system's generator."""
    return os.urandom(count)


def random_words(*shape: int) -> np.ndarray:
    """Uniform ring elements of the given shape, from the operating system's generator."""
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(bytearray(os.urandom(8 * count)), np.uint64).reshape(shape)
