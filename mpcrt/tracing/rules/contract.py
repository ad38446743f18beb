"""dot_general and conv_general_dilated, brought to the plan's one layout of each."""

import math

from mpcrt.plan import Builder, Value
from mpcrt.tracing.graph import Eqn
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import rule
from mpcrt.tracing.rules.layout import cropped

MOST_TERMS = 1 << 16  # beyond which a sum of products is pointed out


@rule("dot_general")
def dot_general(low: Lowering, e: Eqn) -> Value:
    """As [batch, rows, inner] x [batch, inner, columns]."""
    b = low.b
    (lhs_inner, rhs_inner), (lhs_batch, rhs_batch) = e.params["dimension_numbers"]
    x, y = (matrix_operand(low, v) for v in e.inputs)
    lhs_free = [i for i in range(len(x.shape)) if i not in (*lhs_inner, *lhs_batch)]
    rhs_free = [i for i in range(len(y.shape)) if i not in (*rhs_inner, *rhs_batch)]
    batch = math.prod(x.shape[i] for i in lhs_batch)
    inner = math.prod(x.shape[i] for i in lhs_inner)
    rows, columns = (math.prod(v.shape[i] for i in free) for v, free in ((x, lhs_free), (y, rhs_free)))
    swapped = moved(b, x, (*lhs_batch, *lhs_free, *lhs_inner)) + moved(b, y, (*rhs_batch, *rhs_inner, *rhs_free)) > (
        moved(b, x, (*lhs_batch, *lhs_inner, *lhs_free))
        + moved(b, y, (*rhs_batch, *rhs_free, *rhs_inner))
        + (batch * rows * columns if min(rows, columns) > 1 else 0)
    )
    if swapped:
        x, y, rows, columns, lhs_batch, rhs_batch = y, x, columns, rows, rhs_batch, lhs_batch
        lhs_free, rhs_free, lhs_inner, rhs_inner = rhs_free, lhs_free, rhs_inner, lhs_inner
    left = b.reshape(b.transpose(x, (*lhs_batch, *lhs_free, *lhs_inner)), (batch, rows, inner))
    right = b.reshape(b.transpose(y, (*rhs_batch, *rhs_inner, *rhs_free)), (batch, inner, columns))
    if inner > MOST_TERMS and x.fraction:
        bound = 62 - 2 * low.fraction
        low.warnings.append(
            f"{e.line}: sums of {inner} products; right only while they stay below 2^{bound} in magnitude"
        )
    if inner == 0:
        return low.zeros(e.outputs[0].shape, e.outputs[0].dtype)
    if inner == 1:  # an outer product: elementwise products need no re-masked operand
        product = b.mul(b.broadcast(left, (batch, rows, columns)), b.broadcast(right, (batch, rows, columns)))
    else:
        product = b.dot(left, right)
    return b.reshape(b.transpose(product, (0, 2, 1)) if swapped else product, e.outputs[0].shape)


def moved(b: Builder, x: Value, permutation: tuple[int, ...]) -> int:
    """Elements that change places where x is transposed; a transposition that made x is undone first."""
    node = b.node(x)
    shape = x.shape
    if node.op == "transpose":
        permutation = tuple(node.attrs["permutation"][i] for i in permutation)
        shape = b.operands(x)[0].shape
    long = [i for i in permutation if shape[i] != 1]
    return 0 if long == sorted(long) else x.type.size


def matrix_operand(low: Lowering, var) -> Value:
    """A factor with all its axes; bools as 0 and 1."""
    value = low.factor(var)
    if value.type.kind == "bit":
        value = low.b.to_ring(value)
    return low.b.broadcast(value, var.shape)


@rule("conv_general_dilated")
def conv_general_dilated(low: Lowering, e: Eqn) -> Value:
    b, p = low.b, e.params
    numbers = p["dimension_numbers"]
    x, k = (matrix_operand(low, v) for v in e.inputs)
    if len(x.shape) == 2:
        raise low.fail(e, "without spatial dimensions", "use a matrix product")
    lhs, rhs, out = (tuple(s) for s in (numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec))
    x = b.transpose(x, (lhs[0], *lhs[2:], lhs[1]))
    k = b.transpose(k, (*rhs[2:], rhs[1], rhs[0]))
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    if batches > 1:
        n, *space, c = x.shape
        x = b.reshape(x, (batches, n // batches, *space, c))
        last = len(x.shape) - 1
        x = b.reshape(b.transpose(x, (*range(1, last), 0, last)), (n // batches, *space, batches * c))
        groups = batches
    padding = [(int(lo), int(hi)) for lo, hi in p["padding"]]
    lhs_dilation = tuple(int(n) for n in p["lhs_dilation"])
    if any(lo < 0 or hi < 0 for lo, hi in padding):
        x = b.pad(x, [0] * len(x.shape), [0] * len(x.shape), [0, *(n - 1 for n in lhs_dilation), 0])
        x = cropped(low, x, [0, *(lo for lo, _ in padding), 0], [0, *(hi for _, hi in padding), 0])
        lhs_dilation, padding = (1,) * len(padding), [(max(lo, 0), max(hi, 0)) for lo, hi in padding]
    strides, rhs_dilation = (tuple(int(n) for n in p[key]) for key in ("window_strides", "rhs_dilation"))
    y = b.conv(x, k, strides, padding, lhs_dilation, rhs_dilation, groups)
    order = [0] * len(out)
    order[out[0]], order[out[1]] = 0, len(out) - 1
    for i, axis in enumerate(out[2:]):
        order[axis] = i + 1
    return b.transpose(y, order)
