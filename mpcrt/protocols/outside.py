"""A party that provides inputs or receives results without computing."""

from collections.abc import Sequence

import numpy as np

from mpcrt.plan.types import Type
from mpcrt.protocols import inputs as masking
from mpcrt.ring import kernels
from mpcrt.transport.link import Address, Kind, Link


def provide(link: Link, call: int, type: Type, value: np.ndarray, parties: Sequence[str], dealer: str) -> None:
    """Shares `value` (uint64 ring elements or uint8 bits): a fresh seed and D to each party, the seeds to the
    dealer."""
    masking.provide(link, call, type, value, parties, dealer, link.name)


def receive(link: Link, call: int, type: Type, parties: Sequence[str]) -> np.ndarray:
    """A value revealed to this party: the sum of the parties' re-randomised shares."""
    bit, words = type.kind == "bit", masking.word_count(type)
    total = np.zeros(words, np.uint64)
    for party in parties:
        arrays = link.recv(party, Address(Kind.REVEAL, call), limit=8 * words)
        (share,) = masking.checked(arrays, [words], party)
        (np.bitwise_xor if bit else np.add)(total, share, out=total)
    return kernels.unpack(total, type.size).reshape(type.shape) if bit else total.reshape(type.shape)
