"""The primitive ops: what each takes and gives. One table, OPS; the four readers each have a rule for every name in it.

An op's `infer(types, attrs)` returns its result types, or raises PlanError where the op cannot be. Attributes are
None, bool, int, str, bytes or (nested) tuples of them, so that a plan has one canonical form.
"""

import math

from mpcrt.plan.declare import OPS as OPS
from mpcrt.plan.declare import bit, ints, joined, natural, need, op, plain, ring, same
from mpcrt.plan.sorting import index_bits
from mpcrt.plan.types import PUBLIC, SECRET, Type

# -- sources


@op("input", 0, "shape", "kind", "fraction", "visibility", "wire")
def _(types, a):
    """`wire` says how the value is held: "public", "masked" (D public, mask known to the dealer) or "shared"."""
    need(a["kind"] in ("ring", "bit") and a["wire"] in ("public", "masked", "shared"), "unknown kind or wire of input")
    need((a["wire"] == "public") == (a["visibility"] == PUBLIC), "a public input has a public wire")
    need(isinstance(a["visibility"], str), "visibility is a string")
    shape = tuple(natural(n) for n in ints(a["shape"]))
    return (Type(shape, a["kind"], natural(a["fraction"], 63), a["visibility"]),)


@op("constant", 0, "shape", "kind", "fraction", "data")
def _(types, a):
    """`data`: little-endian uint64 of ring elements, or one byte a bit; or those of one element, which then fills."""
    shape = tuple(natural(n) for n in ints(a["shape"]))
    need(a["kind"] in ("ring", "bit") and isinstance(a["data"], bytes), "unknown kind or data of constant")
    width = 8 if a["kind"] == "ring" else 1
    need(len(a["data"]) in (width, width * math.prod(shape)), "constant's data does not fit its shape")
    return (Type(shape, a["kind"], natural(a["fraction"], 63), PUBLIC),)


# -- layout: any kind


@op("reshape", 1, "shape")
def _(types, a):
    (x,) = types
    shape = ints(a["shape"])
    need(math.prod(shape) == x.size and min(shape, default=0) >= 0, f"cannot reshape {x} to {shape}")
    return (x.with_(shape=shape),)


@op("transpose", 1, "permutation")
def _(types, a):
    (x,) = types
    p = ints(a["permutation"], len(x.shape))
    need(sorted(p) == list(range(len(p))), f"{p} is no permutation")
    return (x.with_(shape=tuple(x.shape[i] for i in p)),)


@op("broadcast", 1, "shape", "dims")
def _(types, a):
    """Operand axis i becomes result axis dims[i]; an axis of length 1 stretches."""
    (x,) = types
    shape, dims = ints(a["shape"]), ints(a["dims"], len(types[0].shape))
    need(list(dims) == sorted(set(dims)) and all(0 <= d < len(shape) for d in dims), f"bad dims {dims}")
    need(all(x.shape[i] in (1, shape[d]) for i, d in enumerate(dims)), f"cannot broadcast {x} to {shape}")
    for n in shape:
        natural(n)
    return (x.with_(shape=shape),)


