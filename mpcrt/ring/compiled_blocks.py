"""Block comparison by the native module, with the interface of mpcrt.ring.reference_blocks."""

from functools import cache

import numpy as np

from mpcrt.ring import _native, blocks, plane_programs, reference_blocks
from mpcrt.ring.blocks import CompareSpec
from mpcrt.ring.compiled_prg import drawable
from mpcrt.ring.sources import Drawing, Source

WORD = np.dtype(np.uint64)
_NATIVE_BLOCKS = (4, 6)


@cache
def _tree(spec: CompareSpec, lead: bool) -> _native.Tree | None:
    """The native module's form of a comparison; None where it has none."""
    if spec.block not in _NATIVE_BLOCKS or not spec.width:
        return None
    tree = _native.Tree(spec.drop, spec.width, spec.block, spec.equal, lead)
    for level in spec.levels:
        deal, made = plane_programs.dealing(level)
        evaluate, used = plane_programs.evaluation(level, lead)
        if max(made, used) > _native.MOST_TEMPORARIES:
            return None
        tree.add(level.opened, level.products, len(level.nodes), plane_programs.gathering(level), deal, evaluate)
    return tree


def deal_tables(
    mask: Source, n: int, spec: CompareSpec, less: tuple[Drawing, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The tables of n masks less what others draw of them, and the masks' signs; see reference_blocks.deal_tables."""
    if _tree(spec, True) is None or not drawable(less):
        return reference_blocks.deal_tables(mask, n, spec, less)
    size = blocks.sizes(spec, n)
    tables, sign = np.empty(size.tables, WORD), np.empty(size.sign, WORD)
    _native.deal_tables(mask, n, size.width, spec.drop, spec.width, spec.block, spec.equal, less, tables, sign)
    return tables, sign


def deal_products(spec: CompareSpec, number: int, n: int, masks: Source, less: tuple[Drawing, ...] = ()) -> np.ndarray:
    """The products of the masks of a level's opened planes; see reference_blocks.deal_products."""
    tree, size = _tree(spec, True), blocks.sizes(spec, n)
    if tree is None or not less:
        return reference_blocks.deal_products(spec, number, n, masks, less)
    out = np.empty(size.products[number], WORD)
    _native.deal_products(tree, number, n, size.width, masks, less, out)
    return out


class Climb:
    """See reference_blocks.Climb."""

    __slots__ = ("climb", "packed")

    def __init__(self, tree: _native.Tree, spec: CompareSpec, n: int) -> None:
        size = blocks.sizes(spec, n)
        self.climb, self.packed = _native.Climb(tree, n, size.width), size.packed

    def open(self, opened: np.ndarray, share: Source, mask: Source) -> np.ndarray:
        out = np.empty(self.climb.width, WORD)
        _native.climb(self.climb, np.ascontiguousarray(opened), share, mask, out)
        return out

    def close(self, opened: np.ndarray, share: Source) -> np.ndarray:
        out = np.empty(self.packed, WORD)
        _native.climbed(self.climb, np.ascontiguousarray(opened), share, out)
        return out


def climb(spec: CompareSpec, n: int, lead: bool) -> Climb | reference_blocks.Climb:
    """A party's way up the tree of a comparison; see reference_blocks.Climb."""
    tree = _tree(spec, lead)
    return reference_blocks.Climb(spec, n, lead) if tree is None else Climb(tree, spec, n)
