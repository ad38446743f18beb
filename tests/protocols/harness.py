"""Runs plans through real readers: n party threads and a dealer thread on in-memory links."""

import threading
from dataclasses import dataclass, field

import numpy as np

from mpcrt.errors import PeerFailed
from mpcrt.plan import Builder, Plan, Type
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.protocols import Dealer, Keys, Online, cost, provide, receive
from mpcrt.protocols import plaintext as clear
from mpcrt.ring.prg import random_bytes
from mpcrt.transport import Failure, Kind, MemoryNetwork

NAMES = ("alice", "bob", "carol", "dave", "erin")


def seeds(names: tuple[str, ...]) -> dict[str, dict[str, bytes]]:
    """A seed for every pair."""
    table: dict[str, dict[str, bytes]] = {a: {} for a in names}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            table[a][b] = table[b][a] = random_bytes(32)
    return table


@dataclass
class Outcome:
    """What one run gave: values by reader, rounds, bytes, and in threads each link's statistics."""

    values: list[np.ndarray]
    rounds: int
    each_party_bytes: tuple[int, ...]
    dealer_bytes: int
    links: dict
    schedule: Schedule
    errors: list = field(default_factory=list)

    @property
    def party_bytes(self) -> int:
        return sum(self.each_party_bytes)


@dataclass
class Job:
    """One run of a plan: `owners` share its secret inputs; its outputs are revealed to "owner", who does not compute.

    `calls` is the first call number it uses; a link lives through many jobs.
    """

    plan: Plan
    inputs: list[np.ndarray]
    owners: list[str]
    parties: tuple[str, ...]
    nonce: bytes
    seeds: dict[str, bytes]
    debug: bool = True
    calls: int = 0

    def do(self, link) -> tuple[int, int, list]:
        """(rounds, bytes sent, values seen) of the link's owner in this job."""
        self.types = self.plan.input_types
        self.schedule = schedule(self.plan, len(self.parties))
        role = self.owner if link.name == "owner" else self.dealer if link.name == "dealer" else self.party
        return role(link)

    def reveal_call(self, output: int) -> int:
        return self.calls + len(self.types) + 2 + output

    def party(self, link) -> tuple[int, int, list]:
        me = link.name
        online = Online(link, me, self.parties, "dealer", Keys(me, self.nonce, self.seeds), self.debug)
        given = []
        for i, (t, node, owner) in enumerate(zip(self.types, self.plan.inputs, self.owners, strict=True)):
            if t.public:
                given.append(self.inputs[i])
                continue
            wire = online.share(self.calls + i + 1, t, owner, self.inputs[i] if owner == me else None)
            if node.attrs["wire"] == "shared":
                wire = online._share_of(wire, t).copy()
                wire = wire if t.kind == "bit" else wire.reshape(t.shape)
            given.append(wire)
        before, sent = online.statistics.rounds, self.sent(link)
        outputs = online.run(self.calls + len(self.types) + 1, self.schedule, given)
        rounds, sent = online.statistics.rounds - before, self.sent(link) - sent
        seen = []
        for i, (value, t) in enumerate(zip(outputs, self.schedule.output_types, strict=True)):
            if self.schedule.output_wires[i] == "public":
                seen.append(value)
            else:
                online.reveal(self.reveal_call(i), value, t, ("owner",))
        return rounds, sent, seen

    def sent(self, link) -> int:
        return sum(
            link.statistics.total("sent", peer=p, kind=Kind.OPEN).payload for p in self.parties if p != link.name
        )

    def dealer(self, link) -> tuple[int, int, list]:
        reader = Dealer(link, "dealer", self.parties, Keys("dealer", self.nonce, self.seeds), self.debug)
        given = []
        for i, (t, node, owner) in enumerate(zip(self.types, self.plan.inputs, self.owners, strict=True)):
            if t.public:
                given.append(self.inputs[i])
                continue
            wire = reader.share(self.calls + i + 1, t, owner)
            given.append(None if node.attrs["wire"] == "shared" else wire)
        before = link.statistics.total("sent", kind=Kind.DEAL).payload
        reader.run(self.calls + len(self.types) + 1, self.schedule, given)
        return 0, link.statistics.total("sent", kind=Kind.DEAL).payload - before, []

    def owner(self, link) -> tuple[int, int, list]:
        for i, (t, who) in enumerate(zip(self.types, self.owners, strict=True)):
            if who == "owner" and not t.public:
                provide(link, self.calls + i + 1, t, self.inputs[i], self.parties, "dealer")
        seen = []
        for i, t in enumerate(self.schedule.output_types):
            public = self.schedule.output_wires[i] == "public"
            seen.append(None if public else receive(link, self.reveal_call(i), t, self.parties))
        return 0, 0, seen


