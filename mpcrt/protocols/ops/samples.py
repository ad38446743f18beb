"""samples: a smooth function of a wire by dealer samples over a public basis; local once the dealer has shared them.

1. From l the dealer computes the samples S_i[v], for every value v of D's top bits, and shares them.
2. A party evaluates the public phi_i(D_low) and adds up phi_i [S_i[D_top]] of its shares; one adds the constant.
Errors and bounds: ring/samples.py. No round; 8 B from the dealer a sample: entries x terms an element.
The plaintext reader takes the mask 0, so its last bits differ from a run's by the rounding of the samples.
"""

from functools import cache

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.plan import Node
from mpcrt.protocols.rules import Fixed, Shape, Traffic, cost, dealer, facts, online, plaintext
from mpcrt.protocols.shares import Wire
from mpcrt.ring import kernels, samples

SAMPLES = 0


@cache
def basis_of(function: str, parameters: tuple, fraction: int) -> samples.Basis:
    try:
        return samples.parse(function, parameters, fraction)
    except ValueError as error:
        raise ProtocolError(str(error)) from None


def basis(attrs: dict) -> samples.Basis:
    return basis_of(attrs["function"], attrs["parameters"], attrs["fraction"])


@plaintext("samples")
def plain(node: Node, x: np.ndarray) -> np.ndarray:
    b = basis(node.attrs)
    d = np.ascontiguousarray(x).reshape(-1)
    out = kernels.evaluate_samples(b, d, kernels.deal_samples(b, np.zeros_like(d), d.size))
    out += np.uint64(b.constant % 2**64)
    return out.reshape(x.shape)


@facts("samples")
def sampled(fixed: Fixed) -> tuple[samples.Basis, int]:
    """The basis, and its samples an element."""
    b = basis(fixed.attrs)
    return b, samples.words(b)


@online("samples")
def samples_online(ctx, wire: Wire) -> np.ndarray:
    b, words = ctx.facts
    share = ctx.portion(SAMPLES, words * ctx.n, 64 * words)
    out = kernels.evaluate_samples(b, wire.opened, share, ctx.out)
    if ctx.lead and b.constant:
        out += np.uint64(b.constant % 2**64)
    return out


@dealer("samples")
def samples_dealer(ctx, wire: Wire) -> None:
    b, words = ctx.facts
    less = ctx.drawing(SAMPLES, words * ctx.n, 64 * words)
    ctx.correct(kernels.deal_samples(b, wire.mask.source(), ctx.n, less).reshape(-1))


@cost("samples")
def samples_cost(shape: Shape) -> Traffic:
    return Traffic((), 8 * samples.words(basis(shape.attrs)) * shape.n)
