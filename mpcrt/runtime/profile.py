"""Where time goes: what one process does, when and for whom, as a profile file (cluster/profiles.py).

Recorded are calls, what they consist of, the steps of plans, waiting and bytes: names, shapes, sizes and source lines,
never a value. What is open when the run fails ends with the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpcrt.cluster import profiles
from mpcrt.cluster.profiles import Event
from mpcrt.plan import Plan
from mpcrt.plan.schedule import Schedule, Step
from mpcrt.protocols import Observer
from mpcrt.transport.link import UNBOUND, Address, Buffer, Kind, Link

log = logging.getLogger("mpcrt.run")

LIMIT = 1 << 18
"""Events that a process keeps, about 250 bytes each; what comes later is counted only."""
NOTHING: dict[str, Any] = {}

now = time.monotonic_ns


class Slice(NamedTuple):
    """Something that took time, in nanoseconds of the monotonic clock. `details`: what is shown of it."""

    start: int
    end: int
    thread: int
    kind: str
    name: str
    details: Any


class Sent(NamedTuple):
    """A message went: `total` bytes of its kind to that peer so far, headers included."""

    at: int
    peer: str
    kind: int
    total: int


_UNSEEN = contextlib.nullcontext()


class Profile:
    """No profile: what runs without `--profile` costs nothing but this."""

    observer: Observer | None = None
    one_by_one = False
    """Whether a call ends before the next one begins, so that slices nest."""

    def slice(self, kind: str, name: str, **details: Any) -> contextlib.AbstractContextManager[None]:
        """What is done within is one slice. `details` hold no data."""
        return _UNSEEN

    def call(self, number: int, description: str) -> contextlib.AbstractContextManager[None]:
        """A call of the program, by the description that all parties share."""
        return _UNSEEN

    def watch(self, link: Link) -> None:
        """Record waiting and what is sent over the link."""

    def plan(self, plan: Plan) -> None:
        """A plan whose source lines are known here."""

    def write(self) -> None:
        """Make the file of all so far. It never raises: a run does not fail for its profile."""


class Recorder(Profile):
    """A profile of one process in memory. `number`: the party's place in the cluster file, which orders the tracks."""

    one_by_one = True

    def __init__(self, file: Path, party: str, number: int) -> None:
        self._file, self._party, self._number = file, party, number
        self.observer = self
        self._start, self._epoch = anchor()
        self._events: list[Slice | Sent] = []
        self._dropped = 0
        self._open: dict[int, list[tuple[int, str, str, Any]]] = {}
        self._threads: dict[int, str] = {}
        self._steps: dict[int, tuple[Step, str, dict[str, Any]]] = {}
        self._lines: dict[str, list[str]] = {}
        self._link: Link | None = None

    # -- slices

    def slice(self, kind: str, name: str, **details: Any) -> contextlib.AbstractContextManager[None]:
        return self._sliced(kind, name, details or NOTHING)

    def call(self, number: int, description: str) -> contextlib.AbstractContextManager[None]:
        return self.slice("call", description.split("(")[0], number=number, what=description[:200])

    @contextlib.contextmanager
    def _sliced(self, kind: str, name: str, details: Any) -> Iterator[None]:
        self._enter(kind, name, details)
        stack = self._open[threading.get_ident()]
        depth = len(stack)
        try:
            yield
        finally:
            while len(stack) >= depth:  # a step that failed within has not ended
                self.end()

    def begin(self, schedule: Schedule, step: Step | None) -> None:
        """A step of a plan, or (None) the exchange of a level's openings."""
        if step is None:
            self._enter("exchange", "exchange", NOTHING)
            return
        known = self._steps.get(id(step))
        if known is None:
            self.plan(schedule.plan)
            described = describe(schedule, step, self._lines[schedule.fingerprint])
            known = self._steps[id(step)] = (step, *described)  # holds the step, so that its id stays its own
        self._enter("step", known[1], known[2])

    def _enter(self, kind: str, name: str, details: Any) -> None:
        stack = self._open.get(threading.get_ident())
        if stack is None:
            stack = self._open[threading.get_ident()] = []
            self._threads[threading.get_ident()] = threading.current_thread().name
        stack.append((now(), kind, name, details))

    def end(self, in_vain: bool = False) -> None:
        """What began last on this thread has ended."""
        ended, thread = now(), threading.get_ident()
        start, kind, name, details = self._open[thread].pop()
        if in_vain:
            details = {**shown(details), "in vain": True}
        self._add(Slice(start, ended, thread, kind, name, details))

    def _add(self, event: Slice | Sent) -> None:
        if len(self._events) < LIMIT:
            self._events.append(event)
        else:
            self._dropped += 1

    # -- links

    def watch(self, link: Link) -> None:
        self._link = link
        link.recorder = self._message
        recv, send, drain = link.recv, link.send, link.drain

        def timed_recv(peer: str, address: Address, *, limit: int) -> list[np.ndarray]:
            self._enter("wait", f"wait for {peer}", address)
            got = None
            try:
                got = recv(peer, address, limit=limit)
                return got
            finally:
                self.end(in_vain=got is None)

        def timed_send(peer: str, address: Address, *buffers: Buffer) -> None:
            self._enter("send", f"send to {peer}", address)
            try:
                send(peer, address, *buffers)
            finally:
                self.end()

        def timed_drain(peer: str, limit: int) -> None:
            self._enter("wait", f"wait until {peer} has taken", NOTHING)
            try:
                drain(peer, limit)
            finally:
                self.end()

        # on this link alone: without a profile, links know nothing of it
        link.recv, link.send, link.drain = timed_recv, timed_send, timed_drain  # type: ignore[method-assign]

    def _message(self, direction: str, peer: str, address: Any, buffers: Sequence[np.ndarray]) -> None:
        if direction == "sent" and self._link is not None:
            count = self._link.statistics.sent[peer, int(address.kind)]
            self._add(Sent(now(), peer, int(address.kind), count.payload + count.header))

    # -- the file

    def plan(self, plan: Plan) -> None:
        if plan.fingerprint in self._lines:
            return
        self._lines[plan.fingerprint] = source_lines(plan)
        for node in plan.nodes:
            if node.op == "loop":
                self.plan(node.attrs["body"])

    def write(self) -> None:
        about = {
            "parties": [self._party], "run": self._run(), "epoch_ns": self._epoch, "monotonic_ns": self._start,
            "dropped": self._dropped, "lines": self._lines,
        }  # fmt: skip
        try:
            profiles.write(self._file, about, self._described())
        except OSError as error:
            log.warning("the profile %s cannot be written: %s", self._file, error.strerror)
        except Exception:
            log.warning("the profile %s cannot be written", self._file, exc_info=True)

    def _run(self) -> str:
        """A name for the run that all its parties have, once the nonce is agreed; empty before."""
        if self._link is None or self._link.nonce == UNBOUND:
            return ""
        return hashlib.sha256(b"profile" + self._link.nonce).hexdigest()[:16]

    def _described(self) -> Iterator[Event]:
        """All events as the file has them; metadata first, and the last state of every counter at the end."""
        ended, slices = now(), list(self._events)
        for thread, stack in list(self._open.items()):
            slices += [Slice(t, ended, thread, kind, name, unfinished(d)) for t, kind, name, d in list(stack)]
        threads = {
            thread: i + 1 for i, thread in enumerate(dict.fromkeys(s.thread for s in slices if type(s) is Slice))
        }
        yield from self._metadata(threads)
        last = self._last_sent()
        # every kind from the first event on: chrome://tracing takes a counter's series from there
        sent = {peer: dict.fromkeys(totals, 0) for peer, totals in last.items()}
        for event in slices:
            if isinstance(event, Slice):
                yield {
                    "ph": "X", "pid": self._number, "tid": threads[event.thread], "ts": self._us(event.start),
                    "dur": (event.end - event.start) / 1000, "cat": event.kind, "name": event.name,
                    "args": shown(event.details),
                }  # fmt: skip
            else:
                sent[event.peer][Kind(event.kind).name] = event.total
                yield self._counter(event.peer, event.at, sent[event.peer])
        for peer, totals in last.items():
            yield self._counter(peer, ended, totals)

    def _last_sent(self) -> dict[str, dict[str, int]]:
        """Peer -> kind -> bytes sent in all, headers included."""
        totals: dict[str, dict[str, int]] = {}
        if self._link is not None:
            for (peer, kind), count in sorted(self._link.statistics.sent.copy().items()):
                if kind in Kind._value2member_map_:
                    totals.setdefault(peer, {})[Kind(kind).name] = count.payload + count.header
        return totals

    def _metadata(self, threads: dict[int, int]) -> Iterator[Event]:
        title = self._party + (f" ({self._dropped} later events dropped)" if self._dropped else "")
        yield self._named(0, "process_name", name=title)
        yield self._named(0, "process_sort_index", sort_index=self._number)
        for thread, number in threads.items():
            yield self._named(number, "thread_name", name=self._threads[thread].removeprefix("mpcrt "))

    def _named(self, thread: int, what: str, **values: str | int) -> Event:
        return {"ph": "M", "pid": self._number, "tid": thread, "name": what, "args": values}

    def _counter(self, peer: str, at: int, totals: dict[str, int]) -> Event:
        return {
            "ph": "C", "pid": self._number, "tid": 0, "ts": self._us(at), "name": f"bytes sent to {peer}",
            "args": dict(totals),
        }  # fmt: skip

    def _us(self, at: int) -> float:
        return (at - self._start) / 1000


