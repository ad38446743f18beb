"""What a comparison costs in Python at least: its calls written one after the other, without driver, contexts, rules.

    python benchmarks/bound.py [--reps 300]

A comparison (`msb`) opens twice: at one of two parties it takes a look-up, two gatherings, two evaluations, a message
out and one in a round, two sums, and the arrays that all these write. `straight` makes these calls with everything else
prepared and nothing checked, `rule` is the same by the real driver, but for the messages, which a level's openings
share (`exchange`, `between`). Both for eight elements, kernels and links apart, as in benchmarks/steps.py, the least of
many runs, in microseconds: `hot` after itself, `warm` after all other steps of a relu. `call`: of an empty Python
function on this machine now.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from time import perf_counter_ns as now

import numpy as np
import steps

from mpcrt.ring import _native, blocks, kernels, plane_programs
from mpcrt.ring.prg import random_bytes
from mpcrt.transport.link import Address, Kind

WORD = np.dtype(np.uint64)


class Straight:
    """The lead's part of one comparison of `steps.SIZE` elements, all that does not change prepared."""

    def __init__(self, link) -> None:
        self.link, self.prg, self.spec = link, kernels.Prg(random_bytes(16)), blocks.compare_spec(0, 47)
        self.opened = np.arange(steps.SIZE, dtype=np.uint64)
        self.sizes = blocks.sizes(self.spec, steps.SIZE)
        self.theirs = [np.zeros(level.opened, np.uint64) for level in self.spec.levels]
        self.shapes = [((1, level.opened, 1), (1, len(level.nodes), 1)) for level in self.spec.levels]
        self.gathering = [plane_programs.gathering(level) for level in self.spec.levels]
        self.evaluation = [plane_programs.evaluation(level, True)[0] for level in self.spec.levels]

    def run(self, stream: int) -> np.ndarray:
        """Look-up, then a round a level: gather, send, receive, add up, evaluate."""
        prg, empty, planes, spec = self.prg, np.empty, _native.planes, self.spec
        lt, eq, sign = empty(self.sizes.planes, WORD), empty(self.sizes.planes, WORD), empty(1, WORD)
        tables = ((prg, stream, 0),)
        _native.look_up(self.opened, tables, 1, spec.drop, spec.width, spec.block, False, True, lt, eq, sign)
        for number, level in enumerate(spec.levels):
            wide, narrow = self.shapes[number]
            count, inputs, mask = level.opened, level.inputs, ((prg, stream | 32 + number, 0),)
            mine, products = empty(wide, WORD), ((prg, stream | 64 + number, 0),)
            planes(self.gathering[number], (mine,), ((inputs, lt), (inputs, eq), (count, mask)))
            mine, address = mine.ravel(), Address(Kind.OPEN, 1, 0, number)
            self.link.send("bob", address, mine)
            (theirs,) = self.link.recv("bob", number, limit=8 * count)
            opened = mine ^ theirs
            out = empty(narrow, WORD), empty(narrow, WORD)
            read = (count, opened), (count, mask), (level.products, products), (inputs, lt), (inputs, eq)
            planes(self.evaluation[number], out, read)
            lt, eq = out
        return lt.ravel() ^ sign


def straight(apart: steps.Apart, reps: int, before: Callable[[], object]) -> float:
    """Microseconds of Python, calls of kernels and of the link's `recv` apart, each after `before`."""
    link = steps.Playback("alice", {}, apart)
    comparison = Straight(link)
    link.record = {("bob", number): [theirs] for number, theirs in enumerate(comparison.theirs)}
    found = []
    for i in range(reps):
        before()
        total, calls, start = apart.total, apart.calls, now()
        comparison.run((i + 1) << 8)
        found.append(now() - start - (apart.total - total) - (apart.calls - calls) * apart.stamping)
    return round(min(found) / 1000, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reps", type=int, default=300)
    reps = parser.parse_args().reps
    apart = steps.Apart()
    apart.stamp_kernels()
    apart.calibrate()
    alone = steps.isolated(steps.comparisons(6), apart)  # one relu
    python, _ = alone.spent("alice", reps)
    row = {
        "straight, hot": straight(apart, 10 * reps, lambda: None),
        "straight, warm": straight(apart, reps, lambda: alone.run("alice")),
        "rule": steps.each(python["msb"], 1),
        "exchange": steps.each(python["exchange"], alone.schedule.rounds),
        "between": steps.each(python["between"], len(alone.schedule.steps)),
    }
    print(json.dumps(row | {"call": steps.pace()}))


if __name__ == "__main__":
    main()
