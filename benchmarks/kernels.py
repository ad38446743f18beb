"""Speed of the ring kernels at every level of this machine, with ratios to NumPy measured in the same run.

    python benchmarks/kernels.py [--threads N] [--json]

Times are the least processor time on one thread, so that a busy machine disturbs them less, or with --threads the
least wall time. Products in G multiply-adds/s, everything else in G bytes/s of the arrays named.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator

import numpy as np
from measuring import least

from mpcrt.ring import blocks, compiled, reference, samples

CHUNK = 1 << 16
BUDGET = 0.5


def words(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**64, shape, dtype=np.uint64)


def products() -> dict[str, tuple[float, Callable]]:
    """Name -> (multiply-adds, call of a kernel module)."""
    cases: dict[str, tuple[float, Callable]] = {}
    for m, k, n in (
        (64, 64, 64),
        (64, 784, 128),
        (256, 256, 256),
        (1000, 1000, 1000),
        (1, 1000, 1000),
        (1000, 1000, 1),
    ):
        a, b = words(1, m, k), words(1, k, n)
        cases[f"matmul {m} x {k} x {n}"] = m * k * n, lambda kernels, a=a, b=b: kernels.matmul(a, b)
    a, b = words(12, 128, 64), words(12, 128, 64).transpose(0, 2, 1)
    cases["matmul 12 of 128 x 64 x 128, transposed"] = 12 * 128 * 64 * 128, lambda kernels: kernels.matmul(a, b)
    x, k = words(16, 28, 28, 16), words(5, 5, 16, 32)
    same = {"strides": (1, 1), "padding": ((2, 2), (2, 2))}
    cases["conv 16 of 28 x 28 x 16, 5 x 5 to 32"] = (
        16 * 28 * 28 * 25 * 16 * 32,
        lambda kernels: kernels.conv(x, k, **same),
    )
    return cases


def drawn_by(party: str) -> tuple:
    """Words of a party's stream, drawn as a kernel goes, or before it where the level in use has no AES."""
    return ((compiled.Prg(party.ljust(16).encode()), 1, 0),)


def streams() -> dict[str, tuple[float, Callable]]:
    """Name -> (bytes, call of a kernel module)."""
    d = words(CHUNK)
    spec = blocks.compare_spec(0, 63)
    tables, _ = reference.deal_tables(d, CHUNK, spec)
    sizes = blocks.sizes(spec, CHUNK)
    opened = [words(n) for n in sizes.opened]
    mine, others = drawn_by("alice"), drawn_by("bob")

    def climb(kernels) -> np.ndarray:
        climbing, last = kernels.climb(spec, CHUNK, True), d
        for each in opened:
            climbing.open(last, mine, mine)
            last = each
        return climbing.close(last, mine)

    exp = samples.Exp(36, 40, 0, 20)
    series = samples.Series(18, 32, True, 2**36, 1, 2, 20, 0, tuple(2**39 >> i for i in range(10)))
    truncated = [(18, False, others), (63, True, others)]
    bits = (d & np.uint64(1)).astype(np.uint8)
    packed = reference.pack(bits)
    return {
        "prg fill": (d.nbytes, lambda kernels: kernels.Prg(bytes(16)).words(1, CHUNK)),
        "prg add": (d.nbytes, lambda kernels: kernels.Prg(bytes(16)).add(1, d)),
        "pack": (bits.nbytes, lambda kernels: kernels.pack(bits)),
        "unpack": (bits.nbytes, lambda kernels: kernels.unpack(packed, CHUNK)),
        "compare: deal tables": (tables.nbytes, lambda kernels: kernels.deal_tables(d, CHUNK, spec, others)),
        "compare: climb": (tables.nbytes, climb),
        "compare: deal products": (
            8 * sizes.products[0],
            lambda kernels: kernels.deal_products(spec, 0, CHUNK, mine + others, others),
        ),
        "product": (3 * d.nbytes, lambda kernels: kernels.cross(d, d, mine, mine, mine, True)),
        "product: mask": (d.nbytes, lambda kernels: kernels.absorb(mine + others, mine + others, mine + others, d)),
        "truncation": (2 * d.nbytes, lambda kernels: kernels.settle(d, 18, mine, mine, True)),
        "truncation: deal": (1.5 * d.nbytes, lambda kernels: kernels.deal(CHUNK, d, None, truncated)),
        "select": (2 * d.nbytes, lambda kernels: kernels.select(packed, mine, True, d, 0, [(mine, mine)])),
        "exp: deal": (4 * d.nbytes, lambda kernels: kernels.deal_samples(exp, d, CHUNK, others)),
        "exp: sum": (4 * d.nbytes, lambda kernels: kernels.evaluate_samples(exp, d, mine)),
        "series of 10: deal": (20 * d.nbytes, lambda kernels: kernels.deal_samples(series, d, CHUNK, others)),
        "series of 10: sum": (20 * d.nbytes, lambda kernels: kernels.evaluate_samples(series, d, mine)),
    }


def measured(clock: Callable[[], float], budget: float = BUDGET) -> Iterator[tuple[str, str, float, dict[str, float]]]:
    """(kernel, unit, NumPy's rate, rate by level). The level in use is the best again afterwards."""
    levels = compiled.levels()
    for unit, make in (("GMAC/s", products), ("GB/s", streams)):
        made = {}
        for level in levels:  # each level draws its streams by the generator that it has
            compiled.set_level(level)
            made[level] = make()
        for name, (amount, call) in made[levels[-1]].items():
            base = amount / least(lambda call=call: call(reference), budget, clock) / 1e9
            rates = {}
            for level in levels:
                compiled.set_level(level)
                rates[level] = amount / least(lambda call=made[level][name][1]: call(compiled), budget, clock) / 1e9
            yield name, unit, base, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a kernel and level, for comparison by scripts"
    )
    options = parser.parse_args()
    compiled.threads = options.threads
    compiled.keep_memory()
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    levels = compiled.levels()
    if not options.json:
        print(f"{'':42}{'NumPy':>10}" + "".join(f"{level:>18}" for level in levels))
    for name, unit, base, rates in measured(clock):
        if options.json:
            for level, rate in rates.items():
                row = {"kernel": name, "unit": unit, "level": level, "rate": rate, "numpy": base, "ratio": rate / base}
                print(json.dumps(row))
        else:
            print(f"{name:42}{base:10.2f}" + "".join(f"{r:11.2f}{r / base:6.1f}x" for r in rates.values()), f" {unit}")
    if not options.json and "portable" in levels:
        print("portable has no AES: its streams are drawn by the NumPy kernels' generator, and prg is not its own")


if __name__ == "__main__":
    main()
