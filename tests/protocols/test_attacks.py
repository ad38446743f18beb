"""Attacks that once worked, or nearly: each would break a rule that keeps the protocol secure."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest
from harness import NAMES, parallel, plan_of, seeds

from mpcrt.plan import Limits, Plan, Type
from mpcrt.plan.declare import PlanError
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.protocols import Dealer, Keys, Online
from mpcrt.ring.prg import random_bytes
from mpcrt.transport import Kind, MemoryNetwork

INPUT = ["input", [], [[2], "ring", 18, "secret", "masked"]]


def altered(lowered: Schedule) -> Schedule:
    """The same plan as another release might lower it: its last step is something else."""
    last = lowered.steps[-1]
    changed = replace(last, attrs=last.attrs | {"release": 2})
    levels = tuple(tuple(changed if s is last else s for s in level) for level in lowered.levels)
    return replace(lowered, steps=(*lowered.steps[:-1], changed), levels=levels, kept={})


def test_schedules_of_one_plan_that_differ_share_no_masks():
    """A position names a step, so two lowerings of one plan would use a word for two values: an opening here, and a
    correction there. The keys differ with the schedule, and so does all that is drawn for the same position."""
    types = [Type((8,), "ring", 18, "private(alice)"), Type((8,), "ring", 18, "private(bob)")]
    plan = plan_of(lambda b, x, y: b.truncate(b.mul(x, y)), *types)
    lowered, other = schedule(plan, 2), altered(schedule(plan, 2))
    assert lowered.fingerprint == other.fingerprint and lowered.digest != other.digest
    assert lowered.digest == schedule(plan, 2).digest != schedule(plan, 3).digest
    parties, table, nonce = NAMES[:2], seeds((*NAMES[:2], "dealer")), random_bytes(32)
    zeros = np.zeros(8, np.uint64)

    def openings(chosen: Schedule) -> dict[str, np.ndarray]:
        """What each party sends; on inputs and input masks that are the same in both runs."""
        links, sent = dict(MemoryNetwork((*parties, "dealer"))), {}

        def party(me):
            def record(direction, peer, address, buffers):
                if direction == "sent" and address.kind == Kind.OPEN:
                    sent[me] = np.array(buffers[0])

            links[me].recorder = record
            online = Online(links[me], me, parties, "dealer", Keys(me, nonce, table[me]))
            wires = [online.share(i + 1, t, o, zeros if o == me else None) for i, (t, o) in enumerate(owned)]
            online.run(3, chosen, wires)

        def dealer():
            reader = Dealer(links["dealer"], "dealer", parties, Keys("dealer", nonce, table["dealer"]))
            reader.run(3, chosen, [reader.share(i + 1, t, o) for i, (t, o) in enumerate(owned)])

        parallel({me: (lambda me=me: party(me)) for me in parties} | {"dealer": dealer}, links)
        return sent

    owned = list(zip(types, parties, strict=True))
    first, again, second = openings(lowered), openings(lowered), openings(other)
    for me in parties:
        assert (first[me] == again[me]).all() and not (first[me] == second[me]).any()


def encoded(*rows, outputs=()) -> bytes:
    data = msgpack.packb([1, list(rows), list(outputs)], use_bin_type=True)
    assert data is not None
    return data


def image(*shape: int) -> list:
    return ["input", [], [list(shape), "ring", 18, "secret", "masked"]]


@pytest.mark.parametrize(
    "attributes",
    [
        [[1 << 33], [0, 0], [1 << 33], [1], 1],
        [[1 << 33], [1 << 34, 0], [1], [1], 1],
        [[1 << 33], [0, 1 << 34], [1], [1], 1],
    ],
    ids=["dilation", "low", "high"],
)
def test_a_convolution_is_bounded_by_what_it_lays_out(attributes):
    """Its result is small, but the reference kernel would first lay out 64 GiB of zeros."""
    data = encoded(image(1, 2, 1), image(1, 1, 1), ["conv", [0, 1], attributes], outputs=[2])
    with pytest.raises(PlanError, match="conv pads to"):
        Plan.from_bytes(data)
    small = encoded(image(1, 2, 1), image(1, 1, 1), ["conv", [0, 1], [[2], [1, 1], [3], [1], 1]], outputs=[2])
    assert Plan.from_bytes(small, Limits(value=6)).output_types[0].shape == (1, 3, 1)
    with pytest.raises(PlanError, match="6 elements"):
        Plan.from_bytes(small, Limits(value=5))


@pytest.mark.parametrize(
    "rows",
    [
        [[{}, [], []]],
        [[1, [], []]],
        [INPUT, ["samples", [0], ["exp", 18, [{}]]]],
        [INPUT, ["samples", [0], ["series", 18, [[18, {}]]]]],
        [INPUT, ["samples", [0], ["exp", 18, [1.5]]]],
    ],
)
def test_hostile_plans_are_refused_as_plans(rows):
    """Not with whatever error Python has for a dictionary where a name belongs."""
    with pytest.raises(PlanError):
        Plan.from_bytes(encoded(*rows))


@pytest.mark.parametrize("drop", [44, 45])
def test_a_sign_beyond_what_a_truncation_left_is_refused(drop):
    """A window of one bit has no room for the truncation's coin."""
    data = encoded(INPUT, ["truncate", [0], [18]], ["msb", [1], [drop, 2]], outputs=[2])
    with pytest.raises(PlanError, match=f"msb above bit {18 + drop}"):
        schedule(Plan.from_bytes(data), 2)
