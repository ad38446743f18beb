"""The stream keys of one process: one a peer and schedule, derived from the seed the two share and the run's nonce."""

from collections.abc import Mapping
from typing import Any

from mpcrt.ring.kernels import Prg
from mpcrt.ring.prg import derive_key


class Keys:
    """`seeds[peer]`: 32 bytes that this process and `peer` alone know; `nonce`: made from all parties' parts."""

    def __init__(self, me: str, nonce: bytes, seeds: Mapping[str, bytes]) -> None:
        self.me, self.nonce = me, bytes(nonce)
        self._seeds = dict(seeds)
        self._made: dict[tuple[str, str], Any] = {}

    def prg(self, peer: str, use: str):
        """The generator shared with `peer` for one use: a schedule, by its digest, "input" or "reveal"."""
        key = (peer, use)
        if key not in self._made:
            names = "\0".join(sorted((self.me, peer)))
            label = f"{names}\0{use}".encode()
            self._made[key] = Prg(derive_key((self._seeds[peer],), self.nonce, label))
        return self._made[key]


def seed_prg(seed: bytes):
    """The generator of an input's seed, drawn by a provider for one party, one value."""
    return Prg(derive_key((seed,), b"", b"provided input"))