def parallel(functions: dict, links: dict) -> dict:
    """Runs each function in a thread; re-raises the first error after telling all links."""
    results, errors = {}, []

    def guarded(name, function):
        try:
            results[name] = function()
        except BaseException as error:
            errors.append((name, error))
            links[name].abort(Failure(name, "a test", 0))

    threads = [threading.Thread(target=guarded, args=item, daemon=True) for item in functions.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join(100)
    hanging = [name for name, t in zip(functions, threads, strict=True) if t.is_alive()]
    for name in hanging:  # ends what waits on its link
        links[name].close()
    for t in threads:
        t.join(5)
    if errors and not hanging:
        raise next((e for _, e in errors if not isinstance(e, PeerFailed)), errors[0][1])
    assert not hanging, f"readers hang: {', '.join(hanging)}; {errors}"
    return results


def in_threads(jobs: dict[str, Job], recorder=None) -> tuple[dict, dict]:
    """Each party's job in a thread of this process, on in-memory links."""
    links = dict(MemoryNetwork(tuple(jobs), idle=60))
    if recorder is not None:
        for name, link in links.items():
            link.recorder = recorder(name)
    return parallel({name: (lambda name=name: jobs[name].do(links[name])) for name in jobs}, links), links


processes = None
"""`processes(jobs) -> results` while tests run on ZeroMQ between processes (see conftest.py), else None."""


def run(plan: Plan, inputs: list[np.ndarray], n: int = 2, owners=None, debug: bool = True, recorder=None) -> Outcome:
    """Shares the secret inputs (by `owners`, default: "owner" who does not compute), runs, reveals to an outsider."""
    parties = NAMES[:n]
    names = (*parties, "dealer", "owner")
    table, nonce = seeds(names), random_bytes(32)
    owners = owners or ["owner"] * len(plan.input_types)
    jobs = {me: Job(plan, inputs, owners, parties, nonce, table[me], debug) for me in names}
    results, links = (processes(jobs), {}) if processes and recorder is None else in_threads(jobs, recorder)
    rounds = {results[p][0] for p in parties}
    assert len(rounds) == 1
    public = iter(results[parties[0]][2])
    values = [next(public) if v is None else v for v in results["owner"][2]]
    each = tuple(results[p][1] for p in parties)
    return Outcome(values, rounds.pop(), each, results["dealer"][1], links, schedule(plan, n))


def plan_of(function, *types: Type, wires=None) -> Plan:
    """The plan of `function(builder, *inputs)`."""
    b = Builder()
    wires = wires or [None] * len(types)
    values = [b.input(t, w) for t, w in zip(types, wires, strict=True)]
    out = function(b, *values)
    return b.finish(*(out if isinstance(out, (tuple, list)) else (out,)))


def check(plan: Plan, inputs, n=2, ulp: int = 0, **options) -> Outcome:
    """Runs and compares with the plaintext reader: equal, or up to `ulp` above; and cost with what was measured."""
    inputs = [np.asarray(x) for x in inputs]
    outcome = run(plan, inputs, n, **options)
    expected = clear.run(plan, inputs)
    for got, want, t in zip(outcome.values, expected, plan.output_types, strict=True):
        assert got.shape == want.shape == t.shape
        if ulp and t.kind == "ring":
            error = (got - want).view(np.int64)
            assert not error.size or (-ulp <= error.min() and error.max() <= ulp), (error.min(), error.max())
        else:
            np.testing.assert_array_equal(got, want)
    declared = cost(outcome.schedule)
    assert declared.rounds == outcome.rounds
    assert declared.each_party_bytes == outcome.each_party_bytes
    assert declared.dealer_bytes == outcome.dealer_bytes
    return outcome
