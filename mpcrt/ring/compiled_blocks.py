"""Block comparison by the native module, with the interface of mpcrt.ring.blocks."""

import numpy as np

from mpcrt.ring import _native, blocks, plane_programs
from mpcrt.ring.blocks import CompareSpec, Level
from mpcrt.ring.compiled_prg import drawable
from mpcrt.ring.sources import Drawing, Source

WORD = np.dtype(np.uint64)
_NATIVE_BLOCKS = (4, 6)
_MOST_SCRATCH = _native.MOST_TEMPORARIES


def deal_tables(
    mask: Source, n: int, spec: CompareSpec, less: tuple[Drawing, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of n masks less what others draw of them, and the masks' signs; see blocks.deal_tables."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width or not drawable(less):
        return blocks.deal_tables(mask, n, spec, less)
    size = blocks.sizes(spec, n)
    tables, sign = np.empty(size.tables, WORD), np.empty(size.sign, WORD)
    _native.deal_tables(mask, n, size.width, spec.drop, spec.width, spec.block, spec.equal, less, tables, sign)
    return tables, sign


def look_up(
    opened: np.ndarray, tables: Source, spec: CompareSpec, lead: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of lt and eq of every block as planes, and D's signs; see blocks.look_up."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width:
        return blocks.look_up(opened, tables, spec, lead)
    size, equal, opened = blocks.sizes(spec, opened.size), spec.equal, np.ascontiguousarray(opened)
    eq = np.empty(size.planes, WORD)
    lt = eq if equal else np.empty(size.planes, WORD)
    sign = np.empty(size.sign, WORD)
    _native.look_up(opened, tables, size.width, spec.drop, spec.width, spec.block, equal, lead, lt, eq, sign)
    return lt, eq, sign


def gather(level: Level, lt: np.ndarray, eq: np.ndarray, mask: Source) -> np.ndarray:
    """The planes this level opens under my mask; see blocks.gather."""
    superblocks, inputs, width = lt.shape
    out = np.empty((superblocks, level.opened, width), WORD)
    _native.planes(plane_programs.gathering(level), (out,), ((inputs, lt), (inputs, eq), (level.opened, mask)))
    return out


def deal_products(
    level: Level, superblocks: int, width: int, masks: Source, less: tuple[Drawing, ...] = ()
) -> np.ndarray:
    """The products of the masks of the opened planes less what others draw of them; see blocks.deal_products."""
    steps, scratch = plane_programs.dealing(level)
    if scratch > _MOST_SCRATCH or not less:
        return blocks.deal_products(level, superblocks, width, masks, less)
    out = np.empty((superblocks, level.products, width), WORD)
    _native.planes(steps, (out,), ((level.opened, masks), (level.products, less)))
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
    steps, scratch = plane_programs.evaluation(level, lead)
    if scratch > _MOST_SCRATCH:
        return blocks.evaluate(level, opened, masks, products, lt, eq, lead)
    superblocks, inputs, width = lt.shape
    shape, count = (superblocks, len(level.nodes), width), level.opened
    out = np.empty(shape, WORD), np.empty(shape, WORD)
    _native.planes(
        steps, out, ((count, opened), (count, masks), (level.products, products), (inputs, lt), (inputs, eq))
    )
    return out
