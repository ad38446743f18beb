"""onehot of a secret index: the mask's one-hot, rotated by the public D; local once the dealer has shared it.

With a power of two p >= 2 depth:
1. The dealer shares E, E[u] = [l = u mod p]: 8 p bytes an index.
2. A party reads its share of E at D - v, for every v: x = v exactly where l = D - v (mod p).
Precondition: -depth <= x < 2 depth, beyond which values would come around; those outside 0 .. depth - 1 give zeros.
No round; nothing is opened. What a party sees are its shares of E.
"""

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.protocols.rules import Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Wire

HOT = 0


def period(depth: int) -> int:
    """The power of two that the rotation is modulo: the window -depth .. 2 depth - 1 fits in it or next to it."""
    return 1 << (2 * depth - 1).bit_length()


@plaintext("onehot")
def onehot(node: Node, x: np.ndarray) -> np.ndarray:
    return (x[..., None] == np.arange(node.attrs["depth"], dtype=np.uint64)).astype(np.uint64)


@online("onehot")
def onehot_online(ctx, wire: Wire) -> np.ndarray:
    depth, p = ctx.attrs["depth"], period(ctx.attrs["depth"])
    opened = np.reshape(wire.opened, (-1, 1))  # type: ignore[arg-type]
    hot = ctx.dealt(HOT, opened.size * p).words().reshape(-1, p)
    at = (opened - np.arange(depth, dtype=np.uint64)) & np.uint64(p - 1)
    return np.take_along_axis(hot, at.astype(np.intp), 1).reshape(ctx.result.type.shape)


@dealer("onehot")
def onehot_dealer(ctx, wire: Wire) -> None:
    p = period(ctx.attrs["depth"])
    mask = wire.mask.words()  # type: ignore[union-attr]
    hot = np.zeros((mask.size, p), np.uint64)
    hot[np.arange(mask.size), (mask & np.uint64(p - 1)).astype(np.intp)] = 1
    ctx.deal(HOT, hot)


@cost("onehot")
def onehot_cost(shape: Shape) -> Traffic:
    depth = shape.attrs["depth"]
    return Traffic((), 8 * (shape.n // depth) * period(depth))