def anchor() -> tuple[int, int]:
    """The monotonic clock and the wall clock at one moment: of a few looks the quickest."""
    looks = []
    for _ in range(5):
        before, wall, after = now(), time.time_ns(), now()
        looks.append((after - before, before, wall))
    _, monotonic, wall = min(looks)
    return monotonic, wall


def source_lines(plan: Plan) -> list[str]:
    """The line of each node and, behind them, of the plan's end; what has none of its own has its operand's. Empty
    for a plan that came without."""
    if not any(plan.lines):
        return []
    maker = [i for i, node in enumerate(plan.nodes) for _ in node.results]
    found: list[str] = []
    for line, node in zip(plan.lines, plan.nodes, strict=True):
        found.append(line or next((found[maker[v]] for v in node.operands if found[maker[v]]), ""))
    return [*found, next((found[maker[v]] for v in plan.outputs if found[maker[v]]), "")]


def describe(schedule: Schedule, step: Step, lines: list[str]) -> tuple[str, dict[str, Any]]:
    """A step's name and what is shown of it."""
    plan, held = schedule.plan, schedule.held[step.results[0]]
    details: dict[str, Any] = {
        "step": step.number, "level": step.start, "rounds": step.rounds, "shape": list(held.type.shape),
        "elements": step.size, "held": str(held.rep), "plan": plan.fingerprint, "node": step.node,
        "op": plan.nodes[step.node].op if step.node < len(plan.nodes) else "output",
    }  # fmt: skip
    if step.node < len(lines) and lines[step.node]:
        details["line"] = lines[step.node]
    return step.name, details


def unfinished(details: Any) -> dict[str, Any]:
    return {**shown(details), "unfinished": True}


def shown(details: Any) -> dict[str, Any]:
    return {"for": str(details)} if isinstance(details, Address) else details
