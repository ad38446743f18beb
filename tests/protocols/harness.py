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
    """What one run gave: values by reader, rounds, bytes, and each link's statistics."""

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
    if errors:
        raise next((e for _, e in errors if not isinstance(e, PeerFailed)), errors[0][1])
    assert not any(t.is_alive() for t in threads), "a reader hangs"
    return results


def run(plan: Plan, inputs: list[np.ndarray], n: int = 2, owners=None, debug: bool = True, recorder=None) -> Outcome:
    """Shares the secret inputs (by `owners`, default: "owner" who does not compute), runs, reveals to an outsider."""
    parties = NAMES[:n]
    names = (*parties, "dealer", "owner")
    links = dict(MemoryNetwork(names, idle=60))
    if recorder is not None:
        for name, link in links.items():
            link.recorder = recorder(name)
    table, nonce = seeds(names), random_bytes(32)
    lowered = schedule(plan, n)
    types = plan.input_types
    owners = owners or ["owner"] * len(types)
    out_types = lowered.output_types
    call_run, call_reveal = 1000, 2000

    def party(me):
        online = Online(links[me], me, parties, "dealer", Keys(me, nonce, table[me]), debug)
        given = []
        for i, (t, node, owner) in enumerate(zip(types, plan.inputs, owners, strict=True)):
            if t.public:
                given.append(inputs[i])
                continue
            wire = online.share(i + 1, t, owner, inputs[i] if owner == me else None)
            if node.attrs["wire"] == "shared":
                wire = online._share_of(wire, t).copy()
                wire = wire if t.kind == "bit" else wire.reshape(t.shape)
            given.append(wire)
        before = online.statistics.rounds
        outputs = online.run(call_run, lowered, given)
        revealed = []
        for i, (value, t) in enumerate(zip(outputs, out_types, strict=True)):
            if lowered.output_wires[i] == "public":
                revealed.append(value)
            else:
                online.reveal(call_reveal + i, value, t, ("owner",))
        sent = sum(links[me].statistics.total("sent", peer=p, kind=Kind.OPEN).payload for p in parties if p != me)
        return online.statistics.rounds - before, sent, revealed

    def dealer():
        reader = Dealer(links["dealer"], "dealer", parties, Keys("dealer", nonce, table["dealer"]), debug)
        given = []
        for i, (t, node, owner) in enumerate(zip(types, plan.inputs, owners, strict=True)):
            if t.public:
                given.append(inputs[i])
                continue
            wire = reader.share(i + 1, t, owner)
            given.append(None if node.attrs["wire"] == "shared" else wire)
        reader.run(call_run, lowered, given)
        return sum(links["dealer"].statistics.total("sent", kind=Kind.DEAL).payload for _ in range(1))

    def owner():
        for i, (t, who) in enumerate(zip(types, owners, strict=True)):
            if who == "owner" and not t.public:
                provide(links["owner"], i + 1, t, inputs[i], parties, "dealer")
        got = []
        for i, t in enumerate(out_types):
            public = lowered.output_wires[i] == "public"
            got.append(None if public else receive(links["owner"], call_reveal + i, t, parties))
        return got

    functions = {me: (lambda me=me: party(me)) for me in parties}
    results = parallel(functions | {"dealer": dealer, "owner": owner}, links)
    rounds = {results[p][0] for p in parties}
    assert len(rounds) == 1
    public = iter(results[parties[0]][2])
    values = [next(public) if v is None else v for v in results["owner"]]
    each = tuple(results[p][1] for p in parties)
    return Outcome(values, rounds.pop(), each, results["dealer"], links, lowered)


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
