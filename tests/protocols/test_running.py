"""How a schedule runs: what shares a message, what leaves early, what runs meanwhile, what is let go."""

from dataclasses import dataclass

import numpy as np
import pytest
from harness import plan_of, run

from mpcrt.plan import Type
from mpcrt.plan.schedule import CHUNK, Schedule, schedule
from mpcrt.protocols.lineup import lineup
from mpcrt.protocols.ops import bilinear
from mpcrt.protocols.rules import RULES
from mpcrt.transport import Kind

REAL = Type((9,), "ring", 18)


def several(b, x, y):
    """Products, signs and re-masks that do not depend on each other, one after the other."""
    z = b.truncate(b.mul(x, y))
    return z, b.negative(b.sub(x, y)), b.select(b.negative(x), y), b.mul(z, b.truncate(b.mul(x, x)))


def inputs(rng, count: int, size: int = 9) -> list[np.ndarray]:
    return [rng.integers(0, 1 << 20, size).astype(np.uint64) for _ in range(count)]


@pytest.mark.parametrize("n", [2, 3])
def test_openings_of_a_level_share_one_message(n, rng):
    """Re-masks too: as many messages to each peer as rounds."""
    sent = []

    def recorder(name):
        def record(direction, peer, address, buffers):
            if (name, direction, peer, address.kind) == ("alice", "sent", "bob", Kind.OPEN):
                sent.append(address)

        return record

    outcome = run(plan_of(several, REAL, REAL), inputs(rng, 2), n, recorder=recorder)
    assert len(sent) == outcome.rounds < 6


def test_a_large_opening_leaves_before_the_next_chunk_is_computed(monkeypatch, rng):
    events = []
    original = bilinear.expose_product_online

    def computed(ctx, x, y):
        if ctx.run.me == "alice":
            events.append("computed")
        return original(ctx, x, y)

    def recorder(name):
        def record(direction, peer, address, buffers):
            if (name, direction, address.kind) == ("alice", "sent", Kind.OPEN):
                events.append("sent")

        return record

    monkeypatch.setattr(RULES["expose_product"], "online", computed)
    large = Type((3 * CHUNK,), "ring", 18)
    plan = plan_of(lambda b, x, y: b.truncate(b.mul(x, y)), large, large)
    run(plan, inputs(rng, 2, 3 * CHUNK), recorder=recorder)
    assert events == ["computed", "sent"] * 3


def everything(lowered: Schedule) -> list:
    return [s for level in lowered.levels for s in level]


def test_what_leads_to_no_opening_runs_while_others_travel():
    """u + u is there from the start, and needed only after the product has been opened."""

    def function(b, x, y, u):
        return b.add(b.add(u, u), b.truncate(b.mul(b.add(x, y), y)))

    lowered = schedule(plan_of(function, REAL, REAL, REAL), 2)
    first, urgent = lowered.levels[0], lowered.urgent[0]
    assert [s.rule for s in first[:urgent]] == ["linear", "expose_product"] and len(first) > urgent
    assert sorted(everything(lowered), key=lambda s: s.number) == sorted(lowered.steps, key=lambda s: s.number)


@dataclass
class Reader:
    """As much of a run as a lineup needs."""

    me: str = "alice"
    parties: tuple[str, ...] = ("alice", "bob")
    lead: bool = True

    def rule(self, rule, step, held):
        return rule.online, rule.assemble_online, True


def test_values_are_let_go_at_their_last_use():
    lowered = schedule(plan_of(several, REAL, REAL), 2)
    stages = [s for level in lineup(lowered, Reader()).levels for part in level for s in part]
    made = {v for s in stages for v in s.step.results} - set(lowered.outputs)
    assert made == {v for s in stages for v in s.freed}
    for i, s in enumerate(stages):
        assert not set(s.freed).intersection(v for later in stages[i + 1 :] for v in later.operands)


def test_the_first_corrections_leave_before_later_ones_are_made(rng):
    """Of a comparison, the tables alone: parties open their first bits with them while the dealer goes on."""
    dealt = []

    def recorder(name):
        def record(direction, peer, address, buffers):
            if (name, direction, address.kind) == ("dealer", "sent", Kind.DEAL):
                dealt.append(sum(b.size for b in buffers))

        return record

    plan = plan_of(lambda b, x: b.negative(x), REAL)
    run(plan, inputs(rng, 1), recorder=recorder)
    (step,) = [s for s in schedule(plan, 2).steps if s.rule == "msb"]
    assert dealt[0] == step.attrs["spec"].table_words < sum(dealt)
