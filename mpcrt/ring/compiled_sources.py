"""Operands as the native module takes them: (array, []), (None, places to draw from) or (None, [])."""

import numpy as np

from mpcrt.ring import _native
from mpcrt.ring.compiled_prg import NativePrg
from mpcrt.ring.reference import check_words
from mpcrt.ring.sources import Source, drawn

Place = tuple[_native.Key, int, int, int]
Given = tuple[np.ndarray | None, list[Place]]


def given(source: Source, count: int, xor: bool = False, narrow: bool = False) -> Given:
    """A source of `count` words, or 32-bit values; drawn first where the module cannot."""
    if source is None:
        return None, []
    if isinstance(source, np.ndarray):
        return np.ascontiguousarray(source).reshape(-1), []
    words = (count + 1) // 2 if narrow else count
    places = []
    for prg, stream, offset in source:
        if not isinstance(prg, NativePrg) or len(source) > (1 if narrow else _native.MOST_DRAWN):
            return drawn(source, words, xor), []
        check_words(stream, words, offset)
        places.append((prg.key, stream >> 24, stream & 0xFFFFFF, offset))
    return None, places
