"""Operands that kernels draw as they go: where the words of a vector come from.

A Source is an array of words, or a tuple of drawings, whose words add up (bits and tables: by exclusive or), or None:
zeros. A narrow vector holds 32-bit values, two a word.
"""

from typing import Any

import numpy as np

Drawing = tuple[Any, int, int]
"""A generator, a stream and a word offset: where words are drawn from."""
Source = np.ndarray | tuple[Drawing, ...] | None


def drawn(source: Source, count: int, xor: bool = False, narrow: bool = False) -> np.ndarray:
    """The words of a source as an array that may be the source itself, or its `count` 32-bit values where `narrow`."""
    words = (count + 1) // 2 if narrow else count
    if isinstance(source, np.ndarray):
        out = source.reshape(-1)
    elif not source:
        out = np.zeros(words, np.uint64)
    else:
        (prg, stream, offset), *others = source
        out = prg.words(stream, words, offset)
        for prg, stream, offset in others:
            (prg.xor if xor else prg.add)(stream, out, offset)
    if out.size != words:
        raise ValueError(f"operands differ in length: {out.size} words where {words} are needed")
    return out.view(np.uint32)[:count] if narrow else out
