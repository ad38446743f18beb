"""The driver that the online and the dealer's reader share: runs a schedule level by level.

In a level: tasks whose opening is complete are resumed in order, then the steps that lead to the level's openings start
in order, chunk by chunk; each runs to its next opening or its end. Then the openings leave, and while they travel the
level's other steps run. The next level begins with what the others sent. Both readers go through the
same sequence of (step, chunk, resumption), so the dealer's stream of corrections needs no addresses.

An execution is a generator: it yields each time before it waits for what the others opened, so that one thread can go
on with another call meanwhile.
"""

from collections.abc import Generator, Sequence
from types import GeneratorType
from typing import Any, Protocol

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Schedule, Step
from mpcrt.protocols.context import Context, stream_of
from mpcrt.protocols.lineup import Stage, lineup
from mpcrt.protocols.shares import Fork, Mapped, Share, Wire, cut
from mpcrt.ring import kernels

Executing = Generator[None, None, list]
"""Yields before each wait for openings; returns the outputs."""


class Observer(Protocol):
    """Told what a reader is at. Every `begin` has an `end`, nested (a loop's steps lie within its step); after a
    failure ends may be missing. `step` None: a level's openings are exchanged."""

    def begin(self, schedule: Schedule, step: Step | None) -> None: ...

    def end(self) -> None: ...


class Job:
    """A step of several chunks under way: what of its operands is kept, the chunks' results, how many are left; `ctx`,
    of all of it."""

    __slots__ = ("ctx", "left", "operands", "out", "pieces")

    def __init__(self, ctx: Context, operands: tuple, chunks: int) -> None:
        self.ctx: Any = ctx
        self.operands: Any = operands
        self.left = chunks
        self.pieces: list = [None] * chunks
        self.out: np.ndarray | None = None

    def value(self) -> Any:
        """What the step makes: of its chunks' arrays one, or what its rule assembles."""
        value, pieces = self.out, self.pieces
        if pieces[0] is None:
            value = None
        elif value is None:
            arrays = isinstance(pieces[0], np.ndarray)
            value = np.concatenate([piece.reshape(-1) for piece in pieces]) if arrays else pieces
        return finished(self.ctx, value, self.operands)


def finished(ctx: Context, value: Any, operands: tuple) -> Any:
    """A step's value of its array, or of the list of its chunks' results."""
    stage = ctx.stage
    if stage.shape is not None and isinstance(value, np.ndarray) and value.shape != stage.shape:
        value = value.reshape(stage.shape)
    return value if stage.assemble is None else stage.assemble(ctx, value, *operands)


class Execution:
    """One schedule (or loop body) running: `values` by value number, freed after their last use."""

    def __init__(self, run, schedule: Schedule, inputs: list, path: int) -> None:
        self.run, self.schedule, self.path = run, schedule, path
        self.lineup = lineup(schedule, run)
        self.stream = stream_of(run.call, path, 0)
        self.values: list = list(self.lineup.values)
        for v, value in zip(schedule.inputs, inputs, strict=True):
            self.values[v] = value
        self.pending: list[Context] = []

    def go(self) -> Executing:
        """Runs all levels; returns the outputs."""
        for urgent, others in self.lineup.levels:
            if self.pending:
                yield
                self.resume()
            yield from self.through(urgent)
            self.run.dispatch()
            yield from self.through(others)
        if self.pending:
            raise ProtocolError("a schedule ended with openings under way")
        return [self.values[v] for v in self.schedule.outputs]

    def through(self, stages: tuple[Stage, ...]) -> Generator[None, None, None]:
        """Starts steps in order; local ones are done at once, loops to their end."""
        run, values = self.run, self.values
        observer, tick, context = run.observer, run.tick, run.context
        for stage in stages:
            if observer is not None:
                observer.begin(self.schedule, stage.step)
            if tick is not None:
                tick()
            operands = stage.take(values)
            for v in stage.freed:
                values[v] = None
            if stage.local:
                values[stage.result] = stage.function(*operands)
            elif stage.single:
                kept = operands if stage.keeps else ()
                ctx = context(run, stage, self.stream | stage.stream, stage.whole, kept)
                self.begin(ctx, [flat(v) for v in operands] if stage.deep else operands)
            elif stage.step.rule == "loop":
                yield from self.loop(stage.step, operands)
            else:
                self.start(stage, operands)
            if observer is not None:
                observer.end()

    def loop(self, step: Step, operands: tuple) -> Generator[None, None, None]:
        run = self.run
        aside = run.put_aside()
        results = yield from loop(run, step, operands, self.path, [self.schedule.held[v] for v in step.results])
        run.take_up(aside)
        for v, value in zip(step.results, results, strict=True):
            self.values[v] = value

    def resume(self) -> None:
        """Exchanges what the last level opened, and goes on with its chunks."""
        observer, run = self.run.observer, self.run
        resumed, self.pending = self.pending, []
        if observer is not None:
            observer.begin(self.schedule, None)
        run.exchange()
        if observer is not None:
            observer.end()
        for ctx in resumed:
            if observer is not None:
                observer.begin(self.schedule, ctx.step)
            self.advance(ctx, run.complete(ctx))
            if observer is not None:
                observer.end()

    def start(self, stage: Stage, operands: tuple) -> None:
        """A step that is neither local nor of one chunk: at once, or chunk by chunk."""
        run, step = self.run, stage.step
        whole = run.context(run, stage, self.stream | stage.stream, stage.whole)
        if not step.chunked:
            self.values[stage.result] = stage.function(whole, *operands)
            return
        job = Job(whole, operands if stage.keeps else (), len(stage.chunks))
        bit = stage.shape is None
        if stage.fills:
            job.out = np.empty((step.size + 63) >> 6 if bit else step.size, np.uint64)
        for chunk in stage.chunks:
            ctx = run.context(run, stage, whole.stream, chunk)
            ctx.job = job
            if job.out is not None:
                low = ctx.low >> 6 if bit else ctx.low
                ctx.out = job.out[low : low + (ctx.words if bit else ctx.n)]
            low, high = ctx.low, ctx.low + ctx.n
            self.begin(ctx, [cut(v, low, high, b) for v, b in zip(operands, stage.bits, strict=True)])

    def begin(self, ctx: Context, parts: Sequence) -> None:
        """Starts a chunk."""
        result = ctx.stage.function(ctx, *parts)
        if type(result) is GeneratorType:
            ctx.generator = result
            self.advance(ctx, None)
        elif result is ctx:
            self.pending.append(ctx)
            self.run.submit(ctx)
        else:
            self.done(ctx, result)

    def advance(self, ctx: Context, opened: np.ndarray | None) -> None:
        """Goes on with a chunk to its next opening or its end; what a rule without a generator opened is its result."""
        generator, result = ctx.generator, opened
        if generator is not None:
            try:
                generator.send(opened)
            except StopIteration as stop:
                result = stop.value
            else:
                self.pending.append(ctx)
                self.run.submit(ctx)
                return
        self.done(ctx, result)

    def done(self, ctx: Context, result) -> None:
        job, out = ctx.job, ctx.out
        if job is None:
            value = result if result is None or isinstance(result, np.ndarray) else [result]
            self.values[ctx.stage.result] = finished(ctx, value, ctx.given)
            ctx.given = ()
            return
        job.pieces[ctx.index] = result
        if out is not None and result is not out and result is not None:
            out[:] = result.reshape(-1)
        job.left -= 1
        if not job.left:
            self.values[ctx.stage.result] = job.value()
            job.operands = job.ctx = None  # the chunks still refer to the job


