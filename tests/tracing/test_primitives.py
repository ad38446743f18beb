"""Every rule: a function of one primitive (or few), traced, run in the clear, against plain JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import check
from jax import lax

F = np.float32


def reals(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(F)


X, Y, P = reals(3, 4), reals(3, 4, seed=1), np.abs(reals(3, 4, seed=2)) + F(0.25)
K, J = np.array([[1, -2, 3], [7, 0, -5]], np.int32), np.array([[1, 2, -3], [7, 1, -6]], np.int32)
B, C = np.array([True, False, True, False]), np.array([True, True, False, False])
PICKS = np.array([[1], [0], [2]], np.int32)

# name: (function, arguments, tolerance in units of 2^-18). Operands are off by half a unit each, and |x| < 4 here.
ARITHMETIC = {
    "add": (lambda x, y: x + y, (X, Y), 2),
    "add a constant": (lambda x: x + 1.5, (X,), 2),
    "sub": (lambda x, y: x - y, (X, Y), 2),
    "sub from a constant": (lambda x: 1.5 - x, (X,), 2),
    "neg": (lambda x: -x, (X,), 1),
    "mul": (lambda x, y: x * y, (X, Y), 5),
    "mul by a constant": (lambda x: 0.3 * x, (X,), 3),
    "mul by a power of two": (lambda x: x * 0.125, (X,), 2),
    "mul by zero, one, minus one": (lambda x: (x * 0.0, x * 1.0, x * -1.0), (X,), 1),
    "mul by a constant array": (lambda x: x * np.arange(4, dtype=F), (X,), 4),
    "a bool as a factor": (lambda x, y: x * (y > 0), (X, Y), 1),
    "a bool vector as a factor": (lambda x, b: x * b.astype(F)[None, :], (X, B), 1),
    "square": (lambda x: jnp.square(x), (X,), 6),
    "integer powers": (lambda x: (x**2, x**3, x**0), (X,), 80),
    "x**5": (lambda x: x**5, (X * F(0.5),), 40),
    "division by a constant": (lambda x: x / 3.0, (X,), 2),
    "division by constants": (lambda x: x / np.array([1, 2, 3, 4], F), (X,), 2),
    "abs": (lambda x: jnp.abs(x), (X,), 1),
    "sign": (lambda x: jnp.sign(x), (X,), 0),
    "sign of zero": (lambda x: jnp.sign(x), (np.array([0.0, -1, 2], F),), 0),
    "integers": (lambda i, j: (i + j, i - j, i * j, -i, 3 * i, jnp.abs(i), jnp.sign(i), i**2), (K, J), 0),
    "is_finite": (lambda x: jnp.isfinite(x), (X,), 0),
    "mean and variance": (lambda x: (x.mean(), x.mean(0), x.var(1)), (X,), 8),
    "uint8": (lambda i: i + np.uint8(3), (np.array([1, 2, 200], np.uint8),), 0),
}
LAYOUT = {
    "reshape, transpose": (lambda x: (x.reshape(2, 6), x.T, x.reshape(-1)), (X,), 1),
    "broadcast": (lambda x: (jnp.broadcast_to(x, (2, 3, 4)), x[:, None, :] + x[None, :, :]), (X,), 2),
    "squeeze, expand": (lambda x: (x[:, None], jnp.expand_dims(x, (0, 2)), x[:1].squeeze(0)), (X,), 1),
    "slices": (lambda x: (x[1:], x[:, 1::2], x[::-1], x[0], x[-1, 2]), (X,), 1),
    "rev": (lambda x: (jnp.flip(x), jnp.flip(x, 1)), (X,), 1),
    "concatenate, stack": (lambda x, y: (jnp.concatenate([x, y], 1), jnp.stack([x, y])), (X, Y), 1),
    "concatenate with a constant": (lambda x: jnp.concatenate([x, jnp.ones((1, 4))]), (X,), 1),
    "split": (lambda x: jnp.split(x, [1, 3], 1), (X,), 1),
    "tile, repeat": (lambda x: (jnp.tile(x, (2, 3)), jnp.tile(x, 2), jnp.repeat(x, 2, 0)), (X,), 1),
    "pad": (lambda x: (jnp.pad(x, 1), jnp.pad(x, ((0, 1), (2, 0)), constant_values=2.5)), (X,), 1),
    "pad, negative and interior": (lambda x: lax.pad(x, F(1.5), ((-1, 2, 1), (1, -2, 2))), (X,), 1),
    "unstack, vstack": (lambda x, y: (jnp.unstack(x), jnp.vstack([x, y]), jnp.hstack([x, y])), (X, Y), 1),
    "reshape in another order": (lambda x: lax.reshape(x, (2, 6), (1, 0)), (X,), 1),
    "roll": (lambda x: jnp.roll(x, 1, 1), (X,), 1),
    "diagonal, triangle": (lambda x: (jnp.tril(x), jnp.triu(x, 1), jnp.diagonal(x)), (X,), 1),
    "iota and arange": (lambda x: x + jnp.arange(4.0), (X,), 2),
    "empty": (lambda x: (x[:0], x[:0] + 1, jnp.concatenate([x[:0], x])), (X,), 1),
    "scalars": (lambda x: (x[0, 0], x[0, 0] * x[1, 1]), (X,), 5),
    "constants as results": (lambda x: (jnp.arange(3), 2.5, np.ones(2, bool)), (X,), 1),
    "bits": (lambda b: (b[::-1], b.reshape(2, 2).T, jnp.concatenate([b, ~b]), jnp.pad(b, 1)), (B,), 0),
}
CONTRACTIONS = {
    "matrix product": (lambda x, y: x @ y.T, (X, Y), 12),
    "vector products": (lambda x, y: (x @ y[0], x[0] @ y.T, x[0] @ y[0]), (X, Y), 12),
    "constant matrix": (lambda x: x @ np.arange(8, dtype=F).reshape(4, 2), (X,), 30),
    "batched": (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (reals(2, 3, 4), reals(2, 4, 5)), 14),
    "einsum": (lambda a, b: jnp.einsum("ijk,lkj->il", a, b), (reals(2, 3, 4), reals(5, 4, 3)), 40),
    "two batches": (lambda a, b: jnp.einsum("abij,abkj->abki", a, b), (reals(2, 2, 3, 4), reals(2, 2, 5, 4)), 14),
    "outer product": (lambda x, y: jnp.outer(x[0], y[0]), (X, Y), 5),
    "tensordot": (lambda a, b: jnp.tensordot(a, b, ((0, 2), (1, 0))), (reals(2, 3, 4), reals(4, 2, 5)), 20),
    "integers": (lambda i, j: i @ j.T, (K, J), 0),
    "no terms": (lambda x: x[:, :0] @ x[:, :0].T, (X,), 0),
}
COMPARISONS = {
    "reals": (lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y, x == x, x <= x), (X, Y), 0),
    "with constants": (lambda x: (x < 0, x > 0, x >= 0.5, x >= 0.25, x < jnp.inf, x > -1e30), (X,), 0),
    "integers": (lambda i, j: (i < j, i <= j, i > j, i >= j, i == j, i != j), (K, J), 0),
    "extreme integers": (lambda i: (i[0] < i[1], i[0] == i[1]), (np.array([-(2**31), 2**31 - 1], np.int32),), 0),
    "bools": (lambda b, c: (b < c, b == c, b != c, b & c, b | c, b ^ c, ~b), (B, C), 0),
    "reductions of bools": (lambda b: (b.all(), b.any(), b.reshape(2, 2).any(0), jnp.sum(b)), (B,), 0),
    "where": (lambda x, y: jnp.where(x > 0, x, y), (X, Y), 1),
    "where with constants": (lambda x: (jnp.where(x > 0, x, 0.0), jnp.where(x > 1, 2.0, -1.0)), (X,), 1),
    "where by a constant": (lambda x, y: jnp.where(np.eye(3, 4, dtype=bool), x, y), (X, Y), 1),
    "mask that is never read": (lambda x: jnp.where(np.ones((3, 4), bool), x, jnp.nan), (X,), 1),
    "where of bits": (lambda b, c: jnp.where(b, c, ~b), (B, C), 0),
    "select_n of integers": (lambda x, y: lax.select_n(np.array([0, 2, 1, 0], np.int32), x[0], y[0], x[1]), (X, Y), 1),
    "select_n by a secret": (lambda i, x: lax.select_n(i, x[0], x[1], x[2]), (np.array([2, 1, 0, 1], np.int32), X), 1),
    "relu": (lambda x: (jnp.maximum(x, 0.0), jax.nn.relu(x), jax.nn.leaky_relu(x), jax.nn.relu6(x * 4)), (X,), 4),
    "max with zero below": (lambda x: jnp.minimum(x, 0), (X,), 1),
    "max, min": (lambda x, y: (jnp.maximum(x, y), jnp.minimum(x, y), jnp.maximum(x, 0.5)), (X, Y), 1),
    "max with infinity": (lambda x: (jnp.maximum(x, -jnp.inf), jnp.minimum(x, 1e30)), (X,), 1),
    "integers' max": (lambda i, j: (jnp.maximum(i, j), jnp.minimum(i, 0), jnp.clip(i, -2, 3)), (K, J), 0),
    "clip": (lambda x: (jnp.clip(x, -0.5, 0.5), lax.clamp(F(0), x, F(1)), lax.clamp(F(-jnp.inf), x, F(1))), (X,), 1),
    "NaN guards": (lambda x: (jnp.isnan(x), jnp.nan_to_num(x), jnp.select([x > 0, x < -1], [x, -x])), (X,), 1),
    "mask by -inf": (lambda x: jnp.max(jnp.where(np.tri(3, 4, dtype=bool), x, -jnp.inf), 1), (X,), 1),
}
REDUCTIONS = {
    "sum": (lambda x: (x.sum(), x.sum(0), x.sum((0, 1), keepdims=True)), (X,), 8),
    "max, min": (lambda x: (x.max(), x.max(0), x.min(1), x.max((0, 1))), (X,), 1),
    "integers": (lambda i: (i.sum(), i.max(), i.min(1), i.prod()), (K,), 0),
    "prod": (lambda x: x.prod(1), (X,), 20),
    "argmax": (lambda x: (x.argmax(), x.argmax(0), x.argmin(1)), (X,), 0),
    "argmax of ties": (lambda x: x.argmax(1), (np.array([[1, 3, 3, 2], [0, 0, 0, 0]], F),), 0),
    "cumulative": (
        lambda x: (jnp.cumsum(x, 0), jnp.cumsum(x[::-1], 1), lax.cumsum(x, 1, True), lax.cummax(x)),
        (X,),
        6,
    ),
    "cumprod": (lambda x: jnp.cumprod(x, 1), (X,), 20),
    "lax.reduce": (lambda x: lax.reduce(x, F(0), lax.add, (1,)), (X,), 6),
}
WINDOWS = {
    "sum pool": (lambda x: lax.reduce_window(x, F(0), lax.add, (2, 2), (1, 2), "VALID"), (X,), 5),
    "max pool": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "SAME"), (X,), 1),
    "min pool": (lambda x: lax.reduce_window(x, jnp.inf, lax.min, (2, 3), (1, 1), "SAME"), (X,), 1),
    "dilated": (
        lambda x: lax.reduce_window(x, F(0), lax.add, (2, 2), (1, 1), ((1, 0), (0, 2)), (2, 1), (1, 2)), (X,), 5,
    ),
    "max pool gradient": (
        jax.grad(lambda x: jnp.sum(lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (2, 2), "SAME") ** 2)),
        (reals(5, 4),), 3,
    ),
    "overlapping max pool gradient": (
        jax.grad(lambda x: jnp.sum(lax.reduce_window(x, -jnp.inf, lax.max, (3, 3), (2, 2), "VALID") ** 2)),
        (reals(7, 7),), 6,
    ),
    "max pool tangent": (
        lambda x, t: jax.jvp(lambda v: lax.reduce_window(v, -jnp.inf, lax.max, (2, 2), (2, 2), "VALID"), (x,), (t,))[1],
        (reals(4, 4), reals(4, 4, seed=1)), 2,
    ),
    "sum pool gradient": (
        jax.grad(lambda x: jnp.sum(lax.reduce_window(x, F(0), lax.add, (2, 2), (2, 1), "SAME") ** 2)), (X,), 40,
    ),
}  # fmt: skip
INDEXING = {
    "rows": (lambda x: (x[np.array([2, 0, 2])], x[:, np.array([1, 3])], x[PICKS[:2, 0], np.array([2, 3])]), (X,), 1),
    "negative index": (lambda x: (x[-1], x[jnp.array([-1, 0])]), (X,), 1),
    "take": (lambda x: (jnp.take(x, np.array([1, 1, 0]), 1), jnp.take_along_axis(x, PICKS, 1)), (X,), 1),
    "dynamic_slice": (lambda x: lax.dynamic_slice(x, (1, 3), (2, 2)), (X,), 1),
    "dynamic_update_slice": (lambda x, y: lax.dynamic_update_slice(x, y[:2, :2], (2, 1)), (X, Y), 1),
    "set": (lambda x, y: (x.at[1].set(y[0]), x.at[:, 2].set(0.5), x.at[np.array([0, 2]), 1].set(y[0, :2])), (X, Y), 1),
    "add": (lambda x, y: (x.at[np.array([0, 0, 2])].add(y), x.at[1, 2].add(1.0), x.at[5].add(1.0)), (X, Y), 4),
    "subtract": (lambda x, y: (x.at[1].subtract(y[0]), x.at[np.array([1, 1])].subtract(y[:2])), (X, Y), 4),
    "embedding gradient": (
        jax.grad(lambda w: jnp.sum(w[np.array([0, 2, 2, 2, 1])] ** 2)), (X,), 12,
    ),
    "secret rows": (lambda x, i: (x[i], x[:, i], x[i[0]], jnp.take(x, i, 0, mode="clip")), (X, PICKS[1:, 0]), 1),
    "secret scalar": (lambda x, i: x[i - 1, 1:3], (X, np.int32(2)), 1),
    "set bits": (lambda b: b.at[0].set(False), (B,), 0),
}  # fmt: skip
CONVERSIONS = {
    "to and from": (lambda i, b: (i.astype(F) * 0.5, b.astype(np.int32), b.astype(F), i != 0), (K, B), 1),
    "to bool": (lambda x, i: (x.astype(bool), i.astype(bool)), (np.array([0, 0.5, -1, 0], F), K), 0),
    "integer mean": (lambda i: i.mean(), (K,), 2),
    "counting": (lambda x: (x > 0).sum(), (X,), 0),
    "weak types": (lambda x: (x + 1, x * 2, 1 - x), (X,), 3),
    "half": (lambda x: x.astype(np.float16), (X * F(0.25),), 130),  # float16 itself rounds at 2^-11 below one
}
SMOOTH = {
    "exp": (lambda x: jnp.exp(x), (X,), 300),
    "exp of non-positive": (lambda x: jnp.exp(-jnp.abs(x)), (X,), 26),
    "exp2": (lambda x: jnp.exp2(x), (X,), 300),
    "log": (lambda x: jnp.log(x), (P,), 60),
    "log1p, expm1": (lambda x: (jnp.log1p(x), jnp.expm1(-x)), (P,), 60),
    "logistic": (lambda x: (jax.nn.sigmoid(x), jax.nn.silu(x)), (X,), 80),
    "tanh": (lambda x: jnp.tanh(x), (X,), 26),
    "tanh gradient": (jax.grad(lambda x: jnp.tanh(x).sum()), (X,), 80),
    "hyperbolic": (lambda x: (jnp.sinh(x), jnp.cosh(x), jnp.log2(jnp.abs(x) + 0.5)), (X,), 300),
    "erf": (lambda x: (lax.erf(x), lax.erfc(x)), (X,), 26),
    "gelu": (lambda x: (jax.nn.gelu(x), jax.nn.gelu(x, approximate=False)), (X,), 80),
    "softplus, elu": (lambda x: (jax.nn.softplus(x), jnp.log1p(jnp.exp(x)), jax.nn.elu(x)), (X,), 20),
    "sqrt": (lambda x: (jnp.sqrt(x), lax.rsqrt(x), x**0.5, x**-0.5), (P,), 120),
    "reciprocal": (lambda x: (1 / x, 2.5 / x, x**-1, x**-2), (P,), 600),
    "division": (lambda x, y: x / y, (X, P), 600),
    "division by a root": (lambda x, y: (x / jnp.sqrt(y), x / jnp.sqrt(y.sum(1))[:, None]), (X, P), 200),
    "power": (lambda x: (x**1.5, 2.0**x), (P,), 400),
    "softmax": (lambda x: (jax.nn.softmax(x), jax.nn.log_softmax(x), jax.nn.logsumexp(x)), (X,), 60),
    "norm": (lambda x: jnp.linalg.norm(x), (X,), 100),
    "std": (lambda x: jnp.std(x, 0), (X,), 100),
}
GROUPS = {
    "arithmetic": ARITHMETIC, "layout": LAYOUT, "contractions": CONTRACTIONS, "comparisons": COMPARISONS,
    "reductions": REDUCTIONS, "windows": WINDOWS, "indexing": INDEXING, "conversions": CONVERSIONS, "smooth": SMOOTH,
}  # fmt: skip
CASES = [pytest.param(case, id=f"{group}: {name}") for group, cases in GROUPS.items() for name, case in cases.items()]


@pytest.mark.parametrize("case", CASES)
def test_rule(case):
    function, args, ulps = case
    check(function, *args, ulps=ulps)


LAYOUTS = [
    (("NHWC", "HWIO", "NHWC"), (2, 6, 5, 4), (3, 2, 4, 6)),
    (("NCHW", "OIHW", "NCHW"), (2, 4, 6, 5), (6, 4, 3, 2)),
    (("CNWH", "WIHO", "HNCW"), (4, 2, 5, 6), (2, 4, 3, 6)),
]


@pytest.mark.parametrize("numbers", LAYOUTS, ids=lambda n: n[0][0])
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "SAME"},
        {"padding": "VALID", "window_strides": (2, 1)},
        {"padding": ((1, 2), (0, 3)), "lhs_dilation": (2, 1), "rhs_dilation": (1, 2)},
        {"padding": ((-1, 2), (1, -1)), "lhs_dilation": (1, 2)},
    ],
    ids=["same", "strided", "dilated", "cropped"],
)
def test_convolution(numbers, options):
    names, x, k = numbers
    options = {"window_strides": (1, 1), **options}
    check(
        lambda a, b: lax.conv_general_dilated(a, b, dimension_numbers=names, **options), reals(*x), reals(*k), ulps=60
    )


def test_convolution_groups_and_gradients():
    def depthwise(x, k):
        return lax.conv_general_dilated(
            x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=2
        )

    x, k = reals(2, 5, 5, 4, scale=0.3), reals(3, 3, 2, 6, scale=0.3)
    check(depthwise, x, k, ulps=60)
    check(jax.grad(lambda a, b: jnp.sum(depthwise(a, b) ** 2), (0, 1)), x, k, ulps=300)
    check(lambda a, b: lax.conv(a, b, (1,), "SAME"), reals(2, 3, 7), reals(4, 3, 3), ulps=40)


def test_batch_groups():
    check(
        lambda a, b: lax.conv_general_dilated(
            a, b, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), batch_group_count=2
        ),
        reals(4, 5, 5, 3), reals(3, 3, 3, 4), ulps=60,
    )  # fmt: skip
