"""The native module's functions (ring/native/bind_*.cpp), for type checkers; made by nanobind.stubgen."""

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from mpcrt.ring.sources import Source

class Key:
    def __init__(self, arg: bytes, /) -> None: ...

def stream_op(key: Key, stream: int, offset: int, out: NDArray[numpy.uint64], op: int) -> None: ...
def matmul(a: NDArray[numpy.uint64], b: NDArray[numpy.uint64], out: NDArray[numpy.uint64], threads: int) -> None: ...
def conv(
    x: NDArray[numpy.uint64],
    kernel: NDArray[numpy.uint64],
    out: NDArray[numpy.uint64],
    stride: Sequence[int],
    low: Sequence[int],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    groups: int,
    threads: int,
) -> None: ...
def pack(bits: NDArray[numpy.uint8], words: NDArray[numpy.uint64]) -> None: ...
def unpack(words: NDArray[numpy.uint64], bits: NDArray[numpy.uint8]) -> None: ...
def keep_memory() -> bool: ...
def level() -> str: ...
def levels() -> list[str]: ...
def set_level(arg: str, /) -> None: ...
def deal_tables(
    mask: Source,
    n: int,
    words_per_plane: int,
    drop: int,
    width: int,
    block: int,
    equal: bool,
    less: Source,
    tables: NDArray[numpy.uint64],
    sign: NDArray[numpy.uint64],
) -> None: ...

class Tree:
    def __init__(self, drop: int, width: int, block: int, equal: bool, lead: bool) -> None: ...
    def add(
        self,
        opened: int,
        products: int,
        nodes: int,
        gather: NDArray[numpy.int32],
        deal: NDArray[numpy.int32],
        evaluate: NDArray[numpy.int32],
    ) -> None: ...

def deal_products(
    tree: Tree,
    level: int,
    n: int,
    words_per_plane: int,
    masks: Source,
    less: Source,
    out: NDArray[numpy.uint64],
) -> None: ...

class Climb:
    def __init__(self, tree: Tree, n: int, words_per_plane: int) -> None: ...
    @property
    def width(self) -> int: ...

def climb(
    climb: Climb, opened: NDArray[numpy.uint64], share: Source, mask: Source, out: NDArray[numpy.uint64]
) -> None: ...
def climbed(climb: Climb, opened: NDArray[numpy.uint64], share: Source, out: NDArray[numpy.uint64]) -> None: ...

MOST_TEMPORARIES: int = 1024

def series_sum(
    arg0: NDArray[numpy.uint64],
    arg1: Source,
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: int,
    arg6: int,
    arg7: NDArray[numpy.int64],
    arg8: NDArray[numpy.int64],
    arg9: NDArray[numpy.uint64],
    /,
) -> None: ...
def series_deal(
    arg0: Source,
    arg1: int,
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: bool,
    arg6: NDArray[numpy.float64],
    arg7: NDArray[numpy.float64],
    arg8: NDArray[numpy.float64],
    arg9: Source,
    arg10: NDArray[numpy.uint64],
    /,
) -> None: ...
def exp_sum(
    arg0: NDArray[numpy.uint64],
    arg1: Source,
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: NDArray[numpy.int64],
    arg6: int,
    arg7: NDArray[numpy.uint64],
    /,
) -> None: ...
def exp_deal(
    arg0: Source,
    arg1: int,
    arg2: int,
    arg3: float,
    arg4: NDArray[numpy.float64],
    arg5: NDArray[numpy.float64],
    arg6: Source,
    arg7: NDArray[numpy.uint64],
    /,
) -> None: ...
def chebyshev_sum(
    arg0: NDArray[numpy.uint64],
    arg1: NDArray[numpy.uint64],
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: int,
    arg6: NDArray[numpy.uint64],
    /,
) -> None: ...
def cross(
    dx: NDArray[numpy.uint64],
    dy: NDArray[numpy.uint64],
    lx: Source,
    ly: Source,
    mask: Source,
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def absorb(lx: Source, ly: Source, mask: Source, out: NDArray[numpy.uint64]) -> None: ...
def settle(
    opened: NDArray[numpy.uint64],
    bits: int,
    sign: Source,
    narrow: bool,
    top: Source,
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def select(
    bits: NDArray[numpy.uint64],
    beta: Source,
    lead: bool,
    opened: NDArray[numpy.uint64],
    drop: int,
    terms: Sequence[tuple[Source, Source]],
    out: NDArray[numpy.uint64],
) -> None: ...
def multiply(
    x: tuple[NDArray[numpy.uint64], int, Source, Source],
    y: tuple[NDArray[numpy.uint64], int, Source, Source],
    products: Sequence[tuple[int, int, bool, Source]],
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def deal(
    n: int,
    mask: Source,
    bits: NDArray[numpy.uint64] | None,
    rows: Sequence[tuple[int, bool, Source]],
    out: NDArray[numpy.uint64],
) -> None: ...

MOST_DRAWN: int = 8
