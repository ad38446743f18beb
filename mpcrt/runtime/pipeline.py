"""Several calls under way at a time: announced ahead of their turn, their rounds beside each other's.

On a slow network a call is mostly waiting. A call that is asked for meanwhile is announced at once, where nothing can
keep it from being run, so that neither the dealer's first correction nor a reveal waits for a message of its own; and
where it takes nothing of a call that still runs, its rounds travel together with that one's.

Why no party waits for ever: only the oldest call may wait; a younger one goes on when what it needs is there. The
oldest call of the slowest party has from every other party all that it waits for, or gets it from that party's oldest
call. A younger call begins its rounds once all have announced it, since no correction comes before that, unless its
corrections were dealt ahead. The dealer takes calls in their order: it never waits for a party while what it sends is
little (`light`), and for an input only of calls that are not yet `provided`, which no younger call overtakes.
"""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpcrt.protocols import Awaited, Work
from mpcrt.runtime import calls
from mpcrt.runtime.placements import Spu
from mpcrt.runtime.values import parts

if TYPE_CHECKING:
    from mpcrt.runtime.engine import Engine


@dataclass(eq=False)
class Running:
    """A call under way, and what its next step waits for."""

    call: calls.Call
    work: Work[None]
    awaited: Awaited


class Pipeline:
    """The calls of an engine that are under way, oldest first."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._queue = engine, engine.session.queue
        self._running: deque[Running] = deque()
        self._next: list[calls.Call | None] = []  # taken from the queue, not begun

    @property
    def oldest(self) -> calls.Call | None:
        """The call whose turn it is, also for another thread."""
        return next((running.call for running in tuple(self._running)), None)

    def next_call(self) -> calls.Call | None:
        """The next call, once there is one; None at the end."""
        return self._next.pop() if self._next else self._queue.get()

    def run(self, call: calls.Call) -> None:
        """Runs the call, and those that can be run with it."""
        self._begin(call)
        while self._running:
            self._look_ahead()
            self._go_on()
            if self._running:
                self._advance(self._running[0])

    def run_alone(self, call: calls.Call) -> None:
        """Runs the call with no other beside it."""
        self._begin(call)
        while self._running:
            self._advance(self._running[0])

    def _begin(self, call: calls.Call) -> None:
        running = Running(call, self._engine.work(call), list)
        self._running.append(running)
        self._advance(running)

    def _advance(self, running: Running) -> None:
        awaited = self._engine.advance(running.call, running.work)
        if awaited is None:
            self._running.remove(running)
        else:
            running.awaited = awaited

    def _look_ahead(self) -> None:
        """Begins what has been asked for meanwhile, up to the first call that has to wait for its turn."""
        while self._running and all([running.call.sure for running in self._running]):
            if not self._next:
                try:
                    self._next.append(self._queue.get_nowait())
                except queue.Empty:
                    return
            call = self._next[0]
            if call is None or not self._can_begin(call):
                return
            self._next.clear()
            self._begin(call)

    def _can_begin(self, call: calls.Call) -> bool:
        """Whether a call can be announced before those under way have ended: it cannot fail here alone."""
        if isinstance(call, calls.SecureCall):
            try:
                return self._engine.secure.knows(call)
            except Exception:  # of its arguments: it fails when its turn has come
                return False
        return isinstance(call, calls.Move) and isinstance(call.handle.placement, Spu) and parts(call.handle)[0].known

    def _go_on(self) -> None:
        """Goes on with younger calls as far as they need not wait."""
        older: list[calls.Call] = []
        for running in list(self._running):
            call = running.call
            if older and not all([c.provided and c.light for c in older]):
                return
            if older and call.light and all([self._engine.devices.holds(*wire) for wire in call.needs]):
                while running in self._running and self._arrived(running.awaited):
                    self._advance(running)
            older.append(call)

    def _arrived(self, awaited: Awaited) -> bool:
        messages = awaited()
        return messages is not None and all([self._engine.up.arrived(*message) for message in messages])
