"""Work that waits for messages, as generators: they yield what they wait for, so that one thread can do several."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias, TypeVar

from mpcrt.transport.link import Address

T = TypeVar("T")

Awaited: TypeAlias = Callable[[], "list[tuple[str, Address]] | None"]
"""The messages, by sender and address, without which the next step would wait; None where that cannot be told."""

Work: TypeAlias = Generator[Awaited, None, T]
"""Yields before each step that may wait; may be resumed at any time, and then waits for itself."""


def at_once() -> list[tuple[str, Address]]:
    """Nothing is awaited."""
    return []


def together(works: Sequence[Work[T]]) -> Work[list[T]]:
    """All of them up to their first wait, then each to its end; their results."""
    waiting: dict[int, Awaited] = {}
    results: dict[int, T] = {}
    for i, work in enumerate(works):
        try:
            waiting[i] = next(work)
        except StopIteration as stop:
            results[i] = stop.value
    for i, awaited in waiting.items():
        yield awaited
        results[i] = yield from works[i]
    return [results[i] for i in range(len(works))]


def to_the_end(work: Generator[Any, None, T]) -> T:
    """Do it all now, waiting wherever it has to wait."""
    while True:
        try:
            next(work)
        except StopIteration as stop:
            return stop.value
