"""What a step costs each reader of a plan besides messages: one reader at a time, its messages played back to it.

    python benchmarks/steps.py [--steps 300] [--reps 15] [--plan NAME] [--profile alice]

The plan runs once on in-memory links, where what each process receives is recorded; then each process runs it again
alone, with a link that hands out the record and sends nothing. Kernels (the native module's functions, on eight
elements, and the one dealing that is NumPy's) and the link are stamped and accounted apart; the rest is Python, all
that prepares a kernel's call in `ring/` included. Prints one JSON object a plan, in microseconds:

python   a lowered step, all of the run between kernels and links; `an op`: an op of the plan, which may be several
         steps; `a round`
kernels  a lowered step
whole    an op of the plan as it runs, without stamps: Python, kernels on eight elements and the played back link
rules    Python of a step of each rule and how many there are, over all its slices where it is resumed; of a level's
         `exchange`, and of what lies `between` two steps, messages' packing included
call     of an empty Python function on this machine at that time

An observer's stamps cut a run into slices; counted is the least of each, so that other processes' load falls out. What
the stamps themselves take, measured at the start, is subtracted.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import threading
import timeit
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from time import perf_counter_ns as now

import numpy as np

from mpcrt import numerics
from mpcrt.plan import Builder, Plan, Type
from mpcrt.plan.schedule import Schedule, Step, schedule
from mpcrt.plan.types import private
from mpcrt.protocols import Dealer, Keys, Online
from mpcrt.ring import kernels, samples
from mpcrt.ring.prg import random_bytes
from mpcrt.transport import MemoryNetwork

PARTIES = ("alice", "bob")
NAMES = (*PARTIES, "dealer")
SIZE = 8
WHOLE = 8
"""Runs that nobody observes for each one that is."""


class Apart:
    """Nanoseconds spent in kernels and in the link, which are no Python work; `calls` of kernels. `stamping`: what the
    stamps around a kernel's call take outside of them."""

    def __init__(self) -> None:
        self.kernels = self.link = self.calls = 0
        self.stamping = 0

    @property
    def total(self) -> int:
        return self.kernels + self.link

    def kernel(self, function: Callable) -> Callable:
        def stamped(*operands, **named):
            start = now()
            try:
                return function(*operands, **named)
            finally:
                self.calls += 1
                self.kernels += now() - start

        return stamped

    def calibrate(self, count: int = 1000) -> None:
        """Finds `stamping`, by calls of a function that does nothing with the operands of an average kernel."""
        stamped, found = self.kernel("".format), []
        for _ in range(100):
            self.kernels, start = 0, now()
            for _ in range(count):
                stamped(1, 2, 3, 4, 5)
            found.append((now() - start - self.kernels) // count)
        self.stamping = min(found)

    def stamp_kernels(self) -> None:
        """From now on in this process: the native module's functions, and NumPy's where there is none of its own."""
        samples.Chebyshev.deal = self.kernel(samples.Chebyshev.deal)
        if kernels.active() == "reference":
            raise SystemExit("there is no native module: its kernels cannot be told from Python")
        from mpcrt.ring import _native

        for name, value in list(vars(_native).items()):
            if callable(value) and not isinstance(value, type):
                setattr(_native, name, self.kernel(value))


class Slices:
    """An observer: (rule, nanoseconds of Python, of kernels) of each slice of a run, in order; `between` steps too.
    `own`: what an empty slice takes."""

    def __init__(self, apart: Apart, own: int = 0) -> None:
        self.apart, self.own, self.found, self.within = apart, own, [], ["between"]
        self.mark()

    @classmethod
    def empty(cls, apart: Apart, schedule: Schedule) -> int:
        """The nanoseconds of the least slice with nothing in it."""
        slices = cls(apart)
        for _ in range(10000):
            slices.begin(schedule, None)
            slices.end()
        return min(spent for _, spent, _ in slices.found)

    def mark(self) -> None:
        apart = self.apart
        self.calls, self.kernels, self.total, self.start = apart.calls, apart.kernels, apart.total, now()

    def slice(self) -> None:
        spent, apart = now() - self.start, self.apart
        spent -= apart.total - self.total + (apart.calls - self.calls) * apart.stamping + self.own
        self.found.append((self.within[-1], spent, apart.kernels - self.kernels))

    def begin(self, schedule: Schedule, step: Step | None) -> None:
        self.slice()
        self.within.append("exchange" if step is None else step.name)
        self.mark()

    def end(self) -> None:
        self.slice()
        self.within.pop()
        self.mark()


class Playback:
    """A link that hands out recorded messages, by address, and drops what is sent."""

    def __init__(self, name: str, record: dict, apart: Apart) -> None:
        self.name, self.record, self.apart = name, record, apart

    def recv(self, peer, address, *, limit):
        start = now()
        found = self.record[peer, address]
        self.apart.link += now() - start
        return found

    def send(self, peer, address, *buffers):
        pass

    def drain(self, peer, limit):
        pass


class Isolated:
    """A plan's run at each process by itself. `owners[i]` shares input i; `values[i]` are its ring elements."""

    def __init__(self, plan: Plan, owners: Sequence[str], values: Sequence[np.ndarray], apart: Apart) -> None:
        self.schedule: Schedule = schedule(plan, len(PARTIES))
        self.apart = apart
        seeds: dict[str, dict[str, bytes]] = {name: {} for name in NAMES}
        for i, a in enumerate(NAMES):
            for b in NAMES[i + 1 :]:
                seeds[a][b] = seeds[b][a] = random_bytes(32)
        self.keys = {name: Keys(name, bytes(32), seeds[name]) for name in NAMES}
        self.readers, self.inputs, self.records = {}, {}, {name: {} for name in NAMES}
        links = MemoryNetwork(NAMES, idle=100)
        for name in NAMES:
            links[name].recorder = self.recorder(name)
        self.together(lambda name: self.share(name, links[name], owners, values))
        self.together(lambda name: self.run(name))
        for name, reader in self.readers.items():
            reader.link = Playback(name, self.records[name], self.apart)

    def recorder(self, name: str) -> Callable:
        def record(direction, peer, address, buffers):
            if direction == "received":
                self.records[name][peer, address] = list(buffers)

        return record

    def together(self, work: Callable[[str], object]) -> None:
        threads = [threading.Thread(target=work, args=(name,)) for name in NAMES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def share(self, name: str, link, owners: Sequence[str], values: Sequence[np.ndarray]) -> None:
        types = self.schedule.plan.input_types
        if name == "dealer":
            reader = Dealer(link, name, PARTIES, self.keys[name])
        else:
            reader = Online(link, name, PARTIES, "dealer", self.keys[name])
        self.readers[name], wires = reader, []
        for i, (t, owner, value) in enumerate(zip(types, owners, values, strict=True)):
            own = (value if owner == name else None,) if name != "dealer" else ()
            wires.append(value if t.public else reader.share(i + 1, t, owner, *own))
        self.inputs[name] = wires

    def run(self, name: str) -> None:
        """The run of one process; always the same call, so that what was recorded fits."""
        self.readers[name].run(len(self.schedule.plan.inputs) + 1, self.schedule, self.inputs[name])

    def whole(self, name: str, reps: int) -> int:
        """Nanoseconds of a run alone that nobody observes: the least of `reps` runs."""
        self.readers[name].observer, found = None, []
        for _ in range(reps):
            start = now()
            self.run(name)
            found.append(now() - start)
        return min(found)

    def spent(self, name: str, reps: int) -> tuple[Counter, Counter]:
        """Nanoseconds of Python and of kernels by rule in a run alone: the least of each slice of `reps` runs."""
        reader, runs = self.readers[name], []
        own = Slices.empty(self.apart, self.schedule)
        for _ in range(reps):
            reader.observer = slices = Slices(self.apart, own)
            self.run(name)
            runs.append(slices.found)
        python, inside = Counter(), Counter()
        for slices in zip(*runs, strict=True):
            rule = slices[0][0]
            python[rule] += min(spent for _, spent, _ in slices)
            inside[rule] += min(spent for _, _, spent in slices)
        return python, inside


def built(make: Callable[[Builder, int], Sequence]) -> Callable[[int], Plan]:
    @wraps(make)
    def plan(steps: int) -> Plan:
        b = Builder()
        return b.finish(*make(b, steps))

    return plan


def secret(b: Builder, owner: str = "alice"):
    return b.input(Type((SIZE,), "ring", b.fraction, private(owner)))


@built
def linear(b: Builder, steps: int):
    """Sums, negations, layouts of shares."""
    x = b.mul(secret(b), secret(b, "bob"))
    y = x
    for i in range(steps // 4):
        y = b.neg(b.add(y, x))
        y = b.reshape(y, (2, SIZE // 2) if i % 2 == 0 else (SIZE,))
        y = b.transpose(y, (1, 0)) if i % 2 == 0 else b.slice(b.pad(y, (1,), (1,)), (1,), (SIZE + 1,))
        x = b.reshape(x, y.shape)
    return [y]


@built
def wires(b: Builder, steps: int):
    """The same on a wire, whose D and mask map separately."""
    x = secret(b)
    y = x
    for _ in range(steps // 2):
        y = b.neg(b.add(y, x))
    return [y]


@built
def products(b: Builder, steps: int):
    """Dependent products with their truncation: a round each."""
    x = secret(b)
    y = secret(b, "bob")
    for _ in range(steps // 3):
        y = b.truncate(b.mul(x, y))
    return [y]


@built
def public(b: Builder, steps: int):
    """Sums of public values that are inputs."""
    x = b.input(Type((SIZE,), "ring", b.fraction, "public"))
    y = x
    for _ in range(steps):
        y = b.add(y, x)
    return [y]


@built
def comparisons(b: Builder, steps: int):
    """relu after relu."""
    y = secret(b)
    for _ in range(steps // 6):
        y = b.select(b.not_(b.negative(y)), y)
    return [y]


@built
def contractions(b: Builder, steps: int):
    """Products of matrices, truncated and masked anew."""
    w = b.input(Type((1, SIZE, SIZE), "ring", b.fraction, private("bob")))
    y = b.reshape(secret(b), (1, 1, SIZE))
    for _ in range(steps // 5):
        y = b.truncate(b.dot(y, w))
    return [y]


@built
def integers(b: Builder, steps: int):
    """Products that are not truncated: what was opened needs shares of its mask."""
    x = b.input(Type((SIZE,), "ring", 0, private("alice")))
    y = b.input(Type((SIZE,), "ring", 0, private("bob")))
    for _ in range(steps // 3):
        y = b.mul(x, b.add(y, b.mul(y, y)))
    return [y]


@built
def bits(b: Builder, steps: int):
    """Ands of bits, a round each, whose masks need shares; equality with zero; bits made numbers."""
    x = secret(b)
    y = b.negative(x)
    for _ in range(steps // 8):
        y = b.and_(y, b.and_(y, b.equal(b.add(x, b.mul(b.to_ring(y), b.integer(1))), x)))
    return [y]


@built
def smooth(b: Builder, steps: int):
    """Sigmoids and reciprocals: samples, tables, fuzzy thresholds."""
    y = secret(b)
    for _ in range(steps // 60):
        y = numerics.reciprocal(b, b.add(numerics.sigmoid(b, y), b.real(np.float64(1.0))))
    return [y]


def transformer(steps: int) -> Plan:
    """GPT-2's blocks as JAX traces them, 16 wide, 4 tokens: what a plan op of a model takes on average."""
    import jax
    from gpt2 import case

    from mpcrt.tracing import Abstract, trace

    def abstract(tree, owner: str):
        return jax.tree.map(lambda a: Abstract(a.shape, a.dtype, f"private({owner})"), tree)

    function, (ids, weights) = case(max(1, steps // 300), width=16, vocabulary=8, count=4)()
    return trace(function, (abstract(ids, "bob"), abstract(weights, "alice")), parties=PARTIES).plan


MADE = (linear, wires, public, products, comparisons, contractions, integers, bits, smooth, transformer)
PLANS = {make.__name__: make for make in MADE}


def each(nanoseconds: int, count: int) -> float:
    """Microseconds of one of `count`."""
    return round(nanoseconds / count / 1000, 1)


def pace() -> float:
    """Microseconds of an empty call: how fast this machine is now, beside which other figures are to be read."""
    return round(min(timeit.repeat("f()", globals={"f": lambda: None}, number=10000, repeat=50)) * 100, 3)


def isolated(plan: Plan, apart: Apart) -> Isolated:
    """With inputs of small numbers, each shared by its owner (public ones are alice's to tell)."""
    random = np.random.default_rng(1)
    values = [random.integers(0, 1 << 18, t.shape).astype(np.uint64) for t in plan.input_types]
    return Isolated(plan, [t.owner or "alice" for t in plan.input_types], values, apart)


def main() -> None:
    """One plan after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--plan", choices=PLANS)
    parser.add_argument("--profile", choices=NAMES, help="print where this process's time goes")
    given = parser.parse_args()
    apart = Apart()
    plans = {name: PLANS[name](given.steps) for name in ([given.plan] if given.plan else PLANS)}
    whole = {}
    for name, plan in plans.items():
        alone = isolated(plan, apart)
        whole[name] = {who: alone.whole(who, WHOLE * given.reps) for who in NAMES}
    apart.stamp_kernels()
    apart.calibrate()
    for name, plan in plans.items():
        alone = isolated(plan, apart)
        lowered = alone.schedule
        spent = {who: alone.spent(who, given.reps) for who in NAMES}
        of = Counter(s.name for s in lowered.steps) + Counter(
            {"exchange": lowered.rounds, "between": len(lowered.steps)}
        )
        python, inside = ({who: each(spent[who][i].total(), len(lowered.steps)) for who in NAMES} for i in (0, 1))
        rules = {
            rule: {who: each(spent[who][0][rule], of[rule]) for who in NAMES} | {"count": of[rule]}
            for rule in spent[NAMES[0]][0]
        }
        nodes = sum(node.op not in ("input", "constant") for node in lowered.plan.nodes)
        of_all = {who: spent[who][0].total() for who in NAMES}
        row = {"plan": name, "steps": len(lowered.steps), "ops": nodes, "rounds": lowered.rounds, "python": python}
        row["an op"] = {who: each(total, nodes) for who, total in of_all.items()}
        row["whole"] = {who: each(total, nodes) for who, total in whole[name].items()}
        if lowered.rounds:
            row["a round"] = {who: each(total, lowered.rounds) for who, total in of_all.items()}
        row |= {"kernels": inside, "rules": rules, "call": pace()}
        print(json.dumps(row))
        if given.profile:
            profile = cProfile.Profile()
            profile.runcall(alone.run, given.profile)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
