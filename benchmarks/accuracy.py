"""Measures every numeric function through real readers on in-memory links: error, rounds, bytes; for docs/accuracy.md.

    python benchmarks/accuracy.py > docs/accuracy.md

The cases, with documented ranges and bounds, are those of tests/numerics/functions.py.
"""

import datetime
import math
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "protocols"), str(ROOT / "tests" / "numerics")]

from functions import CASES, arguments, decoded, encoded  # noqa: E402
from harness import run  # noqa: E402

import mpcrt.numerics as numerics  # noqa: E402
from mpcrt.plan import Builder, Type  # noqa: E402

COUNT = 20_000
SEED = 20_261_122
HEAD = """# Accuracy of the numeric functions

Measured {date} by `benchmarks/accuracy.py` (seed {seed}): two parties and a dealer on in-memory links, {count}
arguments a row over the documented range, its edges among them, at 18 fraction bits. "product" rows take an untruncated
product (36 bits). Errors are against float64 on the same fixed-point argument; "over bound" is the largest error as a
share of the documented bound. Rounds count from a wire (an input); bytes are per element, sent by one party and by the
dealer.

| function | range | argument | documented bound | max abs error | over bound | rounds | party B | dealer B |
|---|---|---|---|---|---|---|---|---|
"""


def bound_text(case) -> str:
    absolute = "2^-17" if case.absolute == 2.0**-17 else f"{case.absolute:.0e}"
    return absolute if not case.relative else f"{case.relative:.0e} \\|y\\| + {absolute}"


def measure(build, x: np.ndarray, product: bool):
    b = Builder()
    v = b.input(Type(x.shape, "ring", 18))
    plan = b.finish(build(b, b.mul(v, b.input(Type(x.shape, "ring", 18))) if product else v))
    words = [encoded(x), encoded(np.ones_like(x))] if product else [encoded(x)]
    outcome = run(plan, words, 2, debug=False)
    return decoded(outcome.values[0], plan.output_types[0].fraction), outcome


def main() -> None:
    print(HEAD.format(date=datetime.date.today(), seed=SEED, count=COUNT), end="")
    rng = np.random.default_rng(SEED)
    for case in CASES:
        for product in (False, True):
            x = arguments(case, rng, COUNT)
            x = np.clip(x, -(2.0**25), 2.0**25) if product else x
            y, outcome = measure(case.build, x, product)
            expected, covered = case.reference(x), case.range.replace("|", "\\|")
            error = np.abs(y - expected)
            over = (error / (case.absolute + case.relative * np.abs(expected))).max()
            print(
                f"| {case.name} | {covered} | {'product' if product else 'wire'} | {bound_text(case)} "
                f"| {error.max():.1e} | {over:.2f} | {outcome.rounds} | {outcome.each_party_bytes[0] / x.size:.1f} "
                f"| {outcome.dealer_bytes / x.size:.0f} |"
            )
    print(
        "\nSoftmax over the last axis of 200 rows, logits normal with deviations 0.1, 3 and 100; bytes per element:\n"
    )
    print("| terms | max abs error | rounds | party B | dealer B |\n|---|---|---|---|---|")
    for terms in (2, 10, 32, 100, 256, 1000):
        x = np.round(rng.normal(size=(200, terms)) * rng.choice([0.1, 3, 100], (200, 1)) * 2**18) / 2**18
        y, outcome = measure(lambda b, v: b.truncate(numerics.softmax(b, v, 1)), x, False)
        e = np.exp(x - x.max(1, keepdims=True))
        error = np.abs(y - e / e.sum(1, keepdims=True)).max()
        party, dealer = outcome.each_party_bytes[0] / x.size, outcome.dealer_bytes / x.size
        print(f"| {terms} | {error:.1e} | {outcome.rounds} | {party:.1f} | {dealer:.0f} |")
    print(
        "\nOutside their ranges functions do not fail, they are wrong: `exp` above 13; `reciprocal`, `rsqrt`, `sqrt` "
        "and `log` from\n2^20 on (2^(60 - f) for an argument of f fraction bits), and below. `sqrt` below 2^-14 "
        f"gives 0, off by at most 2^-7 = {math.ldexp(1, -7):.4f}."
    )


if __name__ == "__main__":
    main()
