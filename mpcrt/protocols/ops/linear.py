"""Linear ops: local for all. [a x + b y] = a [x] + b [y]; the mask and the deferred term map as the value does.

A step "linear" carries its plan node. Operands beyond addition's are public coefficients, so at most one is secret; the
terms of add, xor and concat may each be public, a wire or PENDING. Wires alone give a wire: D and l map separately.
"""

from collections.abc import Sequence

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import Held, Rep
from mpcrt.protocols.rules import PLAINTEXT, Shape, Traffic, cost, dealer, online, plaintext
from mpcrt.protocols.shares import Fork, Mapped, Share, Wire, Zero
from mpcrt.ring import kernels

ADDITIVE = {"add", "xor", "concat"}


@plaintext("add")
def add(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.add(x, y)


@plaintext("neg")
def neg(node: Node, x: np.ndarray) -> np.ndarray:
    return np.negative(x)


@plaintext("sum")
def sum_(node: Node, x: np.ndarray) -> np.ndarray:
    return np.add.reduce(x, axis=node.attrs["axes"], dtype=np.uint64)


@plaintext("shift")
def shift(node: Node, x: np.ndarray) -> np.ndarray:
    return np.left_shift(x, np.uint64(node.attrs["bits"]))


@plaintext("scale")
def scale(node: Node, x: np.ndarray) -> np.ndarray:
    return x


@plaintext("xor")
def xor(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.bitwise_xor(x, y)


# -- one linear map on ring elements or packed bits


def shaped(array: np.ndarray, held: Held) -> np.ndarray:
    """A part as the plan op takes it: in its shape, bits unpacked."""
    if held.bit and array.dtype == np.uint64:
        array = kernels.unpack(array, held.type.size)
    return array.reshape(held.type.shape)


def packed(array: np.ndarray, held: Held) -> np.ndarray:
    """A result as readers hold it."""
    if not held.bit:
        return np.asarray(array, np.uint64)
    return kernels.pack(np.ascontiguousarray(array, np.uint8).reshape(-1))


def combine(ctx, parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The op on one part of each operand (None: zero); None where all of it is zero."""
    node: Node = ctx.attrs["node"]
    given = [p for p in parts if p is not None]
    secret = [p for p, h in zip(parts, ctx.operands, strict=True) if h.rep is not Rep.PUBLIC]
    if not given or (node.op not in ADDITIVE and all(p is None for p in secret)):
        return None
    if node.op == "add" and len(given) == 1:
        return given[0]
    if node.op == "xor":
        words = [p if p.dtype == np.uint64 else kernels.pack(np.ascontiguousarray(p).reshape(-1)) for p in given]
        return words[0] if len(words) == 1 else words[0] ^ words[1]
    kind = np.uint8 if ctx.result.bit else np.uint64
    arrays = [
        np.zeros(h.type.shape, kind) if p is None else shaped(p, h) for p, h in zip(parts, ctx.operands, strict=True)
    ]
    return packed(PLAINTEXT[node.op](node, *arrays), ctx.result)


def map_mask(ctx, masks: Sequence[Share | None]) -> Share:
    """The op on masks, lazily; public operands have none where they are terms, and stay as they are where
    coefficients."""
    size = ctx.result.type.size
    words = -(-size // 64) if ctx.result.bit else size
    secret = [m for m in masks if isinstance(m, Share) and not m.zero]
    if not secret:
        return Zero(words)

    def mapped(*arrays: np.ndarray) -> np.ndarray:
        left = iter(arrays)
        parts = [
            next(left) if isinstance(m, Share) and not m.zero else None if isinstance(m, Share) else m for m in masks
        ]
        result = combine(ctx, parts)
        return np.zeros(words, np.uint64) if result is None else result

    return Mapped(words, mapped, *secret)


def _masks(ctx, operands) -> list:
    additive = ctx.attrs["node"].op in ADDITIVE
    return [v.mask if isinstance(v, Wire) else None if additive else v for v in operands]


@online("linear")
def linear_online(ctx, *operands):
    if ctx.result.rep is Rep.PENDING:
        return zeros(ctx, combine(ctx, _coerced(ctx, operands, online_pending)))
    opened = combine(ctx, [v.opened if isinstance(v, Wire) else v for v in operands])
    if ctx.result.rep is Rep.OPENED:
        return Wire(opened, None)
    return Wire(opened, map_mask(ctx, _masks(ctx, operands)))


@dealer("linear")
def linear_dealer(ctx, *operands):
    if ctx.result.rep is Rep.PENDING:
        return combine(ctx, _coerced(ctx, operands, dealer_pending))
    return Wire(None, map_mask(ctx, _masks(ctx, operands)))


def _coerced(ctx, operands, coerce) -> list:
    additive = ctx.attrs["node"].op in ADDITIVE
    parts = []
    for v, h in zip(operands, ctx.operands, strict=True):
        coefficient = h.rep is Rep.PUBLIC and not additive
        parts.append(v if coefficient else coerce(ctx, v, h, ctx.result.deferred))
    return parts


def zeros(ctx, array: np.ndarray | None) -> np.ndarray:
    if array is not None:
        return array
    t = ctx.result.type
    return np.zeros(-(-t.size // 64) if ctx.result.bit else t.shape, np.uint64)


# -- to PENDING


def online_pending(ctx, v, held: Held, deferred: bool) -> np.ndarray | None:
    """My u_i of a value that is public, a wire or PENDING; None for zero. Without `deferred` the mask shares go in."""
    if held.rep is Rep.PENDING:
        return v
    if held.rep is Rep.PUBLIC:
        return v if ctx.lead else None
    if deferred or v.mask.zero:
        return v.opened if ctx.lead else None
    if held.bit:
        return v.mask.words() ^ v.opened if ctx.lead else v.mask.words()
    out = np.array(v.opened, order="C").reshape(-1) if ctx.lead else np.zeros(held.type.size, np.uint64)
    v.mask.subtract_from(out)
    return out.reshape(held.type.shape)


def dealer_pending(ctx, v, held: Held, deferred: bool) -> np.ndarray | None:
    """The deferred term of the same; None for zero."""
    if held.rep is Rep.PENDING:
        return v
    if held.rep is Rep.PUBLIC or not deferred or v.mask.zero:
        return None
    return v.mask.words() if held.bit else np.negative(v.mask.words()).reshape(held.type.shape)


@online("pending")
def pending_online(ctx, v):
    part = online_pending(ctx, v, ctx.operands[0], ctx.result.deferred)
    if part is not None and part.dtype == np.uint8:
        part = kernels.pack(np.ascontiguousarray(part).reshape(-1))
    return zeros(ctx, part)


@dealer("pending")
def pending_dealer(ctx, v):
    return dealer_pending(ctx, v, ctx.operands[0], ctx.result.deferred)


# -- layout of forks: D, l and the dealt shares all map


@online("map_fork")
@dealer("map_fork")
def map_fork(ctx, fork: Fork, *coefficients):
    opened = None if fork.wire.opened is None else combine(ctx, [fork.wire.opened, *coefficients])
    masks = [None if s is None else map_mask(ctx, [s, *coefficients]) for s in (fork.wire.mask, fork.top, fork.sign)]
    return Fork(Wire(opened, masks[0]), fork.bits, masks[1], masks[2])


@cost("linear", "pending", "map_fork", "public")
def free(shape: Shape) -> Traffic:
    return Traffic()
