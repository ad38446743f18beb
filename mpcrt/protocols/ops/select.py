"""select: b x of a bit wire b = c ^ beta and x, local once the dealer has shared beta (`lift`) and beta times x's
masks.

With g = 1 - 2c, b = c + g beta. For x = A + sum of c_j a_j (a wire: D - l; a fork: P - R + q 2^(64-k) m):
  [b x] = A (c + g [beta]) + sum of c_j (c [a_j] + g [beta a_j]),
linear in dealer-shared values; 8 B from the dealer for beta, 8 B for beta l or beta R, 4 B for beta m.
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import Rep
from mpcrt.protocols.ops.bilinear import dealer_form, form, shifts, vector_bytes, width_of
from mpcrt.protocols.rules import Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Narrow, Share, Wire
from mpcrt.ring import kernels

PRODUCT = 1


@plaintext("select")
def select(node: Node, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.multiply(b, x, dtype=np.uint64)


@online("select")
def select_online(ctx, b: Wire, beta: Share, x):
    if ctx.operands[2].rep is Rep.PUBLIC:
        return kernels.select(b.opened, beta.words(), ctx.lead, x)
    public, forms = form(x)
    terms = []
    for role, (term, shift) in enumerate(zip(forms, shifts(ctx.operands[2]), strict=True), PRODUCT):
        crossed = values_of(ctx.dealt(role, ctx.n, width_of(shift)))
        terms.append((values_of(term.vector), crossed, term.coefficient))
    return kernels.select(b.opened, beta.words(), ctx.lead, public, terms)


def values_of(share: Share) -> np.ndarray:
    """The share's values, 32-bit ones as they are."""
    return share.narrow() if isinstance(share, Narrow) else share.words()


@dealer("select")
def select_dealer(ctx, b: Wire, beta: Share, x):
    if ctx.operands[2].rep is Rep.PUBLIC:
        return
    words = beta.words()
    for role, (term, shift) in enumerate(zip(dealer_form(x), shifts(ctx.operands[2]), strict=True), PRODUCT):
        ctx.deal(role, words * term.vector, width_of(shift))


@cost("select")
def select_cost(shape: Shape) -> Traffic:
    x = shape.operands[2]
    if x.rep is Rep.PUBLIC:
        return Traffic()
    return Traffic((), sum(vector_bytes(shape.n, width_of(s)) for s in shifts(x)))
