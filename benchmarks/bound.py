"""What a comparison costs in Python at least: its calls written one after the other, without driver, contexts, rules.

    python benchmarks/bound.py [--reps 300]

A comparison (`msb`) opens twice: at one of two parties it takes three kernels, a message out and one in a round, and
two sums. `straight` makes these calls with everything else prepared and nothing checked, `rule` is the same by the real
driver, but for the messages, which a level's openings share (`exchange`, `between`). Both for eight elements, kernels
and links apart, as in benchmarks/steps.py, the least of many runs, in microseconds: `hot` after itself, `warm` after
all other steps of a relu. `call`: of an empty Python function on this machine now.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from time import perf_counter_ns as now

import numpy as np
import steps

from mpcrt.plan import Builder
from mpcrt.ring import blocks, kernels
from mpcrt.ring.prg import random_bytes
from mpcrt.transport.link import Address, Kind


class Straight:
    """The lead's part of one comparison of `steps.SIZE` elements, all that does not change prepared."""

    def __init__(self, link) -> None:
        self.link, self.prg, self.spec = link, kernels.Prg(random_bytes(16)), blocks.compare_spec(0, 47)
        self.opened = np.arange(steps.SIZE, dtype=np.uint64)
        self.sizes = blocks.sizes(self.spec, steps.SIZE)
        self.theirs = [np.zeros(words, np.uint64) for words in self.sizes.opened]

    def run(self, stream: int) -> np.ndarray:
        """A round a level: open under a mask, send, receive, add up; then the result."""
        prg, climb, opened = self.prg, kernels.climb(self.spec, steps.SIZE, True), self.opened
        share = ((prg, stream, 0),)
        for number, words in enumerate(self.sizes.opened):
            mine = climb.open(opened, share, ((prg, stream | 32 + number, 0),))
            self.link.send("bob", Address(Kind.OPEN, 1, 0, number), mine)
            (theirs,) = self.link.recv("bob", number, limit=8 * words)
            opened, share = mine ^ theirs, ((prg, stream | 64 + number, 0),)
        return climb.close(opened, share)


@steps.built
def relu(b: Builder, _: int) -> Sequence:
    """One, and its sign: so that the step of the comparison exposes nothing."""
    y = steps.secret(b)
    sign = b.negative(y)
    return [b.select(b.not_(sign), y), sign]


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
    alone = steps.isolated(relu(1), apart)
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
