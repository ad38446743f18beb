"""What is done to the steps of a schedule once all are there: unused ones go, pairs become one.

A value that is exposed to serve all its linear functions leaves the steps that computed these from its shares unused.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from mpcrt.plan.schedule import CHUNK, Step


def alive(steps: list[Step], outputs: Iterable[int]) -> list[Step]:
    """The steps that outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for step in reversed(steps):
        if not wanted.isdisjoint(step.results):
            kept.append(step)
            wanted.update(step.operands)
    kept.reverse()
    return kept


def urgent_first(level: list[Step]) -> tuple[tuple[Step, ...], int]:
    """The steps of a level, those first that lead to its openings, and their number: the others run while the openings
    travel. Loops, which exchange by themselves, are among the first."""
    needed: set[int] = set()
    urgent, rest = [], []
    for step in reversed(level):
        if step.rounds or step.rule == "loop" or not needed.isdisjoint(step.results):
            urgent.append(step)
            needed.update(step.operands)
        else:
            rest.append(step)
    return (*reversed(urgent), *reversed(rest)), len(urgent)


Together = Callable[[Step, Step], Step | None]
"""The step that does what two do of which the second uses what the first makes; None where they stay two."""


def merged(steps: list[Step], outputs: tuple[int, ...], together: Together) -> list[Step]:
    """Pairs of steps in one, where nothing else uses what the first makes."""
    made = {v: s for s in steps for v in s.results}
    users = Counter(v for s in steps for v in s.operands) + Counter(outputs)
    replaced: dict[int, Step] = {}
    gone = set()
    for step in steps:
        for first in [made[v] for v in step.operands if v in made and users[v] == 1]:
            both = together(first, step)
            if both is not None:
                replaced[step.number] = both
                gone.add(first.number)
                break
    return [replaced.get(s.number, s) for s in steps if s.number not in gone]


FUSED = {
    ("product", "expose"): "expose_product",
    ("fork_shares", "unfork"): "settle",
    ("lift", "select"): "lift_select",
}


def fused(first: Step, step: Step) -> Step | None:
    """What has a rule for both, chunk by chunk."""
    rule = FUSED.get((first.rule, step.rule))
    if rule is None or first.start != step.start or first.attrs.get("op", "mul") != "mul":
        return None
    others = [v for v in step.operands if v not in (*first.results, *first.operands)]
    return replace(step, rule=rule, operands=(*first.operands, *others), attrs=first.attrs, chunked=True)


def exposed(first: Step, step: Step) -> Step | None:
    """An exposure in the step that makes the value, where both go by the same chunks."""
    if step.rule != "expose" or first.rule == "loop":
        return None
    chunk = first.attrs.get("chunk", CHUNK)
    if first.size > chunk and not (first.chunked and chunk == CHUNK):
        return None
    return replace(first, number=step.number, results=step.results, rounds=first.rounds + 1, exposes=step.operands[0])
