"""expose: PENDING -> a wire. 1 round, 8 B a party (1 bit for bits).

Parties open u_i + s_i with fresh shares s_i from PRGs, so D = x + l with l = s - L, where L is the deferred term:
MASKED where L = 0, else OPENED. Orca, ePrint 2023/206; the product's correction is absorbed in the mask.
Most values are exposed as soon as they are made and for nothing else: their step does both (`Step.exposes`), what its
own rule makes of a chunk is masked and leaves while the next is computed. `followed` puts the two rules together.
"""

from collections.abc import Callable
from inspect import isgeneratorfunction
from typing import Any

from mpcrt.protocols.rules import Shape, Traffic, assemble, cost, dealer, online
from mpcrt.protocols.shares import Known, Wire

MASK = 255
"""Role of an exposure's masks; the rules that it may follow in a step use lower ones."""


@online("expose")
def expose_online(ctx, u):
    return (ctx.open_bits if ctx.result.bit else ctx.open)(u, MASK, ctx.out)


@assemble("online", "expose")
def expose_wire(ctx, opened) -> Wire:
    mask = None
    if ctx.result.rep == "masked":
        size, per = (ctx.words, 1) if ctx.result.bit else (ctx.step.size, 64)
        mask = ctx.drawn(MASK, size, per, xor=ctx.result.bit)
    return Wire(opened, mask)


@dealer("expose")
def expose_dealer(ctx, deferred):
    """l = s - L; drawn again at each use where L = 0."""
    if ctx.result.rep == "masked" or deferred is None:
        return None
    if ctx.result.bit:
        mask = ctx.mask(MASK, ctx.words, per=1, xor=True)
        mask ^= deferred
        return mask
    mask = ctx.space()
    ctx.drawn(MASK, ctx.n).fill(mask)
    mask -= deferred.reshape(-1)
    return mask


@assemble("dealer", "expose")
def expose_mask(ctx, mask) -> Wire:
    if mask is not None:
        return Wire(None, Known(mask.ravel()))
    size, per = (ctx.words, 1) if ctx.result.bit else (ctx.step.size, 64)
    return Wire(None, ctx.drawn(MASK, size, per, xor=ctx.result.bit))


@cost("expose")
def expose_cost(shape: Shape) -> Traffic:
    return Traffic((8 * (shape.words if shape.result.bit else shape.n),))


def followed(first: Callable[..., Any], local: bool, expose: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a step that exposes what `first`, its own rule, makes; `local`: of operands alone."""
    if local:
        return lambda ctx, *operands: expose(ctx, first(*operands))
    if not isgeneratorfunction(first):
        return lambda ctx, *operands: expose(ctx, first(ctx, *operands))

    def both(ctx, *operands):
        making = first(ctx, *operands)
        del operands  # they are not needed while the exposure travels
        result = expose(ctx, (yield from making))
        return (yield result) if result is ctx else result

    return both
