"""Masking inputs: what an owner sends, computing or not, and what the parties and the dealer make of it.

Position of a value's mask: (call, 0, 0, 0) under a key for inputs (an owner that computes) or under a fresh seed's key.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Held, Rep
from mpcrt.plan.types import Type
from mpcrt.protocols.context import stream_of
from mpcrt.protocols.keys import seed_prg
from mpcrt.protocols.shares import Budget, Drawn, Kept, Whole
from mpcrt.ring import kernels
from mpcrt.ring.prg import random_bytes
from mpcrt.transport.link import Address, Kind, Link

SEED_WORDS = 4
KEPT_BYTES = 4 << 30
"""Mask words of inputs that a process keeps between calls, at most; beyond, they are drawn at each use."""


def word_count(type: Type) -> int:
    """Words of a value on the wire: one a ring element, one for 64 bits."""
    return -(-type.size // 64) if type.kind == "bit" else type.size


def drawn(prgs: Sequence, call: int, type: Type, of: Sequence[int] | None = None) -> Drawn:
    return Drawn(tuple(prgs), stream_of(call, 0, 0), 0, word_count(type), type.kind == "bit", of)


def kept(mask: Drawn, budget: Budget) -> Kept:
    """The mask of an input as readers hold it: drawn once, at its first use."""
    return Kept(Whole(mask, budget), 0, mask.size)


def shaped(words: np.ndarray, type: Type) -> np.ndarray:
    return words if type.kind == "bit" else words.reshape(type.shape)


def held_masked(type: Type) -> Held:
    return Held(type, Rep.MASKED)


def clear_padding(words: np.ndarray, n: int) -> None:
    """Zeroes the bits beyond n of packed bits, which carry nothing and must say nothing."""
    if n % 64 and words.size:
        words[-1] &= np.uint64((1 << (n % 64)) - 1)


def masked(value: np.ndarray | None, type: Type, mask: Drawn) -> np.ndarray:
    """D = x + l, or c = b ^ beta packed."""
    if value is None or value.shape != type.shape:
        raise ProtocolError(f"the owner of {type} gave {'nothing' if value is None else value.shape}")
    if type.kind == "bit":
        return kernels.pack(np.ascontiguousarray(value, np.uint8).reshape(-1)) ^ mask.words()
    out = np.array(value, np.uint64, order="C").reshape(-1)
    mask.add_to(out)
    return out


def provide(
    link: Link, call: int, type: Type, value, parties: Sequence[str], dealer: str, me: str
) -> tuple[np.ndarray, Any]:
    """Draws a seed a party; k_i and D go to party i, all seeds to the dealer. Returns D and my own seed's words."""
    seeds = {p: np.frombuffer(random_bytes(8 * SEED_WORDS), np.uint64) for p in parties}
    link.send(dealer, Address(Kind.INPUT, call), np.concatenate(list(seeds.values())))
    opened = masked(value, type, drawn([prg_of(s) for s in seeds.values()], call, type))
    for party, seed in seeds.items():
        if party != me:
            link.send(party, Address(Kind.INPUT, call), seed, opened)
    return opened, seeds.get(me)


def prg_of(seed: np.ndarray):
    return seed_prg(np.ascontiguousarray(seed, np.dtype("<u8")).tobytes())


def receive(link: Link, sender: str, call: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """The words arrays of an input message, checked."""
    return checked(link.recv(sender, Address(Kind.INPUT, call), limit=8 * sum(sizes)), sizes, sender)


def checked(arrays: Sequence[np.ndarray], sizes: Sequence[int], sender: str) -> list[np.ndarray]:
    if [a.shape for a in arrays] != [(s,) for s in sizes] or any(a.dtype != np.uint64 for a in arrays):
        raise ProtocolError(f"{sender} sent values of another size than {list(sizes)} words")
    return list(arrays)
