"""The native module's functions (ring/native/bind_*.cpp), for type checkers; made by nanobind.stubgen."""

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

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
    tables: NDArray[numpy.uint64],
    words_per_plane: int,
    drop: int,
    width: int,
    block: int,
    equal: bool,
    lead: bool,
    lt: NDArray[numpy.uint64],
    eq: NDArray[numpy.uint64],
) -> None: ...
def deal_tables(
    mask: NDArray[numpy.uint64],
    words_per_plane: int,
    drop: int,
    width: int,
    block: int,
    equal: bool,
    tables: NDArray[numpy.uint64],
) -> None: ...
def planes(
    steps: NDArray[numpy.int32], written: Sequence[NDArray[numpy.uint64]], read: Sequence[NDArray[numpy.uint64]]
) -> None: ...
def bit_plane(values: NDArray[numpy.uint64], position: int, words: NDArray[numpy.uint64]) -> None: ...

TEMPORARIES: int = 7

MOST_TEMPORARIES: int = 1024

def series_sum(
    d: NDArray[numpy.uint64],
    samples: NDArray[numpy.uint64] | None,
    place: tuple[Key, int, int, int] | None,
    multiplier: int,
    first: int,
    step: int,
    harmonics: int,
    public_bits: int,
    cosines: NDArray[numpy.int64],
    sines: NDArray[numpy.int64],
    out: NDArray[numpy.uint64],
) -> None: ...
def series_deal(
    arg0: NDArray[numpy.uint64],
    arg1: int,
    arg2: int,
    arg3: int,
    arg4: bool,
    arg5: NDArray[numpy.float64],
    arg6: NDArray[numpy.float64],
    arg7: NDArray[numpy.float64],
    arg8: Sequence[tuple[Key, int, int, int]],
    arg9: NDArray[numpy.uint64],
    /,
) -> None: ...
def exp_sum(
    d: NDArray[numpy.uint64],
    samples: NDArray[numpy.uint64] | None,
    place: tuple[Key, int, int, int] | None,
    origin: int,
    bits: int,
    public_bits: int,
    table: NDArray[numpy.int64],
    table_bits: int,
    out: NDArray[numpy.uint64],
) -> None: ...
def exp_deal(
    arg0: NDArray[numpy.uint64],
    arg1: int,
    arg2: float,
    arg3: NDArray[numpy.float64],
    arg4: NDArray[numpy.float64],
    arg5: Sequence[tuple[Key, int, int, int]],
    arg6: NDArray[numpy.uint64],
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
    lx: NDArray[numpy.uint64] | None,
    ly: NDArray[numpy.uint64] | None,
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
def settle(opened: NDArray[numpy.uint64], bits: int, sign: NDArray, lead: bool, out: NDArray[numpy.uint64]) -> None: ...
def select(
    bits: NDArray[numpy.uint64],
    beta: NDArray[numpy.uint64],
    factor: NDArray[numpy.uint64] | None,
    terms: Sequence[tuple[NDArray, NDArray, NDArray[numpy.uint64] | None]],
    lead: bool,
    out: NDArray[numpy.uint64],
) -> None: ...