@op("slice", 1, "start", "limit", "stride")
def _(types, a):
    (x,) = types
    n = len(x.shape)
    start, limit, stride = ints(a["start"], n), ints(a["limit"], n), ints(a["stride"], n)
    for b, e, s, size in zip(start, limit, stride, x.shape, strict=True):
        need(0 <= b <= e <= size and s >= 1, f"bad slice {b}:{e}:{s} of {size}")
    return (x.with_(shape=tuple(-(-(e - b) // s) for b, e, s in zip(start, limit, stride, strict=True))),)


@op("pad", 1, "low", "high", "interior")
def _(types, a):
    """Zeros around and between; low and high are not negative (a slice crops)."""
    (x,) = types
    n = len(x.shape)
    sides = [tuple(natural(v) for v in ints(a[k], n)) for k in ("low", "high", "interior")]
    shape = tuple(d + lo + hi + max(d - 1, 0) * i for d, lo, hi, i in zip(x.shape, *sides, strict=True))
    return (x.with_(shape=shape),)


@op("concat", None, "axis")
def _(types, a):
    need(types, "concat of nothing")
    same(types, "kind", "fraction")
    axis = natural(a["axis"], max(len(types[0].shape), 1))
    rest = {t.shape[:axis] + t.shape[axis + 1 :] for t in types}
    need(len(rest) == 1, "concat of different shapes")
    shape = (*types[0].shape[:axis], sum(t.shape[axis] for t in types), *types[0].shape[axis + 1 :])
    return (types[0].with_(shape=shape, visibility=joined(types)),)


@op("take", 2)
def _(types, a):
    """Elements of the flattened first operand at the public integer indices of the second; a negative index gives 0."""
    x, indices = types
    need(indices.public and indices.kind == "ring" and indices.fraction == 0, "take needs public integer indices")
    return (x.with_(shape=indices.shape),)


# -- linear


@op("add", 2)
def _(types, a):
    ring(*types)
    same(types, "shape", "fraction")
    return (types[0].with_(visibility=joined(types)),)


@op("neg", 1)
def _(types, a):
    ring(*types)
    return types


@op("sum", 1, "axes")
def _(types, a):
    (x,) = types
    ring(x)
    axes = ints(a["axes"])
    need(len(set(axes)) == len(axes) and all(0 <= i < len(x.shape) for i in axes), f"bad axes {axes}")
    return (x.with_(shape=tuple(n for i, n in enumerate(x.shape) if i not in axes)),)


@op("shift", 1, "bits")
def _(types, a):
    """x 2^bits in the ring and as many more fraction bits: the value stays, exactly."""
    (x,) = types
    ring(x)
    return (x.with_(fraction=x.fraction + natural(a["bits"], 64)),)


@op("scale", 1, "fraction")
def _(types, a):
    """The same ring element read with other fraction bits: a product with a power of two."""
    (x,) = types
    ring(x)
    return (x.with_(fraction=natural(a["fraction"], 63)),)


# -- bilinear


@op("mul", 2)
def _(types, a):
    """Elementwise; a public operand may be a scalar."""
    x, y = types
    ring(x, y)
    need(x.shape == y.shape or (x.public and x.shape == ()) or (y.public and y.shape == ()), f"mul of {x} and {y}")
    shape = y.shape if x.public and x.shape == () else x.shape
    return (Type(shape, "ring", x.fraction + y.fraction, joined(types)),)


@op("dot", 2, "picks")
def _(types, a):
    """Batched matrix product: [B, M, K] x [B, K, N] -> [B, M, N]. `picks`: x's rows are one-hot or zero."""
    x, y = types
    ring(x, y)
    need(a["picks"] is False or (a["picks"] is True and x.fraction == 0), "only integers pick")
    need(len(x.shape) == len(y.shape) == 3, "dot takes [B, M, K] and [B, K, N]")
    need(x.shape[0] == y.shape[0] and x.shape[2] == y.shape[1], f"dot of {x} and {y}")
    return (Type((x.shape[0], x.shape[1], y.shape[2]), "ring", x.fraction + y.fraction, joined(types)),)


@op("conv", 2, "strides", "padding", "lhs_dilation", "rhs_dilation", "groups")
def _(types, a):
    """x [N, *space, C] with k [*space, C/groups, O] -> [N, *space, O]; no flip; `padding` is lo0, hi0, lo1, hi1, ..."""
    x, k = types
    ring(x, k)
    n = len(x.shape) - 2
    need(n >= 1 and len(k.shape) == n + 2, f"conv of {x} and {k}")
    strides, lhs, rhs = (ints(a[key], n) for key in ("strides", "lhs_dilation", "rhs_dilation"))
    padding, groups = ints(a["padding"], 2 * n), natural(a["groups"])
    need(groups >= 1 and min(strides + lhs + rhs) >= 1, "bad strides, dilation or groups")
    need(x.shape[-1] == k.shape[-2] * groups and k.shape[-1] % groups == 0, f"conv channels of {x} and {k}")
    space = []
    for i in range(n):
        size = (max(x.shape[1 + i], 1) - 1) * lhs[i] + 1 if x.shape[1 + i] else 0
        size += padding[2 * i] + padding[2 * i + 1]
        window = (k.shape[i] - 1) * rhs[i] + 1
        space.append((size - window) // strides[i] + 1 if size >= window else 0)
    return (Type((x.shape[0], *space, k.shape[-1]), "ring", x.fraction + k.fraction, joined(types)),)


# -- fixed point, comparison, bits


@op("truncate", 1, "bits")
def _(types, a):
    """floor(x / 2^bits), or one more (stochastic rounding by a public coin). Precondition: |x| < 2^62 in the ring."""
    (x,) = types
    ring(x)
    k = natural(a["bits"], 63)
    need(1 <= k <= x.fraction, f"truncate {k} bits of {x}")
    return (x.with_(fraction=x.fraction - k),)


@op("msb", 1, "drop", "bits")
def _(types, a):
    """[x < 0], read from the `bits` bits above the `drop` lowest: right for -2^(drop+bits-1) <= x < 2^(drop+bits-1) -
    2^drop, but that for drop > 0 a public coin decides whether -2^drop < x < 0 counts as 0, as in truncation."""
    (x,) = types
    ring(x)
    drop, bits = natural(a["drop"], 64), natural(a["bits"], 65)
    need(bits >= 2 and drop + bits <= 64, f"msb of {bits} bits above {drop}")
    return (Type(x.shape, "bit", 0, x.visibility),)


@op("eqz", 1, "bits")
def _(types, a):
    """[x = 0] from the `bits` lowest bits."""
    (x,) = types
    ring(x)
    need(natural(a["bits"], 65) >= 1, "eqz of no bits")
    return (Type(x.shape, "bit", 0, x.visibility),)


@op("xor", 2)
def _(types, a):
    bit(*types)
    same(types, "shape")
    return (types[0].with_(visibility=joined(types)),)


@op("and", 2)
def _(types, a):
    bit(*types)
    same(types, "shape")
    return (types[0].with_(visibility=joined(types)),)


@op("select", 2)
def _(types, a):
    """b x: the ring element where the bit is 1, else 0."""
    b, x = types
    bit(b)
    ring(x)
    need(b.shape == x.shape, f"select of {b} and {x}")
    return (x.with_(visibility=joined(types)),)


@op("sort", 1, "bits")
def _(types, a):
    """Ascending along the last axis, as signed; differences fit `bits` bits, and leave room for an index."""
    (x,) = types
    ring(x)
    need(x.shape, "sort of a scalar")
    bits, n = natural(a["bits"], 65), x.shape[-1]
    need(bits >= 2 and bits + index_bits(n) <= 64, f"sort of {n} values whose differences have {bits} bits")
    return (x,)


@op("samples", 1, "function", "fraction", "parameters")
def _(types, a):
    """g(x) by dealer samples over the public basis that `function` and `parameters` give; `fraction` bits come out."""
    (x,) = types
    ring(x)
    need(isinstance(a["function"], str) and plain(a["parameters"]), "bad samples attributes")
    return (x.with_(fraction=natural(a["fraction"], 63), visibility=SECRET if not x.public else PUBLIC),)


@op("onehot", 1, "depth")
def _(types, a):
    """[..., depth] of 0 and 1: [x = v] for v in 0 .. depth - 1, of integers -depth <= x < 2 depth."""
    (x,) = types
    ring(x)
    depth = natural(a["depth"], 1 << 16)
    need(x.fraction == 0 and depth >= 1, f"onehot of {x} to {depth}")
    return (x.with_(shape=(*x.shape, depth)),)


# -- control


@op("loop", None, "body", "trips", "constants", "carries")
def _(types, a):
    """body(*constants, *carries, *xs' slices) -> (*carries, *ys' slices), `trips` times; xs and ys stack on axis 0."""
    body, trips = a["body"], natural(a["trips"], 1 << 32)
    fixed, carried = natural(a["constants"]), natural(a["carries"])
    expected, given = body.input_types, []  # type: ignore[attr-defined]
    need(len(expected) == len(types) and fixed + carried <= len(types), "loop's operands do not fit its body")
    for i, t in enumerate(types):
        if i >= fixed + carried:
            need(t.shape and t.shape[0] == trips, f"loop's xs need a first axis of {trips}")
            t = t.with_(shape=t.shape[1:])
        given.append(t)
    for t, e in zip(given, expected, strict=True):
        need((t.shape, t.kind, t.fraction) == (e.shape, e.kind, e.fraction), f"loop body takes {e}, given {t}")
        need(t.public or not e.public, "a secret cannot enter a loop as public")
    outs = body.output_types  # type: ignore[attr-defined]
    for t, e in zip(outs, expected[fixed : fixed + carried], strict=False):
        need((t.shape, t.kind, t.fraction) == (e.shape, e.kind, e.fraction), f"loop carries {e}, body gives {t}")
    need(len(outs) >= carried, "loop body gives too few values")
    ys = tuple(t.with_(shape=(trips, *t.shape)) for t in outs[carried:])
    return tuple(e.with_(visibility=e.visibility) for e in expected[fixed : fixed + carried]) + ys
