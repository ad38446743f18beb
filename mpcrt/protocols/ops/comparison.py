"""msb and eqz of a wire: block tables and a tree of AND nodes on bit planes (ring/blocks.py), 2 rounds.

From D = x + l, with p = drop + bits - 1 the sign's position and D_low, l_low the bits drop .. p - 1:
  sign = bit p of D ^ bit p of l ^ [D_low < l_low].
1. The dealer xor-shares, for each 4-bit block j of l, a 16-bit table whose bit v says v < l_j; a party reads bit D_j
of its share: a share of lt_j, and eq_j = lt_j(D_j) ^ lt_j(D_j - 1) ^ [D_j = 0].
2. Two levels of a radix-4 tree: each opens its children's bits masked, and uses dealer-shared products of the masks.
3. Bit p of D is added by one party; bit p of l stays with the dealer as the deferred term of the xor sharing.
Nothing but uniformly masked bits is opened. With `drop`, bits below it are ignored: the borrow from them is the
public coin of a truncation by `drop` bits, so the sign is exactly that of the truncated value.
63 / 47 / 32 compared bits: 33 / 25 / 16 bits a party; 44.1 / 32.6 / 19 B from the dealer an element.
eqz: the tables say v = l_j, the tree ANDs.
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.protocols.rules import Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.ring import blocks, kernels

TABLES, LEVEL, PRODUCTS = 0, 32, 64  # roles; a level's opening is LEVEL + its number


@plaintext("msb")
def msb(node: Node, x: np.ndarray) -> np.ndarray:
    """[x < 0] as the sign bit of the window: bit drop + bits - 1."""
    return ((x >> np.uint64(node.attrs["drop"] + node.attrs["bits"] - 1)) & np.uint64(1)).astype(np.uint8)


@plaintext("eqz")
def eqz(node: Node, x: np.ndarray) -> np.ndarray:
    return (x << np.uint64(64 - node.attrs["bits"]) == 0).astype(np.uint8)


@online("msb", "eqz")
def compare_online(ctx, wire):
    spec: blocks.CompareSpec = ctx.attrs["spec"]
    size, climb = blocks.sizes(spec, ctx.n), kernels.climb(spec, ctx.n, ctx.lead)
    opened, share = wire.opened, ctx.portion(TABLES, size.tables, spec.table_words)
    for number, planes in enumerate(spec.opened):
        mask = ctx.fresh(LEVEL + number, size.opened[number], planes)
        opened = yield ctx.opening(climb.open(opened, share, mask), xor=True)
        share = ctx.portion(PRODUCTS + number, size.products[number], spec.products[number])
    return climb.close(opened, share)


@dealer("msb", "eqz")
def compare_dealer(ctx, wire):
    spec: blocks.CompareSpec = ctx.attrs["spec"]
    size = blocks.sizes(spec, ctx.n)
    less = ctx.drawing(TABLES, size.tables, spec.table_words)
    tables, sign = kernels.deal_tables(wire.mask.source(), ctx.n, spec, less)
    ctx.correct(tables)
    for number, planes in enumerate(spec.opened):
        masks = ctx.masks(LEVEL + number, planes)
        yield
        less = ctx.drawing(PRODUCTS + number, size.products[number], spec.products[number])
        ctx.correct(kernels.deal_products(spec, number, ctx.n, masks, less))
    return None if spec.equal else sign


@cost("msb", "eqz")
def compare_cost(shape: Shape) -> Traffic:
    spec: blocks.CompareSpec = shape.attrs["spec"]
    size = blocks.sizes(spec, shape.n)
    return Traffic(tuple(8 * n for n in size.opened), 8 * (size.tables + sum(size.products)))
