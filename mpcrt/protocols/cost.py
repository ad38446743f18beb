"""The cost reader: rounds and payload bytes of a schedule, without data. What links measure equals it.

Counted are the payload bytes of OPEN messages between computing parties and of DEAL messages from the dealer: array
bytes, without headers. Sharing inputs and revealing results are not part of a schedule.
"""

from dataclasses import dataclass

import numpy as np

from mpcrt.plan.schedule import Schedule, Step
from mpcrt.protocols import ops  # noqa: F401  registers the rules
from mpcrt.protocols.openings import opening_bytes
from mpcrt.protocols.rules import RULES, Shape


@dataclass(frozen=True, slots=True)
class Cost:
    """`each_party_bytes[i]`: what computing party i sends to the others; `party_bytes` their sum."""

    rounds: int
    each_party_bytes: tuple[int, ...]
    dealer_bytes: int

    @property
    def party_bytes(self) -> int:
        return sum(self.each_party_bytes)


def cost(schedule: Schedule) -> Cost:
    """Rounds and bytes of one run."""
    parties = np.zeros(schedule.parties, np.int64)
    dealt = 0
    for step in schedule.steps:
        if step.rule == "loop":
            inner, trips = cost(step.attrs["body"]), step.attrs["trips"]
            parties += trips * np.array(inner.each_party_bytes, np.int64)
            dealt += trips * inner.dealer_bytes
            continue
        sent, corrections = step_cost(schedule, step)
        parties += sent
        dealt += corrections
    return Cost(schedule.rounds, tuple(int(b) for b in parties), int(dealt))


def step_cost(schedule: Schedule, step: Step) -> tuple[np.ndarray, int]:
    """(bytes each party sends, bytes from the dealer) of a step that is no loop."""
    rules = [RULES[step.rule].cost]
    if step.exposes is not None:
        rules.append(RULES["expose"].cost)
    operands = tuple(schedule.held[v] for v in step.operands)
    sent, dealt = np.zeros(schedule.parties, np.int64), 0
    for _, low, high in step.chunks():
        shape = Shape(high - low, step, operands, schedule.held[step.results[0]])
        for rule in rules:
            assert rule is not None, step.name
            traffic = rule(shape)
            for size in traffic.openings:
                sent += np.array(opening_bytes(size, schedule.parties), np.int64)
            dealt += traffic.dealt
    return sent, dealt
