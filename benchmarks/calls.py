"""What a cached secure call costs besides its rounds: relu of one element, again and again, in real processes.

    python benchmarks/calls.py [--calls 400] [--profile alice]

Prints one JSON object, in microseconds. `own`: processor time of a call on the thread that runs it, outside links and
the plan (at the dealer: from one call's end to the next one's); `main`: that of the thread that makes the calls.
`silent`: from a placement call until its result is known, of a function that opens nothing (`-x`), so all of it is
overhead. `call`: the same of relu, and `rounds`: the same plan run by the same processes over the
same links without calls, the dealer ahead; both wall clock at alice, the best and the median of eight parts.
`overhead`: call less rounds, of the best.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import itertools
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.cluster.config import ClusterConfig
from mpcrt.cluster.sockets import close_all, free_ports_cluster
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.protocols import Dealer, Keys, Online
from mpcrt.runtime import current
from mpcrt.runtime.engine import Engine
from mpcrt.runtime.follower import Service
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.links import make_link
from mpcrt.runtime.main import connect, use_threads
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.session import Session
from mpcrt.runtime.values import parts
from mpcrt.transport.link import Address, Kind, Link

PARTS = 8
WARM = 30
"""Calls before the measured ones."""
FIRST = 1 << 24
"""Bare runs have call numbers from here on, so that they share no mask with those of the session."""


class Meter(Profile):
    """What the thread of the calls spends outside links and plans. `own`: processor seconds of each call."""

    one_by_one = True

    def __init__(self) -> None:
        self.own: list[float] = []
        self._since = self._outside = 0.0
        self._within = False

    @contextlib.contextmanager
    def slice(self, kind: str, name: str, **details: Any) -> Iterator[None]:
        with self.outside() if kind == "plan" else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def call(self, number: int, description: str) -> Iterator[None]:
        yield
        now = time.thread_time()
        if number:  # not what only asks for a call's result
            self.own.append(now - self._since - self._outside)
        self._since, self._outside = now, 0.0

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        if self._within:
            yield
            return
        self._within, start = True, time.thread_time()
        try:
            yield
        finally:
            self._outside += time.thread_time() - start
            self._within = False

    def watch(self, link: Link) -> None:
        def metered(function: Callable) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                with self.outside():
                    return function(*args, **kwargs)

            return call

        for name in ("send", "recv", "drain"):
            setattr(link, name, metered(getattr(link, name)))


def party(config: ClusterConfig, link: Link, calls: int, meter: Meter, profile: cProfile.Profile | None) -> dict:
    """The calls of a party, then the bare runs."""
    import jax

    session = Session(config, link.name)
    engine = Engine(session, lambda: (link, connect(config, link, has_program=True)), meter)
    engine.link = link
    if profile is not None:
        engine.thread.run = lambda run=engine.thread.run: profile.runcall(run)
    engine.thread.start()
    current.session.set(session)
    x = session.inject(np.ones(1, np.float32), "alice")

    def timed(function: Callable) -> list[float]:
        secure, took = mpcrt.spu("spu")(function), []
        for _ in range(WARM):
            session.wait_run(parts(secure(x))[0])
        for _ in range(PARTS):
            began = time.perf_counter()
            for _ in range(calls // PARTS):
                session.wait_run(parts(secure(x))[0])
            took.append((time.perf_counter() - began) / (calls // PARTS))
        return took

    silent, start = timed(jax.numpy.negative), time.thread_time()
    called = timed(jax.nn.relu)
    spent = (time.thread_time() - start) / (calls + WARM)
    session.finish()
    engine.thread.join()
    own = meter.own[-calls - 1 : -1]
    return {"own": own, "main": spent, "silent": silent, "call": called, **bare(link, engine.roster, calls)}


def dealer(config: ClusterConfig, link: Link, calls: int, meter: Meter, profile: cProfile.Profile | None) -> dict:
    """The same at the dealer."""
    roster = connect(config, link, has_program=False)
    service = Service(config, link, roster, profile=meter)
    if profile is not None:
        profile.runcall(service.serve)
    else:
        service.serve()
    return {"own": meter.own[-calls - 1 : -1], **bare(link, roster, calls)}


def bare(link: Link, roster: Roster, calls: int) -> dict:
    """The plan alone, as often: wall time of a run in each part."""
    parties = ("alice", "bob")
    keys, plan = Keys(link.name, roster.nonce, roster.seeds), plan_of(parties)
    type_, numbers, took = plan.plan.input_types[0], itertools.count(FIRST + 1), []
    if link.name == "dealer":
        reader: Any = Dealer(link, link.name, parties, keys)
        wire = reader.share(FIRST, type_, "alice")
    else:
        reader = Online(link, link.name, parties, "dealer", keys)
        wire = reader.share(FIRST, type_, "alice", np.ones(1, np.uint64) if link.name == "alice" else None)
    for part in range(PARTS + 1):
        for peer in link.peers:
            link.send(peer, Address(Kind.RESULT, FIRST, part), b"")
        for peer in link.peers:
            link.recv(peer, Address(Kind.RESULT, FIRST, part), limit=0)
        began = time.perf_counter()
        for _ in range(calls // PARTS):
            reader.run(next(numbers), plan, [wire])
        took.append((time.perf_counter() - began) / (calls // PARTS))
    return {"rounds": took[1:]}


def plan_of(parties: Sequence[str]) -> Schedule:
    """relu of one secret element that is on the device."""
    import jax

    from mpcrt.tracing import Abstract, trace

    leaf = Abstract((1,), np.dtype(np.float32), "secret", "masked")
    return schedule(trace(jax.nn.relu, [leaf], parties=tuple(parties)).plan, len(parties))


def process(file: Path, name: str, descriptor: int | None, calls: int, profiled: bool) -> None:
    """One process of the run; prints what it measured."""
    config = configs.load(file)
    use_threads(len(config.names))
    link, meter = make_link(config, name, descriptor), Meter()
    meter.watch(link)
    profile = cProfile.Profile() if profiled else None
    try:
        found = (dealer if name in config.dealers else party)(config, link, calls, meter, profile)
    finally:
        link.close()
    print(json.dumps(found))
    if profile is not None:
        sys.stdout = sys.stderr
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def measure(calls: int, profiled: str = "") -> dict:
    """What the processes found, put together."""
    config, sockets = free_ports_cluster(configs.local(2, tls="off"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.yaml"
        file.write_text(config.to_yaml())
        children = {}
        for name in config.names:
            descriptor = sockets[name].fileno() if name in sockets else None  # the last party dials all others
            command = [sys.executable, __file__, "--calls", str(calls), "--process", name, "--cluster", str(file)]
            command += ["--descriptor", str(descriptor)] * (descriptor is not None) + ["--profile", profiled]
            passed = [] if descriptor is None else [descriptor]
            children[name] = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=passed, text=True)
        close_all(sockets)
        try:
            found = {name: json.loads(child.communicate(timeout=300)[0]) for name, child in children.items()}
        finally:
            for child in children.values():
                child.kill()
    call, rounds = found["alice"]["call"], found["alice"]["rounds"]
    return {
        "own": {name: best_and_median(row["own"]) for name, row in found.items()},
        "main": {name: round(row["main"] * 1e6, 1) for name, row in found.items() if "main" in row},
        "silent": best_and_median(found["alice"]["silent"]),
        "call": best_and_median(call),
        "rounds": best_and_median(rounds),
        "overhead": round((min(call) - min(rounds)) * 1e6),
    }


def best_and_median(seconds: Sequence[float]) -> dict[str, float]:
    return {"best": round(min(seconds) * 1e6, 1), "median": round(statistics.median(seconds) * 1e6, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--profile", default="", help="print where this process's engine spends its time")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    parser.add_argument("--cluster", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--descriptor", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.process:
        process(given.cluster, given.process, given.descriptor, given.calls, given.profile == given.process)
        return
    print(json.dumps(measure(given.calls, given.profile)))


if __name__ == "__main__":
    main()
