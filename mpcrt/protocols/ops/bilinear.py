"""mul, dot and conv of two masked wires; products of forks.

1. [x y] = D_x D_y - D_x [l_y] - [l_x] D_y + [l_x l_y], the first term at one party.
2. The last term is dealer-known: it is deferred, and absorbed in the mask of the next opening (r = s - l_x l_y).
Local: no rounds, no bytes. A party without a share of a mask (an owner-held one) skips its product, and the owner of
x adds D_x D_y, so that it computes (D_x - l_x) D_y at once: two owners' values need 3 products in all, dealer
included, not 5. The owner of y alone (x any wire, dot and conv) adds its own [l_x] l_y too: (D_x - [l_x]) y is one
product, and the dealer's term is that of the other parties' shares of l_x. ABY2.0, ePrint 2020/1225, section 3.1, with
a dealer in place of the setup.

Elementwise products of forks (truncated wires) expand over their terms (`dealer_form`); the dealer shares the
product of each pair of dealer-known vectors, but the one of (R_x or l_x)(R_y or l_y), which is deferred. Saves the
round of a re-mask.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import Held, Rep
from mpcrt.protocols.context import row_words
from mpcrt.protocols.ops.exposure import MASK
from mpcrt.protocols.rules import Fixed, Shape, Traffic, assemble, cost, dealer, facts, online, plaintext
from mpcrt.protocols.shares import Fork, Known, Wire, sign_source
from mpcrt.ring import kernels
from mpcrt.ring.reference_steps import Factor

PRODUCT = 16
"""First role of dealt products of form terms."""


@plaintext("mul")
def mul(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.multiply(x, y)


@plaintext("dot")
def dot(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return kernels.matmul(x, y)


@plaintext("conv")
def conv(node: Node, x: np.ndarray, k: np.ndarray) -> np.ndarray:
    a = node.attrs
    padding = tuple(zip(a["padding"][::2], a["padding"][1::2], strict=True))
    return kernels.conv(
        x, k, strides=a["strides"], padding=padding, lhs_dilation=a["lhs_dilation"], rhs_dilation=a["rhs_dilation"],
        groups=a["groups"],
    )  # fmt: skip


TIMES: dict[str, Callable[..., np.ndarray]] = {"mul": mul, "dot": dot, "conv": conv}


@online("product")
def product_online(ctx, x: Wire, y: Wire):
    node: Node = ctx.attrs["node"]
    times = TIMES[node.op]
    knows = ctx.operands[0].holder == ctx.run.me
    clear = picked if knows and node.attrs.get("picks") else times
    if owner(ctx) == ctx.run.me:
        return np.asarray(clear(node, *(_less(w, h.type.shape) for w, h in zip((x, y), ctx.operands, strict=True))))
    return cross(times, clear, node, ctx.leads(ctx.attrs["lead"]), x, y, ctx.operands)


def picked(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x y where a party knows that the rows of x are one-hot or zero, and which: all of x is read, and a row of y for
    each, so that the work is the same whatever they are."""
    at = x.argmax(axis=2)[..., None]
    return np.take_along_axis(y, at, axis=1) * np.take_along_axis(x, at, axis=2)


def owner(ctx) -> str | None:
    """The computing party that holds one operand's whole mask, where no one holds the other's."""
    lead = ctx.attrs["lead"]
    return lead if ctx.attrs["owned"] is not None and lead in ctx.run.parties else None


def cross(times, clear, node: Node, lead: bool, x: Wire, y: Wire, held) -> np.ndarray:
    """lead D_x D_y - D_x l_y - l_x D_y with my mask shares, in at most two products.

    The lead's first term goes into the product that multiplies the smaller operand's mask: (D - l) is formed there.
    `clear` multiplies by D - l of x, `times` by anything.
    """
    shape_x, shape_y = held[0].type.shape, held[1].type.shape
    if not lead:
        parts = []
        if not x.mask.zero:
            parts.append(np.asarray(times(node, x.mask.shaped(shape_x), y.opened)))
        if not y.mask.zero:
            parts.append(np.asarray(times(node, x.opened, y.mask.shaped(shape_y))))
        if not parts:
            return np.zeros(node.results[0].shape, np.uint64)
        for part in parts[1:]:
            parts[0] += part
        return np.negative(parts[0], out=parts[0])
    if y.mask.zero or (not x.mask.zero and held[0].type.size <= held[1].type.size):
        out = np.asarray(clear(node, _less(x, shape_x), y.opened))
        if not y.mask.zero:
            out -= times(node, x.opened, y.mask.shaped(shape_y))
    else:
        out = np.asarray(times(node, x.opened, _less(y, shape_y)))
        if not x.mask.zero:
            out -= times(node, x.mask.shaped(shape_x), y.opened)
    return out


