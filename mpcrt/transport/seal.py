"""Large buffers of a TLS link: AES-256-GCM under keys that the TLS session carries, beside its records.

TLS 1.3 says who is there and keeps every header and small message, as QUIC leaves the handshake to TLS and protects its
packets itself (RFC 9001). Through OpenSSL's memory buffers records are copied three times; what is sealed where it lies
costs a fifth (docs/reliability.md has the figures). Each end of a session draws a key for what it sends and says it in
the session's first bytes, so a key is as secret, as fresh and as surely the peer's as the session is.
"""

from __future__ import annotations

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpcrt.transport.channel import Cut
from mpcrt.transport.header import Frame

KEY_BYTES = 32
TAG_BYTES = 16


class Seal:
    """One direction of one session: seals pieces of buffers, or opens them in the same order."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._count = 0

    @staticmethod
    def draw() -> bytes:
        """A key for one direction of one session, never for another."""
        return AESGCM.generate_key(8 * KEY_BYTES)

    def close(self, piece: memoryview) -> memoryview:
        """The ciphertext of a piece and its tag, TAG_BYTES more than it has."""
        sealed = np.empty(len(piece) + TAG_BYTES, np.uint8).data
        self._cipher.encrypt_into(self._nonce(), piece, None, sealed)
        return sealed

    def open(self, sealed: Frame, piece: memoryview) -> None:
        """Write what was sealed into `piece`, as long as what is expected next.

        Raises Cut when it is anything else: altered, out of order, of another session.
        """
        if len(sealed) != len(piece) + TAG_BYTES:
            raise Cut(f"a sealed piece of {len(sealed)} bytes where {len(piece) + TAG_BYTES} were expected")
        try:
            self._cipher.decrypt_into(self._nonce(), sealed, None, piece)
        except InvalidTag:
            raise Cut("a sealed piece that was damaged on its way") from None

    def _nonce(self) -> bytes:
        """Counts pieces: no nonce comes twice under a key, and a piece opens in its place only."""
        self._count += 1
        return self._count.to_bytes(12, "big")
