"""What a reader works out once a schedule: constants, when values are last used, the functions of local steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

from mpcrt.plan.schedule import Held, Schedule, Step
from mpcrt.protocols import ops  # noqa: F401  registers the rules
from mpcrt.protocols.context import stream_of
from mpcrt.protocols.ops.exposure import followed
from mpcrt.protocols.ops.linear import packed_bits
from mpcrt.protocols.plaintext import apply_to
from mpcrt.protocols.rules import RULES, Fixed, Rule

LARGE = 1 << 12
"""Elements of a chunk from which the receiver of its corrections differs from step to step."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step as it runs. `take` gives its operands of all values; `freed`: values that no later step starts with.
    `local`: whether `function` is of the operands alone; else it is this reader's rule, and `assemble` makes the value
    of the chunks' results, and of the operands where it `keeps` them. `fills`: whether chunks write to one array;
    `shape`: the value's, None for bits. `single`: whether its rule sees one chunk, which is all of it; `deep`: whether
    an operand of chunks has more or fewer axes than one. `chunks`: (index, low, elements, number of the receiver);
    `whole`: all of it, as one. `stream`: the step's part of its stream number."""

    step: Step
    attrs: dict
    facts: Any
    operands: tuple[int, ...]
    take: Callable[[list], tuple]
    result: int
    freed: tuple[int, ...]
    local: bool
    function: Any
    assemble: Any
    keeps: bool
    fills: bool
    kinds: tuple[Held, ...]
    held: Held
    shape: tuple[int, ...] | None
    single: bool
    bits: tuple[bool, ...]
    deep: bool
    whole: tuple[int, int, int, int]
    chunks: tuple[tuple[int, int, int, int], ...]
    stream: int


@dataclass(frozen=True, slots=True)
class Lineup:
    """The stages by level, those that lead to its openings and the others, and the values to start with: constants,
    None elsewhere."""

    levels: tuple[tuple[tuple[Stage, ...], tuple[Stage, ...]], ...]
    values: tuple


def lineup(schedule: Schedule, run) -> Lineup:
    """The lineup of a schedule at this reader, made at its first run and kept with it."""
    key = ("lineup", run.me, run.parties)
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
    for v in only_added(schedule):
        values[v] = packed_bits(values[v])
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


def only_added(schedule: Schedule) -> set[int]:
    """The constant bits that are only added to others: that takes them packed, as secret bits are."""
    added, others = set(), set(schedule.outputs)
    for step in schedule.steps:
        add = step.rule == "pending" or (step.rule == "linear" and step.attrs["op"] == "xor")
        (added if add else others).update(step.operands)
    return {v for v in schedule.constant & added if schedule.held[v].bit} - others


def stage(schedule: Schedule, step: Step, freed: tuple[int, ...], run) -> Stage:
    kinds, held = tuple(schedule.held[v] for v in step.operands), schedule.held[step.results[0]]
    rule, local = RULES.get(step.rule, Rule()), False
    fixed = Fixed(step.attrs, kinds, held if step.exposes is None else schedule.held[step.exposes], run.lead)
    function, assemble, fills = run.rule(rule, step, held)
    if step.rule == "public":
        local, function = True, partial(apply_to, step.attrs["node"])
    elif rule.local:
        local, function = True, function(fixed)
    if step.exposes is not None:
        expose, assemble, fills = run.rule(RULES["expose"], step, held)
        function, local = followed(function, local, expose), False
    keeps = assemble is not None and not step.exposing
    chunks = tuple((i, low, high - low, receiver(step, i, high - low, run.parties)) for i, low, high in step.chunks())
    whole = 0, 0, step.size, chunks[0][3]
    single = len(chunks) == 1 and (step.chunked or step.exposes is not None)
    bits, deep = tuple(h.bit for h in kinds), step.chunked and any(len(h.type.shape) != 1 for h in kinds)
    facts = rule.facts(fixed) if rule.facts is not None else None
    return Stage(
        step, step.attrs, facts, step.operands, taker(step.operands), step.results[0], freed, local, function, assemble,
        keeps, fills, kinds, held, None if held.bit else held.type.shape, single, bits, deep, whole, chunks,
        stream_of(0, 0, step.number),
    )  # fmt: skip


def taker(operands: tuple[int, ...]) -> Callable[[list], tuple]:
    """What takes a step's operands from all values."""
    if len(operands) == 1:
        (v,) = operands
        return lambda values: (values[v],)
    return itemgetter(*operands) if operands else lambda values: ()


def receiver(step: Step, index: int, size: int, parties: Sequence[str]) -> int:
    """Whose turn it is to receive corrections: by chunk and, for large ones, by step, so that links share load."""
    return (index + 1 + (step.number if size > LARGE else 0)) % len(parties)
