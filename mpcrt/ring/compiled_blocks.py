"""Block comparison by the native module, with the interface of mpcrt.ring.blocks."""

import numpy as np

from mpcrt.ring import _native, blocks, plane_programs
from mpcrt.ring.blocks import CompareSpec, Level
from mpcrt.ring.compiled_prg import drawable
from mpcrt.ring.sources import Drawing, Source

_NATIVE_BLOCKS = (4, 6)


def deal_tables(
    mask: Source, n: int, spec: CompareSpec, less: tuple[Drawing, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of n masks less what others draw of them, and the masks' signs; see blocks.deal_tables."""
    size = blocks.padded(n) // 64 * spec.table_words
    if spec.block not in _NATIVE_BLOCKS or not spec.width or not drawable(less):
        return blocks.deal_tables(mask, n, spec, less)
    tables, sign = np.empty(size, np.uint64), _sign(n, spec)
    sizes = blocks.words_per_plane(n), spec.drop, spec.width, spec.block
    _native.deal_tables(mask, n, *sizes, spec.equal, less, tables, sign)
    return tables, sign


def look_up(
    opened: np.ndarray, tables: Source, spec: CompareSpec, lead: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes, and D's signs; see blocks.look_up."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width:
        return blocks.look_up(opened, tables, spec, lead)
    n, width = opened.size, blocks.words_per_plane(opened.size)
    shape = (blocks.padded(n) // (64 * width), spec.blocks, width)
    eq, sign = np.empty(shape, np.uint64), _sign(n, spec)
    lt = np.zeros(shape, np.uint64) if spec.equal else np.empty(shape, np.uint64)
    _native.look_up(
        np.ascontiguousarray(opened), tables, width, spec.drop, spec.width, spec.block, spec.equal, lead, lt, eq, sign
    )
    return lt, eq, sign


def _sign(n: int, spec: CompareSpec) -> np.ndarray:
    return np.empty(0 if spec.equal or spec.drop + spec.width > 63 else -(-n // 64), np.uint64)


def gather(level: Level, lt: np.ndarray, eq: np.ndarray, mask: Source) -> np.ndarray:
    """The planes this level opens under my mask; see blocks.gather."""
    out = np.empty((lt.shape[0], level.opened, lt.shape[2]), np.uint64)
    operands = (level.inputs, lt), (level.inputs, eq), (level.opened, mask)
    _native.planes(plane_programs.gathering(level), [out], operands)
    return out


def deal_products(
    level: Level, superblocks: int, width: int, masks: Source, less: tuple[Drawing, ...] = ()
) -> np.ndarray:
    """The products of the masks of the opened planes less what others draw of them; see blocks.deal_products."""
    steps, scratch = plane_programs.dealing(level)
    if scratch > _native.MOST_TEMPORARIES or not less:
        return blocks.deal_products(level, superblocks, width, masks, less)
    out = np.empty((superblocks, level.products, width), np.uint64)
    _native.planes(steps, [out], ((level.opened, masks), (level.products, less)))
    return out


def evaluate(
    level: Level,
    opened: np.ndarray,
    masks: Source,
    products: Source,
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
    operands = (level.opened, opened), (level.opened, masks), (level.products, products)
    _native.planes(steps, [out_lt, out_eq], (*operands, (level.inputs, lt), (level.inputs, eq)))
    return out_lt, out_eq
