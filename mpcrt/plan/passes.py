"""What is done to the steps of a schedule once all are there: unused ones go, pairs that go chunk by chunk become one.

A value that is exposed to serve all its linear functions leaves the steps that computed these from its shares unused.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from mpcrt.plan.schedule import Step


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
    travel. Loops, which exchange by themselves, come before."""
    needed: set[int] = set()
    urgent, rest = [], []
    for step in reversed(level):
        if step.rounds or step.rule == "loop" or not needed.isdisjoint(step.results):
            urgent.append(step)
            needed.update(step.operands)
        else:
            rest.append(step)
    return (*reversed(urgent), *reversed(rest)), len(urgent)


FUSED = {("product", "expose"): "expose_product", ("fork_shares", "unfork"): "settle"}


def fused(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """Pairs of steps that go chunk by chunk in one, where nothing else uses what the first makes."""
    users = Counter(v for s in steps for v in s.operands) + Counter(outputs)
    made = {v: s for s in steps for v in s.results}
    replaced: dict[int, Step] = {}
    gone = set()
    for step in steps:
        first = made.get(step.operands[0]) if step.operands else None
        rule = FUSED.get((first.rule, step.rule)) if first is not None else None
        if first is None or rule is None or users[step.operands[0]] > 1 or first.attrs.get("op", "mul") != "mul":
            continue
        replaced[step.number] = replace(
            step, rule=rule, operands=first.operands, attrs=first.attrs, start=first.start, chunked=True
        )
        gone.add(first.number)
    return [replaced.get(s.number, s) for s in steps if s.number not in gone]
