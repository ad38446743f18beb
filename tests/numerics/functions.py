"""Every numeric function with its reference, its documented range and its documented error."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import mpcrt.numerics as numerics

ULP = 2.0**-17
ERF = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Case:
    """`draw(rng, n)` covers the range; |error| <= absolute + relative |y|."""

    name: str
    build: Callable
    reference: Callable
    draw: Callable
    absolute: float
    relative: float
    range: str
    edges: tuple[float, ...] = ()


def spread(rng, n):
    """Everywhere: most near 0, some far out."""
    return np.concatenate(
        [rng.uniform(-15, 15, n // 2), rng.uniform(-4, 4, n // 4), rng.uniform(-5000, 5000, n - n // 2 - n // 4)]
    )


def powers(low, high, signed=False):
    def draw(rng, n):
        x = 2.0 ** rng.uniform(low, high, n)
        return x * rng.choice([-1, 1], n) if signed else x

    return draw


def uniform(low, high):
    return lambda rng, n: rng.uniform(low, high, n)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


AROUND = (0.0, 2.0**-18, -(2.0**-18), 1.0, -1.0)
CASES = [
    Case("exp", numerics.exp, np.exp, uniform(-40, 0), 7e-5, 0, "x <= 0", (*AROUND[:1], -10.0, -10.5, -11.0, -1000.0)),
    Case("exp, positive", numerics.exp, np.exp, uniform(0, 12.99), 2e-5, 2e-5, "0 < x < 13", (12.99, 8.0, 0.0)),
    Case("exp_nonpositive", numerics.exp_nonpositive, np.exp, lambda r, n: -powers(-8, 16)(r, n), 3e-6, 0, "x <= 0",
         (0.0, -19.0, -21.0, -23.0, -24.0, -8.0, -16.0)),
    Case("sigmoid", numerics.sigmoid, sigmoid, spread, 6e-5, 0, "all", (*AROUND, 10.5, 10.25, -10.25, -10.5, 1e8)),
    Case("tanh", numerics.tanh, np.tanh, spread, 7e-5, 0, "all", (*AROUND, 5.5, 5.25, -5.25, -5.5, 1e8, -1e8)),
    Case("erf", numerics.erf, ERF, spread, 4e-5, 0, "all", (*AROUND, 3.25, 3.0, -3.0, -3.25)),
    Case("erfc", numerics.erfc, lambda x: 1 - ERF(x), spread, 4e-5, 0, "all", AROUND),
    Case("gelu", lambda b, x: numerics.gelu(b, x, False), lambda x: x / 2 * (1 + ERF(x / 2**0.5)), spread, 6e-5, 0,
         "all", (*AROUND, 4.5, 4.25, -4.25, -4.5)),
    Case("gelu, tanh form", numerics.gelu, gelu_tanh, spread, 4e-5, 0, "all", (*AROUND, 4.5, 4.25, -4.25, -4.5)),
    Case("silu", numerics.silu, lambda x: x * sigmoid(x), spread, 6e-5, 0, "all", (*AROUND, 13.0, 12.75, -12.75)),
    Case("softplus", numerics.softplus, lambda x: np.logaddexp(0, x), spread, 4e-5, 0, "all", (*AROUND, 11.0, -11.0)),
    Case("reciprocal", numerics.reciprocal, lambda x: 1 / x, powers(-9, 20, True), ULP, 2e-5, "2^-9 <= |x| < 2^20",
         (2.0**-9, -(2.0**-9), 1.0, -1.0, 2.0**19, 2.0**20 - 1)),
    Case("reciprocal_positive", numerics.reciprocal_positive, lambda x: 1 / x, powers(-9, 20), ULP, 2e-5,
         "2^-9 <= x < 2^20", (2.0**-9, 1.0, 2.0**20 - 1)),
    Case("rsqrt", numerics.rsqrt, lambda x: x**-0.5, powers(-18, 20), ULP, 4e-5, "2^-18 <= x < 2^20", (2.0**-18, 1.0)),
    Case("sqrt", numerics.sqrt, np.sqrt, powers(-14, 20), ULP, 4e-5, "2^-14 <= x < 2^20", (2.0**-14, 1.0, 2.0**20 - 1)),
    Case("log", numerics.log, np.log, powers(-12, 20), 8e-6, 0, "2^-12 <= x < 2^20", (2.0**-12, 1.0, 1 + 2.0**-18)),
    Case("log1p", numerics.log1p, np.log1p, uniform(-0.999, 100), 8e-6, 0, "2^-12 <= 1 + x < 2^20", (0.0, 2.0**-18)),
]  # fmt: skip


def arguments(case: Case, rng: np.random.Generator, n: int) -> np.ndarray:
    """n values of 18 fraction bits over the case's range, its edges first."""
    x = np.concatenate([case.edges, case.draw(rng, n - len(case.edges))])
    return np.round(x * 2**18) / 2**18


def encoded(x: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(x) * 2**18).astype(np.int64).view(np.uint64)


def decoded(words: np.ndarray, fraction: int) -> np.ndarray:
    return words.view(np.int64) / 2.0**fraction


def excess(case: Case, x: np.ndarray, y: np.ndarray) -> float:
    """How far the error is over its bound; not positive where all is well."""
    expected = case.reference(x)
    return float((np.abs(y - expected) - case.absolute - case.relative * np.abs(expected)).max())
