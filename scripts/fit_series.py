"""Fits the trigonometric series of numerics and prints mpcrt/numerics/coefficients.py.

    python scripts/fit_series.py > mpcrt/numerics/coefficients.py

Each fit is nearly minimax (Lawson's weights) on [0, T] (or [low, T]) by harmonics of period P. Results go to 40
fraction bits, so a refit on another machine may differ in the last digits: plans use the file, never this script.
"""

from math import erf

import numpy as np

ERF = np.vectorize(erf)
BITS = 40


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


# name: (function, odd, first harmonic, step, harmonics, T, P)
SATURATED = {
    "sigmoid": (lambda x: sigmoid(x) - 0.5, True, 1, 2, 10, 10.5, 42.0),
    "tanh": (np.tanh, True, 1, 2, 12, 5.5, 22.0),
    "erf": (ERF, True, 1, 2, 6, 3.25, 13.5),
    "gelu": (lambda x: 0.5 * x * ERF(x / np.sqrt(2)), False, 0, 1, 9, 4.5, 14.2),
    "gelu_tanh": (gelu_tanh, False, 0, 1, 9, 4.5, 14.2),
    "silu": (lambda x: x * (sigmoid(x) - 0.5), False, 0, 1, 16, 13.0, 29.9),
    "softplus": (lambda x: np.logaddexp(0, x) - x / 2, False, 0, 1, 13, 11.0, 28.0),
}


def fit(g, low, high, harmonics, period, odd, points=1600, rounds=200):
    """(max error, coefficients) of the best fit seen."""
    x = low + (1 - np.cos(np.linspace(0, np.pi, points))) / 2 * (high - low)
    basis = (np.sin if odd else np.cos)(2 * np.pi * np.outer(x, harmonics) / period)
    y, weights, best = g(x), np.full(points, 1 / points), (np.inf, np.zeros(len(harmonics)))
    for _ in range(rounds):
        root = np.sqrt(weights)
        c, *_ = np.linalg.lstsq(basis * root[:, None], y * root, rcond=1e-10)
        error = np.abs(basis @ c - y)
        if error.max() < best[0]:
            best = (error.max(), c)
        weights = weights * (error + 1e-15)
        weights /= weights.sum()
    return best


def shortest_reciprocal(high, bound=1.2e-5):
    """The fewest even harmonics, and their period, that give 1/x on [0.97, 1.01 high] within `bound`."""
    count = max(4, int(2.2 * np.sqrt(high)))
    while True:
        found = []
        for factor in (2.05, 2.1, 2.2, 2.4, 2.7):
            period = round(factor * 1.01 * high + 1, 2)
            found.append(
                (
                    *fit(
                        lambda x: 1 / x, 0.97, 1.01 * high, np.arange(count), period, False, max(1600, 20 * count), 60
                    ),
                    period,
                )
            )
        error, c, period = min(found, key=lambda f: f[0])
        if error < bound:
            return error, c, period
        count += max(1, count // 16)


def emit(name, c, first, step, high, period, error):
    whole = [round(v * 2**BITS) for v in c]
    lines, line = [], "       "
    for v in whole:
        if len(line) + len(f" {v},") > 119:
            lines.append(line)
            line = "       "
        line += f" {v},"
    body = "\n".join([*lines, line])
    size = max(abs(v) for v in whole) / 2**BITS
    print(f"    # error {error:.1e}, largest coefficient {size:.2f}")
    quoted = f'"{name}"' if isinstance(name, str) else name
    print(f"    {quoted}: Fit({first}, {step}, {high}, {period}, (\n{body}\n    )),")


def main():
    print('"""Coefficients of the trigonometric series, of 40 fraction bits; made by scripts/fit_series.py."""\n')
    print("from typing import NamedTuple\n\n")
    print("class Fit(NamedTuple):")
    print(
        '    """Harmonics first, first + step, ... of `period`, good up to |x| = `limit` (reciprocals: from 0.97)."""\n'
    )
    print("    first: int\n    step: int\n    limit: float\n    period: float\n    coefficients: tuple[int, ...]\n\n")
    print("# fmt: off")
    print("SATURATED = {")
    for name, (g, odd, first, step, count, high, period) in SATURATED.items():
        error, c = fit(g, 0.0, high, first + step * np.arange(count), period, odd)
        emit(name, c, first, step, high, period, error)
    print("}\n\n# 1/x for x from 1 to 2^key, a little wider on both sides\nRECIPROCAL = {")
    for log in range(1, 6):
        error, c, period = shortest_reciprocal(2.0**log)
        emit(log, c, 0, 1, 1.01 * 2.0**log, period, error)
    print("}\n# fmt: on")


if __name__ == "__main__":
    main()
