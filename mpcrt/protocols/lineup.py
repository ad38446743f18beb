"""What a reader works out once a schedule: constants, when values are last used, the functions of local steps."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from mpcrt.plan.schedule import Held, Schedule, Step
from mpcrt.protocols import ops  # noqa: F401  registers the rules
from mpcrt.protocols.context import stream_of
from mpcrt.protocols.plaintext import apply_to
from mpcrt.protocols.rules import RULES, Fixed, Rule


@dataclass(frozen=True, slots=True)
class Stage:
    """A step as it runs. `freed`: values that no later step starts with. `function`: of a local step, of its operands.
    `stream`: the step's part of its stream number."""

    step: Step
    operands: tuple[int, ...]
    result: int
    freed: tuple[int, ...]
    rule: Rule
    function: Any
    kinds: tuple[Held, ...]
    held: Held
    bits: tuple[bool, ...]
    chunks: tuple[tuple[int, int, int], ...]
    stream: int


@dataclass(frozen=True, slots=True)
class Lineup:
    """The stages by level, those that lead to its openings and the others, and the values to start with: constants,
    None elsewhere."""

    levels: tuple[tuple[tuple[Stage, ...], tuple[Stage, ...]], ...]
    values: tuple


def lineup(schedule: Schedule, run) -> Lineup:
    """The lineup of a schedule at this reader, made at its first run and kept with it."""
    key = ("lineup", run.me, run.lead)
    found = schedule.kept.get(key)
    if found is None:
        found = schedule.kept[key] = made(schedule, run)
    return found


def made(schedule: Schedule, run) -> Lineup:
    values: list = [None] * len(schedule.held)
    constant = schedule.constant
    for step in schedule.steps:
        if step.rule == "public" and constant.issuperset(step.results):
            values[step.results[0]] = apply_to(step.attrs["node"], *(values[v] for v in step.operands))
    stays = constant.union(schedule.inputs, schedule.outputs)
    later: set[int] = set()
    levels = []
    for level, urgent in zip(reversed(schedule.levels), reversed(schedule.urgent), strict=True):
        first, rest = [], []
        for i, step in reversed(list(enumerate(level))):
            if step.rule == "public" and constant.issuperset(step.results):
                continue
            freed = {v for v in step.operands if v not in later and v not in stays}
            later.update(step.operands)
            (first if i < urgent else rest).append(stage(schedule, step, tuple(sorted(freed)), run))
        levels.append((tuple(reversed(first)), tuple(reversed(rest))))
    return Lineup(tuple(reversed(levels)), tuple(values))


def stage(schedule: Schedule, step: Step, freed: tuple[int, ...], run) -> Stage:
    kinds, held = tuple(schedule.held[v] for v in step.operands), schedule.held[step.results[0]]
    rule, function = RULES.get(step.rule, Rule()), None
    if step.rule == "public":
        function = partial(apply_to, step.attrs["node"])
    elif rule.local:
        function = run.function(rule)(Fixed(step.attrs, kinds, held, run.lead))
    chunks = tuple(step.chunks()) if step.chunked else ()
    bits = tuple(h.bit for h in kinds)
    stream = stream_of(0, 0, step.number)
    return Stage(step, step.operands, step.results[0], freed, rule, function, kinds, held, bits, chunks, stream)
