"""Bits are xor-shared and packed. Opening masked is `expose` (exposure.py): b ^ beta = c, 1 round, 1 bit.

and: [b d] = c_b c_d ^ c_b [beta_d] ^ c_d [beta_b] ^ beta_b beta_d, the last term deferred: local on wires with mask
shares. lift: the dealer shares a wire's beta in the ring, 8 B, once a wire; what makes ring elements of bits.
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.protocols.rules import Shape, Traffic, assemble, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Share, Wire, joined

BETA = 0


@plaintext("and")
def and_(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.bitwise_and(x, y)


@online("and")
def and_online(ctx, x: Wire, y: Wire):
    out = x.opened & y.mask.words()
    out ^= y.opened & x.mask.words()
    if ctx.lead:
        out ^= x.opened & y.opened
    return out


@dealer("and")
def and_dealer(ctx, x: Wire, y: Wire):
    return x.mask.words() & y.mask.words()


@cost("and")
def and_cost(shape: Shape) -> Traffic:
    return Traffic()


@online("lift")
def lift_online(ctx, b: Wire) -> Share:
    return ctx.dealt(BETA, ctx.n)


@assemble("online", "lift")
def lift_share(ctx, pieces, b: Wire) -> Share:
    return joined(pieces)


@dealer("lift")
def lift_dealer(ctx, b: Wire) -> None:
    ctx.deal_rows(None, [(BETA, 0, 8)], bits=b.mask.words())


@cost("lift")
def lift_cost(shape: Shape) -> Traffic:
    return Traffic((), 8 * shape.n)
