"""Secure calls: their plan, its inputs as wires, and its run. Used by the engine, on its thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.types import Type
from mpcrt.runtime import calls, inputs, trees
from mpcrt.runtime.arguments import Source, positional
from mpcrt.runtime.commands import Publish, Run, Share
from mpcrt.runtime.compile import Cache, Compiled
from mpcrt.runtime.values import Wire, parts

if TYPE_CHECKING:
    from mpcrt.runtime.engine import Engine

log = logging.getLogger("mpcrt.run")

Words = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Asked:
    """An input that a call brings to a device; `words` encodes it, at its provider."""

    command: Share | Publish
    words: Words | None


class SecureCalls:
    """What an engine needs to run functions on shares."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._session = engine, engine.session
        self._shipped: set[str] = set()
        devices = engine.session.config.devices
        self._compiled = {name: Cache(d.fraction_bits, tuple(d.parties)) for name, d in devices.items()}

    def call(self, call: calls.SecureCall) -> None:
        """Trace or look up, announce, agree where something is new, share what is not there yet, run."""
        device = call.placement.name
        for handle in call.handles:
            self._engine.resolve(parts(handle)[0])
        started = time.monotonic()
        self._session.set_tracing(device)
        try:
            args = positional(call.function, call.args, call.kwargs)
            with self._engine.profile.slice("compile", f"trace {call.name}()"):
                compiled, sources, new = self._compiled[device].get(call.function, args, call.static)
        finally:
            self._session.set_tracing(None)
        if new:
            self._engine.profile.plan(compiled.traced.plan)
            self._tell_compiled(call, compiled)
        plain = inputs.Plaintext(compiled, sources)
        asked: list[Asked] = []
        wires = [self._input(device, compiled, sources, i, plain, asked) for i in range(len(compiled.origins))]
        made = [self._engine.wire(device) for _ in compiled.output_types]
        run = Run(
            device,
            self._engine.step(),
            compiled.fingerprint,
            compiled.schedule.digest,
            tuple([w.number for w in wires]),
            tuple([w.number for w in made]),
            self._session.offline,
        )
        self._announce_plan(call, compiled, [*(a.command for a in asked), run])
        if asked or new:
            self._engine.agree(call)
            self.provide(asked)
            started = time.monotonic()
        try:
            self._engine.devices.run(run, compiled.schedule, started)
        except ProtocolError:
            self._engine.agree(call)
            raise
        self._engine.agree(call)
        value = call.result
        with self._session.changed:  # who waits for it is told that the call has run
            value.wires, value.forms, value.rebuild = made, compiled.forms, compiled.rebuild
            value.plan_types, value.trace_seconds = compiled.output_types, compiled.seconds
            value.describe(compiled.structure, compiled.types)

    def _tell_compiled(self, call: calls.SecureCall, compiled: Compiled) -> None:
        for warning in compiled.traced.warnings:
            log.warning("%s: %s", call.name, warning)
        plan, scheduled = compiled.traced.plan, compiled.schedule
        log.info(
            "%s() is a plan, ops: %d, rounds: %d (%s), traced in %.2f s", call.name, len(plan.nodes),
            scheduled.rounds, plan.fingerprint[:8], compiled.seconds,
        )  # fmt: skip

    def _announce_plan(self, call: calls.SecureCall, compiled: Compiled, asked: list[Share | Publish | Run]) -> None:
        """The plan itself goes, once, from one party, to those without a program; the others compare fingerprints."""
        plans = []
        if compiled.fingerprint not in self._shipped:
            self._shipped.add(compiled.fingerprint)
            self._engine.ledger.plans[call.number] = compiled.traced.plan
            if self._engine.roster.leader == self._session.me:
                plans.append(compiled.traced.plan.encoded)
        self._engine.announce(call, asked, plans)

    def _input(
        self, device: str, compiled: Compiled, sources: list[Source], index: int, plain: inputs.Plaintext,
        asked: list[Asked],
    ) -> Wire:  # fmt: skip
        """The wire of one plan input: on the device already, or to be shared or published by this call."""
        origin = compiled.origins[index]
        if origin.leaf is not None:
            source = sources[origin.leaf]
            if source.value is not None and source.value.wires is not None:
                return source.value.wires[source.index]
        kept, key = inputs.memo(device, compiled, sources, origin)
        if origin.key is not None and (known := kept.get(key)) is not None:
            return known
        type_ = origin.type
        party, name = inputs.provider(compiled, sources, index)
        party = party or self.publisher(device)
        words = (lambda: plain.words(index, type_)) if party == self._session.me else None
        wire = self.ask(device, party, type_, name, words, asked)
        if origin.key is not None:
            kept[key] = wire
        return wire

    def ask(
        self, device: str, party: str, type_: Type, name: str, words: Words | None,
        asked: list[Asked],
    ) -> Wire:  # fmt: skip
        wire = self._engine.wire(device)
        kind = Publish if type_.public else Share
        asked.append(Asked(kind(device, self._engine.step(), wire.number, party, type_), words))
        shown = f"{'x'.join(map(str, type_.shape)) or 'scalar'} {'bits' if type_.kind == 'bit' else 'values'}"
        if words is not None:
            how = "publishes" if type_.public else "shares, masked,"
            log.info("%s %s (%s) of %s with %s", how, shown, trees.size(8 * type_.size), name, device)
        else:
            log.debug("%s provides %s of %s to %s", party, shown, name, device)
        return wire

    def publisher(self, device: str) -> str:
        """Who computes and sends public values: the first computing party that has the program, else the leader."""
        computing = self._session.config.devices[device].parties
        return next((p for p in computing if p in self._engine.roster.programs), self._engine.roster.leader)

    def provide(self, asked: Sequence[Asked]) -> None:
        """Bring the inputs to their device."""
        for each in asked:
            publish = isinstance(each.command, Publish)
            shape = list(each.command.type.shape)
            with self._engine.profile.slice("input", "publish" if publish else "share", shape=shape):
                array = each.words() if each.words is not None else None
                if isinstance(each.command, Publish):
                    self._engine.devices.publish(each.command, array)
                else:
                    self._engine.devices.share(each.command, array)
