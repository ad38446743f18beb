"""Truncation, and the dealer's corrections that turn one representation into another.

Truncation is local on a wire z with D = z + l, |z| < 2^62: with c = 2^62 and D' = D + c
  floor(z / 2^k) + coin = P - R + q 2^(64-k) m,   P = (D' >> k) - (c >> k),  q = 1 - msb(D'),  R = l >> k,  m = msb(l);
the sum z + c is below 2^63, so D' wraps around exactly where m = 1 and msb(D') = 0. The coin is [z mod 2^k > D' mod
2^k]: public, uniform rounding up or down, error in {0, 1} ulp. ePrint 2020/338.
The dealer never sees D, so q stays with the parties: it shares m (modulo 2^k: 4 B for k <= 32) and, where it is not
left deferred, R (8 B).
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.protocols.rules import Fixed, Shape, Traffic, assemble, cost, dealer, local, online, plaintext
from mpcrt.protocols.shares import Dealt, Fork, Wire, joined, sign_source
from mpcrt.ring import kernels

SHARES, TOP, SIGN = 1, 2, 3  # roles


@plaintext("truncate")
def truncate(node: Node, x: np.ndarray) -> np.ndarray:
    return np.right_shift(x.view(np.int64), np.int64(node.attrs["bits"])).view(np.uint64)


# -- mask_shares: OPENED -> MASKED


@online("mask_shares")
def mask_shares_online(ctx, wire: Wire):
    if ctx.result.bit:
        return ctx.dealt(SHARES, ctx.words, per=1, xor=True)
    return ctx.dealt(SHARES, ctx.n)


@assemble("online", "mask_shares")
def mask_shares_wire(ctx, pieces, wire: Wire) -> Wire:
    return Wire(wire.opened, joined(pieces))


@dealer("mask_shares")
def mask_shares_dealer(ctx, wire: Wire):
    if ctx.result.bit:
        ctx.deal(SHARES, wire.mask.words().copy(), per=1, xor=True)
        return None
    ctx.deal_rows(wire.mask, [(SHARES, 0, 8)])
    return ctx.dealing(SHARES)


@assemble("dealer", "mask_shares")
def mask_shares_mask(ctx, chunks, wire: Wire) -> Wire:
    return wire if chunks is None else Wire(None, Dealt(wire.mask, ctx.run.prgs, chunks))


@cost("mask_shares", "resolve")
def correction_cost(shape: Shape) -> Traffic:
    return Traffic((), 8 * (shape.words if shape.result.bit else shape.n))


# -- resolve: the deferred term becomes shares


@online("resolve")
def resolve_online(ctx, u):
    if ctx.result.bit:
        return u ^ ctx.dealt(SHARES, ctx.words, per=1, xor=True).words()
    return u + ctx.dealt(SHARES, ctx.n).words()


@dealer("resolve")
def resolve_dealer(ctx, deferred):
    bit = ctx.result.bit
    count = ctx.words if bit else ctx.n
    values = np.zeros(count, np.uint64) if deferred is None else np.array(deferred, order="C")
    ctx.deal(SHARES, values, per=1 if bit else 64, xor=bit)


# -- forks


local("fork", "base", "unfork")


@online("fork")
@dealer("fork")
def fork(fixed: Fixed):
    bits = fixed.attrs["bits"]
    return lambda wire: Fork(wire, bits)


@online("base")
@dealer("base")
def base(fixed: Fixed):
    """The wire z that a fork truncates."""
    return lambda value: value.wire


@online("fork_shares")
def fork_shares_online(ctx, value: Fork):
    return ctx.dealt_rows([(TOP, 8), (SIGN, _width(ctx.attrs["bits"]))])


@assemble("online", "fork_shares")
def forked(ctx, pieces, value: Fork) -> Fork:
    return Fork(value.wire, value.bits, joined([p[0] for p in pieces]), joined([p[1] for p in pieces]))


@dealer("fork_shares")
def fork_shares_dealer(ctx, value: Fork):
    ctx.deal_rows(value.wire.mask, [(TOP, value.bits, 8), (SIGN, 63, _width(value.bits))])


@assemble("dealer", "fork_shares")
def forked_mask(ctx, pieces, value: Fork) -> Fork:
    """R and m follow from the mask; they are kept so that enlarging layouts map the small ones."""
    return value


@cost("fork_shares", "settle")
def fork_shares_cost(shape: Shape) -> Traffic:
    return Traffic((), 8 * shape.n + _bytes(shape.n, shape.attrs["bits"]))


@online("unfork")
def unfork_online(fixed: Fixed):
    """P - [R] + q 2^(64-k) [m] from shared R and m."""

    def shares(value: Fork):
        sign = sign_source(value.sign, value.bits)
        settled = kernels.settle(value.wire.opened, value.bits, sign, value.top.source(), fixed.lead)
        return settled.reshape(fixed.result.type.shape)

    return shares


@dealer("unfork")
def unfork_dealer(fixed: Fixed):
    return lambda value: None


@cost("fork", "unfork", "base")
def fork_cost(shape: Shape) -> Traffic:
    return Traffic()


# -- settle: fork_shares and unfork in one, where nothing else uses the shares of R and m


@online("settle")
def settle_online(ctx, value: Fork):
    top, sign = ctx.portions([(TOP, 8), (SIGN, _width(value.bits))])
    return kernels.settle(value.wire.opened, value.bits, sign, top, ctx.lead, ctx.out)


@dealer("settle")
def settle_dealer(ctx, value: Fork):
    fork_shares_dealer(ctx, value)


@online("join")
def join_online(ctx, value: Fork):
    """P + q 2^(64-k) [m]; -R stays deferred."""
    (sign,) = ctx.portions([(SIGN, _width(value.bits))])
    return kernels.settle(value.wire.opened, value.bits, sign, None, ctx.lead, ctx.out)


@dealer("join")
def join_dealer(ctx, value: Fork):
    ctx.deal_rows(value.wire.mask, [(SIGN, 63, _width(value.bits))])
    return np.negative(value.wire.mask.words() >> np.uint64(value.bits))


@cost("join")
def join_cost(shape: Shape) -> Traffic:
    return Traffic((), _bytes(shape.n, shape.attrs["bits"]))


def _width(bits: int) -> int:
    return 4 if bits <= 32 else 8


def _bytes(n: int, bits: int) -> int:
    return 8 * n if bits > 32 else 8 * ((n + 1) // 2)
