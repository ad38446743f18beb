"""What is done to the steps of a schedule once all are there: unused ones go, pairs that go chunk by chunk become one.

A value that is exposed to serve all its linear functions leaves the steps that computed these from its shares unused.
"""

from collections import Counter
from collections.abc import Iterable
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


FUSED = {
    "expose": ("product", "expose_product"), "unfork": ("fork_shares", "settle"), "select": ("lift", "lift_select"),
}  # fmt: skip
"""A rule, the one that it may follow in a step, and the rule of both."""


def used(steps: list[Step], outputs: tuple[int, ...]) -> tuple[dict[int, Step], Counter]:
    """The step that makes each value, and how often the value is used."""
    made = {v: s for s in steps for v in s.results}
    return made, Counter(v for s in steps for v in s.operands) + Counter(outputs)


def fused(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """Pairs of steps that go chunk by chunk in one, where nothing else uses what the first makes."""
    made, users = used(steps, outputs)
    replaced: dict[int, Step] = {}
    gone = set()
    for step in steps:
        before, rule = FUSED.get(step.rule, ("", ""))
        between = [v for v in step.operands if v in made and made[v].rule == before and users[v] == 1]
        if not between:
            continue
        first = made[between[0]]
        if first.start != step.start or first.attrs.get("op", "mul") != "mul":
            continue
        others = [v for v in step.operands if v not in (*between, *first.operands)]
        replaced[step.number] = replace(
            step, rule=rule, operands=(*first.operands, *others), attrs=first.attrs, start=first.start, chunked=True
        )
        gone.add(first.number)
    return [replaced.get(s.number, s) for s in steps if s.number not in gone]


def exposed(steps: list[Step], outputs: tuple[int, ...]) -> list[Step]:
    """Exposures in the step that makes the value, where nothing else uses that and both go by the same chunks."""
    made, users = used(steps, outputs)
    replaced: dict[int, Step] = {}
    gone = set()
    for step in steps:
        first = made.get(step.operands[0]) if step.rule == "expose" else None
        if first is None or first.rule == "loop" or users[step.operands[0]] > 1:
            continue
        chunk = first.attrs.get("chunk", CHUNK)
        if first.size <= chunk or (first.chunked and chunk == CHUNK):
            replaced[step.number] = replace(
                first, number=step.number, results=step.results, rounds=first.rounds + 1, exposes=step.operands[0]
            )
            gone.add(first.number)
    return [replaced.get(s.number, s) for s in steps if s.number not in gone]
