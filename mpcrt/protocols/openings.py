"""How openings travel, for those who send and those who count: sizes are the same in both."""

from collections.abc import Iterator, Sequence

PACKED = 1 << 16
"""Openings of up to this many bytes share one message a peer and level; larger ones leave by themselves, at once."""
PACKED_WORDS = PACKED // 8


def segments(words: int, parties: Sequence) -> Iterator[tuple]:
    """(party, low, high): the part of an opened vector that each party sums up in a reduce-scatter."""
    n = len(parties)
    for i, party in enumerate(parties):
        yield party, words * i // n, words * (i + 1) // n


def opening_bytes(size: int, parties: int) -> list[int]:
    """Payload bytes each party sends to open a vector of `size` bytes.

    All-to-all: (n-1) size. Reduce-scatter and all-gather, for n >= 3 above PACKED: about 2 size (n-1)/n.
    """
    if parties == 2 or size <= PACKED:
        return [size * (parties - 1)] * parties
    sizes = [8 * (high - low) for _, low, high in segments(size // 8, range(parties))]
    return [size - own + (parties - 1) * own for own in sizes]
