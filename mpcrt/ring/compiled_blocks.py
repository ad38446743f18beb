"""Block comparison by the native module, with the interface of mpcrt.ring.blocks."""

import numpy as np

from mpcrt.ring import _native, blocks, plane_programs
from mpcrt.ring.blocks import CompareSpec, Level

_NATIVE_BLOCKS = (4, 6)


def deal_tables(mask: np.ndarray, spec: CompareSpec) -> np.ndarray:
    """The tables of masks uint64[n], in the clear; see blocks.deal_tables."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width:
        return blocks.deal_tables(mask, spec)
    mask = np.ascontiguousarray(mask).reshape(-1)
    width = blocks.words_per_plane(mask.size)
    tables = np.empty(blocks.padded(mask.size) // 64 * spec.table_words, np.uint64)
    _native.deal_tables(mask, width, spec.drop, spec.width, spec.block, spec.equal, tables)
    return tables


def look_up(opened: np.ndarray, tables: np.ndarray, spec: CompareSpec, lead: bool) -> tuple[np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes; see blocks.look_up."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width:
        return blocks.look_up(opened, tables, spec, lead)
    opened = np.ascontiguousarray(opened).reshape(-1)
    width = blocks.words_per_plane(opened.size)
    shape = (blocks.padded(opened.size) // (64 * width), spec.blocks, width)
    eq = np.empty(shape, np.uint64)
    lt = np.zeros(shape, np.uint64) if spec.equal else np.empty(shape, np.uint64)
    tables = np.ascontiguousarray(tables).reshape(-1)
    _native.look_up(opened, tables, width, spec.drop, spec.width, spec.block, spec.equal, lead, lt, eq)
    return lt, eq


def gather(level: Level, lt: np.ndarray, eq: np.ndarray) -> np.ndarray:
    """The planes this level opens; see blocks.gather."""
    out = np.empty((lt.shape[0], level.opened, lt.shape[2]), np.uint64)
    _native.planes(plane_programs.gathering(level), [out], [lt, eq])
    return out


def deal_products(level: Level, masks: np.ndarray) -> np.ndarray:
    """The products of the masks of the opened planes, in the clear; see blocks.deal_products."""
    out = np.empty((masks.shape[0], level.products, masks.shape[2]), np.uint64)
    _native.planes(plane_programs.dealing(level), [out], [masks])
    return out


def evaluate(
    level: Level,
    opened: np.ndarray,
    masks: np.ndarray,
    products: np.ndarray,
    lt: np.ndarray,
    eq: np.ndarray,
    lead: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Shares of each node's lt' and eq'; see blocks.evaluate."""
    steps, scratch = plane_programs.evaluation(level, bool(lead))
    if scratch > _native.MOST_TEMPORARIES:
        return blocks.evaluate(level, opened, masks, products, lt, eq, lead)
    shape = (lt.shape[0], len(level.nodes), lt.shape[2])
    out_lt, out_eq = np.empty(shape, np.uint64), np.empty(shape, np.uint64)
    _native.planes(steps, [out_lt, out_eq], [opened, masks, products, lt, eq])
    return out_lt, out_eq


def bit_plane(values: np.ndarray, position: int) -> np.ndarray:
    """Bit `position` of each value, packed; see reference.bit_plane."""
    values = np.ascontiguousarray(values).reshape(-1)
    words = np.empty((values.size + 63) // 64, np.uint64)
    _native.bit_plane(values, position, words)
    return words
