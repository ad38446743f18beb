"""select: b x of a bit wire b = c ^ beta and x, local once the dealer has shared beta (`lift`) and beta times x's
masks.

With g = 1 - 2c, b = c + g beta. For x = A + sum of c_j a_j (a wire: D - l; a fork: P - R + q 2^(64-k) m):
  [b x] = A (c + g [beta]) + sum of c_j (c [a_j] + g [beta a_j]),
linear in dealer-shared values; 8 B from the dealer for beta, 8 B for beta l or beta R, 4 B for beta m.
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import Rep
from mpcrt.protocols.ops.bilinear import shifts, vector_bytes, width_of
from mpcrt.protocols.ops.bits import BETA, lift_cost, lift_dealer
from mpcrt.protocols.rules import Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Share, Wire, sign_source
from mpcrt.ring import kernels
from mpcrt.ring.sources import Source

PRODUCT = 1


@plaintext("select")
def select(node: Node, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.multiply(b, x, dtype=np.uint64)


@online("select")
def select_online(ctx, b: Wire, beta: Share, x) -> np.ndarray:
    return selected(ctx, b.opened, beta.source(), x)


def selected(ctx, c: np.ndarray, shared: Source, x) -> np.ndarray:
    """My share of b x; `shared`: of beta."""
    if ctx.operands[-1].rep is Rep.PUBLIC:
        return kernels.select(c, shared, ctx.lead, x, out=ctx.out)
    if isinstance(x, Wire):
        (crossed,) = ctx.portions([(PRODUCT, 8)])
        terms = [(x.mask.source(), crossed)]
        return kernels.select(c, shared, ctx.lead, x.opened, 0, terms, ctx.out)
    top, sign = ctx.portions([(PRODUCT, 8), (PRODUCT + 1, width_of(64 - x.bits))])
    terms = [(x.top.source(), top), (sign_source(x.sign, x.bits), sign)]
    return kernels.select(c, shared, ctx.lead, x.wire.opened, x.bits, terms, ctx.out)


@dealer("select")
def select_dealer(ctx, b: Wire, beta: None, x) -> None:
    if ctx.operands[-1].rep is Rep.PUBLIC:
        return
    if isinstance(x, Wire):
        ctx.deal_rows(x.mask, [(PRODUCT, 0, 8)], bits=b.mask.words())
    else:
        rows = [(PRODUCT, x.bits, 8), (PRODUCT + 1, 63, width_of(64 - x.bits))]
        ctx.deal_rows(x.wire.mask, rows, bits=b.mask.words())


@cost("select")
def select_cost(shape: Shape) -> Traffic:
    x = shape.operands[-1]
    if x.rep is Rep.PUBLIC:
        return Traffic()
    return Traffic((), sum(vector_bytes(shape.n, width_of(s)) for s in shifts(x)))


# -- lift_select: both in one, where nothing else uses beta


@online("lift_select")
def lift_select_online(ctx, b: Wire, x) -> np.ndarray:
    return selected(ctx, b.opened, ctx.portion(BETA, ctx.n), x)


@dealer("lift_select")
def lift_select_dealer(ctx, b: Wire, x) -> None:
    lift_dealer(ctx, b)
    select_dealer(ctx, b, None, x)


@cost("lift_select")
def lift_select_cost(shape: Shape) -> Traffic:
    return Traffic((), lift_cost(shape).dealt + select_cost(shape).dealt)