def loop(run, step: Step, operands: tuple, path: int, results: list) -> Executing:
    """Runs the body trip by trip; xs are sliced, ys stacked on axis 0."""
    body: Schedule = step.attrs["body"]
    trips, fixed, carried = step.attrs["trips"], step.attrs["constants"], step.attrs["carries"]
    constants, state, xs = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    bits = [body.held[v].bit for v in body.inputs[fixed + carried :]]
    sizes = [body.held[v].type.size for v in body.inputs[fixed + carried :]]
    ys: list[list] = [[] for _ in results[carried:]]
    for trip in range(trips):
        now = [element(x, trip, size, bit) for x, size, bit in zip(xs, sizes, bits, strict=True)]
        outputs = yield from Execution(run, body, [*constants, *state, *now], path * trips + trip).go()
        state = outputs[:carried]
        for collected, value in zip(ys, outputs[carried:], strict=True):
            collected.append(value)
    return [*state, *(stack(y, held, run.zeros) for y, held in zip(ys, results[carried:], strict=True))]


def element(x, trip: int, size: int, bit: bool) -> Any:
    """Trip `trip`'s slice of a stacked wire or public array."""
    if isinstance(x, Wire):
        opened = None if x.opened is None else element(x.opened, trip, size, bit)
        mask = None if x.mask is None else slice_of(x.mask, trip * size, size, bit)
        return Wire(opened, mask)
    if bit and x.dtype == np.uint64:
        return window(x, trip * size, size)
    return x[trip]


def window(words: np.ndarray, low: int, size: int) -> np.ndarray:
    return kernels.pack(np.ascontiguousarray(kernels.unpack(words, low + size)[low:]))


def flat(value) -> Any:
    """A whole runtime value as an elementwise rule takes it."""
    if isinstance(value, np.ndarray):
        return value if value.ndim == 1 else value.ravel()
    if isinstance(value, Wire):
        opened = value.opened
        return value if opened is None or opened.ndim == 1 else Wire(opened.ravel(), value.mask)
    if isinstance(value, Fork):
        return Fork(flat(value.wire), value.bits, value.top, value.sign)
    return value


def slice_of(share: Share, low: int, size: int, bit: bool) -> Share:
    if not bit:
        return share.part(low, low + size)
    return Mapped(-(-size // 64), lambda words: window(words, low, size), share)


def stack(values: list, held, zeros: bool):
    """ys of all trips; at the dealer a missing term is zero, and all missing are none."""
    shape = held.type.shape
    if held.rep == "public":
        return np.stack(values) if values else np.zeros(shape, np.uint8 if held.bit else np.uint64)
    if not zeros and all(v is None for v in values):
        return None
    size = held.type.size // max(len(values), 1)
    if held.bit:
        parts = [np.zeros(size, np.uint8) if v is None else kernels.unpack(v, size) for v in values]
        return kernels.pack(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
    out = np.zeros(shape, np.uint64)
    for i, v in enumerate(values):
        if v is not None:
            out[i] = v.reshape(shape[1:])
    return out
