"""Linear ops: local for all. [a x + b y] = a [x] + b [y]; the mask and the deferred term map as the value does.

A step "linear" carries its plan node. Operands beyond addition's are public coefficients, so at most one is secret; the
terms of add, xor and concat may each be public, a wire or PENDING. Wires alone give a wire: D and l map separately.
The function of a step is made once a schedule, so that a step costs little more than NumPy's work.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from mpcrt.plan.plan import Node
from mpcrt.plan.schedule import Held, Rep
from mpcrt.protocols.rules import PLAINTEXT, Fixed, Shape, Traffic, cost, dealer, local, online, plaintext
from mpcrt.protocols.shares import Fork, Mapped, Share, Wire, Zero
from mpcrt.ring import kernels

ADDITIVE = {"add", "xor", "concat"}
SMALL = 1 << 12
"""Elements up to which a broadcast is written out: that takes less than making a view does."""

Part = np.ndarray | None
"""What an op makes of its operands: an array, in shape or flat; None is zero."""

local("linear", "pending", "map_fork")


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


def mapping(fixed: Fixed) -> Callable[..., Part]:
    """The op on one part of each operand, None where all of it is zero; bits are packed words or bytes."""
    node: Node = fixed.attrs["node"]
    if node.op == "add":
        return added
    if node.op == "xor":
        return xored
    if node.op == "mul":
        return partial(multiplied, *(h.type.shape for h in fixed.operands))
    if len(fixed.operands) == 1 and not fixed.result.bit:
        return unary(node, fixed.operands[0])
    return partial(combined, node, fixed)


def added(x: Part, y: Part) -> Part:
    if x is None or y is None:
        return y if x is None else x
    return np.add(x, y if y.shape == x.shape else y.reshape(x.shape))


def multiplied(shape_x: tuple[int, ...], shape_y: tuple[int, ...], x: Part, y: Part) -> Part:
    """A product with a public coefficient."""
    if x is None or y is None:
        return None
    return np.asarray(np.multiply(x if x.shape == shape_x else x.reshape(shape_x), y.reshape(shape_y)))


def xored(x: Part, y: Part) -> Part:
    words = [p if p.dtype == np.uint64 else packed_bits(p) for p in (x, y) if p is not None]
    return words[0] ^ words[1] if len(words) == 2 else words[0] if words else None


def unary(node: Node, held: Held) -> Callable[[Part], Part]:
    """An op of one operand, on ring elements."""
    given, shape = held.type.shape, node.results[0].shape
    function: Callable[[np.ndarray], np.ndarray] = partial(PLAINTEXT[node.op], node)
    match node.op:
        case "reshape":
            return lambda x: None if x is None else x.reshape(shape)
        case "scale":
            return lambda x: x
        case "neg":
            return lambda x: None if x is None else np.negative(x)
        case "shift":
            bits = np.uint64(node.attrs["bits"])
            return lambda x: None if x is None else np.left_shift(x, bits)
        case "sum":
            axes = node.attrs["axes"]
            function = lambda x: np.add.reduce(x, axis=axes)  # noqa: E731
        case "transpose":
            permutation = node.attrs["permutation"]
            function = lambda x: x.transpose(permutation)  # noqa: E731
        case "slice":
            a = node.attrs
            cut = tuple(slice(*range_) for range_ in zip(a["start"], a["limit"], a["stride"], strict=True))
            function = lambda x: x[cut]  # noqa: E731
        case "broadcast" if node.results[0].size <= SMALL:
            wide = [1] * len(shape)
            for n, d in zip(given, node.attrs["dims"], strict=True):
                wide[d] = n
            function = partial(spread, tuple(wide), shape)
    return lambda x: None if x is None else np.asarray(function(x if x.shape == given else x.reshape(given)))


def spread(wide: tuple[int, ...], shape: tuple[int, ...], x: np.ndarray) -> np.ndarray:
    out = np.empty(shape, np.uint64)
    out[...] = x.reshape(wide)
    return out


def combined(node: Node, fixed: Fixed, *parts: Part) -> Part:
    """Any op."""
    secret = [p for p, h in zip(parts, fixed.operands, strict=True) if h.rep is not Rep.PUBLIC]
    if all(p is None for p in (parts if node.op in ADDITIVE else secret)):
        return None
    bit = fixed.result.bit
    if bit and node.op == "reshape" and parts[0] is not None and parts[0].dtype == np.uint64:
        return parts[0]
    kind = np.uint8 if bit else np.uint64
    arrays = [
        np.zeros(h.type.shape, kind) if p is None else shaped(p, h) for p, h in zip(parts, fixed.operands, strict=True)
    ]
    result = PLAINTEXT[node.op](node, *arrays)
    return packed_bits(result) if bit else np.asarray(result, np.uint64)


def shaped(array: np.ndarray, held: Held) -> np.ndarray:
    """A part as the plan op takes it: in its shape, bits unpacked."""
    if held.bit and array.dtype == np.uint64:
        array = kernels.unpack(array, held.type.size)
    return array.reshape(held.type.shape)


def packed_bits(array: np.ndarray) -> np.ndarray:
    return kernels.pack(np.ascontiguousarray(array, np.uint8).reshape(-1))


def mask_mapping(fixed: Fixed, apply: Callable[..., Part]) -> Callable[..., Share]:
    """The op on masks, lazily. A public operand's mask is none; where it is a coefficient, it stays as it is."""
    size = fixed.result.type.size
    words = -(-size // 64) if fixed.result.bit else size
    op = fixed.attrs["node"].op
    same = op in ("reshape", "scale") or (op in ("add", "xor") and public(fixed).count(False) == 1)
    terms = public(fixed) if op in ADDITIVE else (False,) * len(fixed.operands)

    def masks(*given) -> Share:
        """`given`: the mask of each operand that is secret, the array of each that is public."""
        parts = [None if term else m for m, term in zip(given, terms, strict=True)]
        secret = [m for m in parts if isinstance(m, Share) and not m.zero]
        if not secret:
            return Zero(words)
        if same:
            return secret[0]
        if len(secret) == len(parts):
            return Mapped(words, apply, *secret)  # type: ignore[arg-type]  # None is made of nothing but Nones

        def mapped(*arrays: np.ndarray) -> np.ndarray:
            left = iter(arrays)
            made = apply(*((None if m.zero else next(left)) if isinstance(m, Share) else m for m in parts))
            return np.zeros(words, np.uint64) if made is None else made

        return Mapped(words, mapped, *secret)

    return masks


def public(fixed: Fixed) -> tuple[bool, ...]:
    return tuple(h.rep is Rep.PUBLIC for h in fixed.operands)


# -- the step


@online("linear")
def linear_online(fixed: Fixed):
    apply = mapping(fixed)
    if fixed.result.rep is Rep.PENDING:
        coerce = coercions(fixed, online_pending)
        empty = word_shape(fixed.result)
        if not any(coerce):
            return lambda *operands: filled(apply(*operands), empty)
        return lambda *operands: filled(apply(*coerced(coerce, operands)), empty)
    if fixed.result.rep is Rep.OPENED:
        return lambda *operands: Wire(apply(*[v.opened if isinstance(v, Wire) else v for v in operands]), None)
    masks = mask_mapping(fixed, apply)
    sole = len(fixed.operands) == 1

    def wire(*operands):
        opened = apply(*[v.opened if isinstance(v, Wire) else v for v in operands])
        plain = apply(operands[0].plain) if sole else None
        return Wire(opened, masks(*[v.mask if isinstance(v, Wire) else v for v in operands]), plain)

    return wire


@dealer("linear")
def linear_dealer(fixed: Fixed):
    apply = mapping(fixed)
    if fixed.result.rep is Rep.PENDING:
        coerce = coercions(fixed, dealer_pending)
        return lambda *operands: apply(*coerced(coerce, operands))
    masks = mask_mapping(fixed, apply)
    return lambda *operands: Wire(None, masks(*[v.mask if isinstance(v, Wire) else v for v in operands]))


def coercions(fixed: Fixed, coerce) -> tuple:
    """What makes each operand PENDING; None where it is already, or is a coefficient."""
    additive = fixed.attrs["node"].op in ADDITIVE
    return tuple(
        None
        if h.rep is Rep.PENDING or (h.rep is Rep.PUBLIC and not additive)
        else partial(coerce, fixed.lead, h, fixed.result.deferred)
        for h in fixed.operands
    )


def coerced(coerce: tuple, operands: tuple) -> list:
    return [v if c is None else c(v) for c, v in zip(coerce, operands, strict=True)]


def word_shape(held: Held) -> tuple[int, ...]:
    """The shape of the array that holds a PENDING value."""
    return (-(-held.type.size // 64),) if held.bit else held.type.shape


def filled(array: Part, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape, np.uint64) if array is None else array


# -- to PENDING


def online_pending(lead: bool, held: Held, deferred: bool, v) -> Part:
    """My u_i of a value that is public, a wire or PENDING; None for zero. Without `deferred` the mask shares go in."""
    if held.rep is Rep.PENDING:
        return v
    if held.rep is Rep.PUBLIC:
        return v if lead else None
    if deferred or v.mask.zero:
        return v.opened if lead else None
    if held.bit:
        return v.mask.words() ^ v.opened if lead else v.mask.words()
    out = np.array(v.opened, order="C").ravel() if lead else np.zeros(held.type.size, np.uint64)
    v.mask.subtract_from(out)
    return out.reshape(held.type.shape)


def dealer_pending(lead: bool, held: Held, deferred: bool, v) -> Part:
    """The deferred term of the same; None for zero."""
    if held.rep is Rep.PENDING:
        return v
    if held.rep is Rep.PUBLIC or not deferred or v.mask.zero:
        return None
    return v.mask.words() if held.bit else np.negative(v.mask.words()).reshape(held.type.shape)


@online("pending")
def pending_online(fixed: Fixed):
    (held,), empty = fixed.operands, word_shape(fixed.result)

    def shares(v):
        part = online_pending(fixed.lead, held, fixed.result.deferred, v)
        return filled(packed_bits(part) if part is not None and part.dtype == np.uint8 else part, empty)

    return shares


@dealer("pending")
def pending_dealer(fixed: Fixed):
    return partial(dealer_pending, True, fixed.operands[0], fixed.result.deferred)


# -- layout of forks: D, l and the dealt shares all map


@online("map_fork")
@dealer("map_fork")
def map_fork(fixed: Fixed):
    apply = mapping(fixed)
    masks = mask_mapping(fixed, apply)

    def mapped(fork: Fork, *coefficients) -> Fork:
        opened = None if fork.wire.opened is None else apply(fork.wire.opened, *coefficients)
        made = [None if s is None else masks(s, *coefficients) for s in (fork.wire.mask, fork.top, fork.sign)]
        return Fork(Wire(opened, made[0]), fork.bits, made[1], made[2])

    return mapped


@cost("linear", "pending", "map_fork", "public")
def free(shape: Shape) -> Traffic:
    return Traffic()
