"""The native module's functions (ring/native/bind_*.cpp), for type checkers; made by nanobind.stubgen."""

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

Given = tuple[NDArray[numpy.uint64] | None, Sequence[tuple["Key", int, int, int]]]

class Key:
    def __init__(self, arg: bytes, /) -> None: ...

def stream_op(key: Key, high: int, low: int, offset: int, out: NDArray[numpy.uint64], op: int) -> None: ...
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
def look_up(
    opened: NDArray[numpy.uint64],
    tables: Given,
    words_per_plane: int,
    drop: int,
    width: int,
    block: int,
    equal: bool,
    lead: bool,
    lt: NDArray[numpy.uint64],
    eq: NDArray[numpy.uint64],
    sign: NDArray[numpy.uint64],
) -> None: ...
def deal_tables(
    mask: Given,
    n: int,
    words_per_plane: int,
    drop: int,
    width: int,
    block: int,
    equal: bool,
    less: Given,
    tables: NDArray[numpy.uint64],
    sign: NDArray[numpy.uint64],
) -> None: ...
def planes(
    steps: NDArray[numpy.int32], written: Sequence[NDArray[numpy.uint64]], read: Sequence[tuple[int, Given]]
) -> None: ...

TEMPORARIES: int = 7

MOST_TEMPORARIES: int = 1024

def series_sum(
    arg0: NDArray[numpy.uint64],
    arg1: Given,
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
    arg0: Given,
    arg1: int,
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: bool,
    arg6: NDArray[numpy.float64],
    arg7: NDArray[numpy.float64],
    arg8: NDArray[numpy.float64],
    arg9: Given,
    arg10: NDArray[numpy.uint64],
    /,
) -> None: ...
def exp_sum(
    arg0: NDArray[numpy.uint64],
    arg1: Given,
    arg2: int,
    arg3: int,
    arg4: int,
    arg5: NDArray[numpy.int64],
    arg6: int,
    arg7: NDArray[numpy.uint64],
    /,
) -> None: ...
def exp_deal(
    arg0: Given,
    arg1: int,
    arg2: int,
    arg3: float,
    arg4: NDArray[numpy.float64],
    arg5: NDArray[numpy.float64],
    arg6: Given,
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
    lx: Given,
    ly: Given,
    mask: Given,
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def absorb(lx: Given, ly: Given, mask: Given, out: NDArray[numpy.uint64]) -> None: ...
def settle(
    opened: NDArray[numpy.uint64],
    bits: int,
    sign: Given,
    narrow: bool,
    top: Given,
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def select(
    bits: NDArray[numpy.uint64],
    beta: Given,
    lead: bool,
    opened: NDArray[numpy.uint64],
    drop: int,
    narrow: bool,
    terms: Sequence[tuple[Given, Given]],
    out: NDArray[numpy.uint64],
) -> None: ...
def deal(
    n: int,
    mask: Given,
    bits: NDArray[numpy.uint64] | None,
    rows: Sequence[tuple[int, bool, Given]],
    out: NDArray[numpy.uint64],
) -> None: ...

MOST_DRAWN: int = 8
