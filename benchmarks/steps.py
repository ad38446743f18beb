"""What a step costs each reader of a plan besides messages: one reader at a time, its messages played back to it.

    python benchmarks/steps.py [--steps 1000] [--reps 15] [--plan NAME] [--profile alice]

The plan runs once on in-memory links, where what each process receives is recorded; then each process runs it again
alone, with a link that hands out the record and sends nothing. Prints one JSON object a plan: microseconds of
processor time a step at each process (the least of the repetitions), kernels on eight elements included.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from mpcrt.plan import Builder, Plan, Type
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.plan.types import private
from mpcrt.protocols import Dealer, Keys, Online
from mpcrt.ring.prg import random_bytes
from mpcrt.transport import MemoryNetwork

PARTIES = ("alice", "bob")
NAMES = (*PARTIES, "dealer")
SIZE = 8


class Playback:
    """A link that hands out recorded messages, by address, and drops what is sent."""

    def __init__(self, name: str, record: dict) -> None:
        self.name, self.record = name, record

    def recv(self, peer, address, *, limit):
        return self.record[peer, address]

    def send(self, peer, address, *buffers):
        pass

    def drain(self, peer, limit):
        pass


class Isolated:
    """A plan's run at each process by itself. `owners[i]` shares input i; `values[i]` are its ring elements."""

    def __init__(self, plan: Plan, owners: Sequence[str], values: Sequence[np.ndarray]) -> None:
        self.schedule: Schedule = schedule(plan, len(PARTIES))
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
            reader.link = Playback(name, self.records[name])

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

    def seconds(self, name: str, reps: int) -> float:
        """The least processor time of a run alone."""
        found = []
        for _ in range(reps):
            start = time.process_time()
            self.run(name)
            found.append(time.process_time() - start)
        return min(found)


def steps_of(scheduled: Schedule) -> int:
    """Steps that a run goes through, those of loops once a trip."""
    bodies = [(s.attrs["body"], s.attrs["trips"]) for s in scheduled.steps if s.rule == "loop"]
    return len(scheduled.steps) + sum(trips * steps_of(body) for body, trips in bodies)


def built(make: Callable[[Builder, int], Sequence]) -> Callable[[int], Plan]:
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


PLANS = {"linear": linear, "wires": wires, "products": products, "public": public, "comparisons": comparisons}


def isolated(plan: Plan) -> Isolated:
    """With inputs of small numbers, each shared by its owner (public ones are alice's to tell)."""
    random = np.random.default_rng(1)
    values = [random.integers(0, 1 << 18, t.shape).astype(np.uint64) for t in plan.input_types]
    return Isolated(plan, [t.owner or "alice" for t in plan.input_types], values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--reps", type=int, default=15)
    parser.add_argument("--plan", choices=PLANS)
    parser.add_argument("--profile", choices=NAMES, help="print where this process's time goes")
    given = parser.parse_args()
    for name in [given.plan] if given.plan else PLANS:
        alone = isolated(PLANS[name](given.steps))
        count = steps_of(alone.schedule)
        spent = {who: round(alone.seconds(who, given.reps) / count * 1e6, 1) for who in NAMES}
        print(json.dumps({"plan": name, "steps": count, "rounds": alone.schedule.rounds, "us_per_step": spent}))
        if given.profile:
            profile = cProfile.Profile()
            profile.runcall(alone.run, given.profile)
            pstats.Stats(profile).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