def _less(x: Wire, shape: tuple[int, ...]) -> np.ndarray:
    """D - l: at the owner of the whole mask the value."""
    if x.plain is not None:
        return x.plain
    out = np.array(x.opened, order="C").ravel()
    x.mask.subtract_from(out)
    return out.reshape(shape)


@dealer("product")
def product_dealer(ctx, x: Wire, y: Wire):
    if x.mask.zero or y.mask.zero:
        return None
    node: Node = ctx.attrs["node"]
    masks, party = [x.mask, y.mask], owner(ctx)
    if party is not None:
        other = 1 - ctx.attrs["owned"]
        masks[other] = masks[other].without(ctx.run.parties.index(party))
    lx, ly = (m.shaped(h.type.shape) for m, h in zip(masks, ctx.operands, strict=True))
    return np.asarray(TIMES[node.op](node, lx, ly))


@cost("product")
def product_cost(shape: Shape) -> Traffic:
    return Traffic()


# -- expose_product: an elementwise product and its exposure in one, chunk by chunk


@online("expose_product")
def expose_product_online(ctx, x: Wire, y: Wire):
    lead, mask = ctx.leads(ctx.attrs["lead"]), ctx.fresh(MASK, ctx.n)
    share = kernels.cross(x.opened, y.opened, x.mask.source(), y.mask.source(), mask, lead)
    return ctx.opening(share, out=ctx.out)


@assemble("online", "expose_product")
def exposed_product(ctx, opened) -> Wire:
    return Wire(opened, None)


@dealer("expose_product")
def expose_product_dealer(ctx, x: Wire, y: Wire):
    return kernels.absorb(x.mask.source(), y.mask.source(), ctx.masks(MASK), ctx.space())


@assemble("dealer", "expose_product")
def exposed_product_mask(ctx, mask) -> Wire:
    return Wire(None, Known(mask.reshape(-1)))


@cost("expose_product")
def expose_product_cost(shape: Shape) -> Traffic:
    return Traffic((8 * shape.n,))


# -- elementwise products of forms


def width_of(shift: int) -> int:
    """Bytes of a share of a vector that counts modulo 2^(64 - shift) only."""
    return 4 if shift >= 32 else 8


def factor(value: Wire | Fork) -> Factor:
    """What a product's kernel takes of it."""
    if isinstance(value, Wire):
        return value.opened, 0, value.mask.source(), None
    return value.wire.opened, value.bits, value.top.source(), sign_source(value.sign, value.bits)


def dealer_form(value: Wire | Fork) -> list[np.ndarray]:
    """The vectors a_j at the dealer, of A + sum of c_j a_j: a wire is D - l; a fork is P - R + q 2^(64-k) m."""
    if isinstance(value, Wire):
        return [value.mask.words()]
    mask = value.wire.mask.words()
    return [mask >> np.uint64(value.bits), mask >> np.uint64(63)]


def shifts(held: Held) -> tuple[int, ...]:
    """What the vectors of a form are multiples of: 2^shift."""
    return (0, 64 - held.bits) if held.rep is Rep.FORKED else (0,)


@cache
def pairs(x: tuple[int, ...], y: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """(i, j, width) of the term products that the dealer shares: not the deferred first, nor multiples of 2^64."""
    found = [(i, j, a + b) for i, a in enumerate(x) for j, b in enumerate(y)]
    return tuple((i, j, width_of(shift)) for i, j, shift in found if (i or j) and shift < 64)


@facts("multiply")
def term_products(fixed: Fixed) -> list[tuple[int, tuple[int, int, int]]]:
    """The roles of the term products that the dealer shares, and `pairs` of them."""
    return list(enumerate(pairs(*map(shifts, fixed.operands)), PRODUCT))


@online("multiply")
def multiply_online(ctx, x, y):
    """[x] A_y + A_x [y - A_y], and the products of terms that the dealer shares."""
    products = []
    for role, (i, j, width) in ctx.facts:
        products.append((i, j, width == 4, ctx.portion(role, row_words(ctx.n, width), 8 * width)))
    return kernels.multiply(factor(x), factor(y), products, ctx.lead, ctx.out)


@dealer("multiply")
def multiply_dealer(ctx, x, y):
    tx, ty = dealer_form(x), dealer_form(y)
    for role, (i, j, width) in ctx.facts:
        ctx.deal(role, tx[i] * ty[j], width)
    return tx[0] * ty[0]


@cost("multiply")
def multiply_cost(shape: Shape) -> Traffic:
    return Traffic((), sum(vector_bytes(shape.n, w) for _, _, w in pairs(*map(shifts, shape.operands))))


def vector_bytes(n: int, width: int) -> int:
    """Payload of a dealt vector: whole words."""
    return 8 * n if width == 8 else 8 * ((n + 1) // 2)
