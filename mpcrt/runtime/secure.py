"""Secure calls: their plan, its inputs as wires, and its run. Used by the engine, on its thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import InputError, MpcrtError, ProtocolError, UserFunctionError
from mpcrt.plan import Plan
from mpcrt.plan.types import PUBLIC, Type
from mpcrt.protocols import Work, at_once
from mpcrt.runtime import calls, facts, inputs, trees
from mpcrt.runtime.arguments import Source
from mpcrt.runtime.commands import Ahead, Publish, Run, Share
from mpcrt.runtime.compile import Cache, Compiled
from mpcrt.runtime.values import Wire, parts
from mpcrt.text import listed

if TYPE_CHECKING:
    from mpcrt.runtime.engine import Engine

log = logging.getLogger("mpcrt.run")

Words = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Asked:
    """An input that a call brings to a device; `words` encodes it, at its provider. `name`: what it is, for people."""

    command: Share | Publish
    words: Words | None
    name: str
    kept: dict[Any, Wire]
    key: Hashable

    def forget(self) -> None:
        """It was not brought there after all."""
        self.kept.pop(self.key, None)


class SecureCalls:
    """What an engine needs to run functions on shares."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._session = engine, engine.session
        self._shipped: set[str] = set()
        devices = engine.session.config.devices
        self._compiled = {name: Cache(d.fraction_bits, tuple(d.parties)) for name, d in devices.items()}

    def knows(self, call: calls.SecureCall) -> bool:
        """Whether the call's function is compiled for its arguments, of which everything is known here: public results
        of earlier calls as well, which an owner may need for its own part."""
        for value, _ in map(parts, call.handles):
            if not value.known or (
                not value.ran and any([visibility == PUBLIC for visibility, _ in value.forms or ()])
            ):
                return False
        return self._compiled[call.placement.name].knows(call.function, call.args, call.static, call.identity)

    def call(self, call: calls.SecureCall) -> Work[None]:
        """Trace or look up, announce, agree where something is new, share what is not there yet, run.

        The first step ends with the announcement.
        """
        device = call.placement.name
        for handle in call.handles:
            self._engine.resolve(parts(handle)[0])
        started = time.monotonic()
        with self._session.reads(call), self._engine.profile.slice("compile", f"trace {call.name}()"):
            compiled, sources, new = self._compiled[device].get(call.function, call.args, call.static, call.identity)
        call.facts = [facts.of_sources(sources), *compiled.facts]
        if new:
            self._engine.profile.plan(compiled.traced.plan)
            self._tell_compiled(call, compiled)
        plain = inputs.Plaintext(compiled, sources, self._engine.devices)
        asked: list[Asked] = []
        with self.bringing(asked):
            yield from self._perform(call, compiled, sources, new, plain, asked, started)

    def _perform(
        self, call: calls.SecureCall, compiled: Compiled, sources: list[Source], new: bool, plain: inputs.Plaintext,
        asked: list[Asked], started: float,
    ) -> Work[None]:  # fmt: skip
        device = call.placement.name
        wires = [self._input(device, compiled, sources, i, plain, asked) for i in range(len(compiled.origins))]
        made = [self._engine.wire(device) for _ in compiled.output_types]
        unknown = compiled.fingerprint not in self._shipped
        new = bool(asked) or new or unknown
        run = self._command(device, compiled, wires, made, new)
        words, refusal = self.encode(asked)
        if unknown:
            self._engine.ledger.plans[call.number] = compiled.traced.plan
        self._engine.announce(call, [*(a.command for a in asked), run], refusal)
        brought = {a.command.wire for a in asked}
        call.needs = [(device, number) for number in run.inputs if number not in brought]
        call.light, call.sure, call.provided = compiled.light, not new, not asked
        if call.sure:
            self._describe(call, compiled, made)
        dealt = None if new else self._engine.devices.foreseen(run)  # before any later call is announced
        # the dealer deals once all have announced the call: until then only what it has dealt before can be counted on
        yield self._engine.agreement(call) if new or dealt is None else at_once
        if new:
            self._engine.agree(call, refusal)
            dealt = self._engine.devices.foreseen(run)  # it is not skipped
            call.sure = True
            if unknown:
                self._ship(call, compiled)
            self._describe(call, compiled, made)
            yield from self.provide(asked, words)
            started = time.monotonic()
        call.provided = True
        try:
            yield from self._engine.devices.run(run, compiled.schedule, dealt, started)
        except ProtocolError:
            self._engine.agree(call)
            raise
        yield self._engine.agreement(call)
        self._engine.agree(call)

    def _command(self, device: str, compiled: Compiled, wires: list[Wire], made: list[Wire], new: bool) -> Run:
        """The command; as the last run foresaw it, where that has come true."""
        numbers, outputs = tuple([w.number for w in wires]), tuple([w.number for w in made])
        foreseen, ahead = self._engine.devices.expected(device, compiled.fingerprint), None
        step = foreseen.step if foreseen is not None and foreseen.inputs == numbers else self._engine.step()
        following = compiled.follows(numbers, outputs)
        likely = self._session.dealt_ahead and not new and 0 < compiled.dealer_bytes and compiled.light
        if following is not None and likely:
            ahead = Ahead(self._engine.step(), following)
        digest, offline = compiled.schedule.digest, self._session.offline
        return Run(device, step, compiled.fingerprint, digest, numbers, outputs, offline, ahead)

    def _describe(self, call: calls.SecureCall, compiled: Compiled, made: list[Wire]) -> None:
        """What the call gives, told before it has run."""
        value = call.result
        with self._session.changed:
            value.wires, value.forms, value.treedef = made, compiled.forms, compiled.traced.out_tree
            value.plan_types, value.trace_seconds = compiled.output_types, compiled.seconds
            value.describe(compiled.structure, compiled.types)
            self._session.changed.notify_all()

    def _tell_compiled(self, call: calls.SecureCall, compiled: Compiled) -> None:
        for warning in compiled.traced.warnings:
            log.warning("%s: %s", call.name, warning)
        plan, scheduled = compiled.traced.plan, compiled.schedule
        log.info(
            "%s() is a plan, ops: %d, rounds: %d (%s), traced in %.2f s", call.name, len(plan.nodes),
            scheduled.rounds, plan.fingerprint[:8], compiled.seconds,
        )  # fmt: skip

    def _ship(self, call: calls.SecureCall, compiled: Compiled) -> None:
        """The plan itself goes, once and when all agree, from one party to those without a program."""
        self._shipped.add(compiled.fingerprint)
        if self._engine.roster.leader != self._session.me:
            return
        plan = compiled.traced.plan
        if receivers := self._engine.ledger.send_plan(call.number, plan):
            log.info(
                "sent the plan of %s() (%s, %s) to %s, now that all parties agree", call.name, plan.fingerprint[:8],
                trees.size(len(plan.encoded)), listed(receivers),
            )  # fmt: skip
            for line in literals(plan):
                log.info("with it, in the clear: %s", line)

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
        kept = kept if origin.key is not None else {}
        return self.ask(device, party, type_, name, words, asked, kept, key)

    def ask(
        self, device: str, party: str, type_: Type, name: str, words: Words | None,
        asked: list[Asked], kept: dict[Any, Wire], key: Hashable,
    ) -> Wire:  # fmt: skip
        wire = kept[key] = self._engine.wire(device)
        kind = Publish if type_.public else Share
        asked.append(Asked(kind(device, self._engine.step(), wire.number, party, type_), words, name, kept, key))
        return wire

    def publisher(self, device: str) -> str:
        """Who computes and sends public values: the first computing party that has the program, else the leader."""
        computing = self._session.config.devices[device].parties
        return next((p for p in computing if p in self._engine.roster.programs), self._engine.roster.leader)

    @contextmanager
    def bringing(self, asked: list[Asked]) -> Iterator[None]:
        """Within it inputs are brought to a device; where that fails they are not there."""
        try:
            yield
        except BaseException:
            for each in asked:
                each.forget()
            raise

    def encode(self, asked: Sequence[Asked]) -> tuple[list[np.ndarray | None], MpcrtError | None]:
        """The ring words of what this party provides, or why it cannot: known before the call is announced, so that
        nobody shares anything of a call that an input is missing of."""
        try:
            with self._engine.profile.slice("input", "encode"):
                return [each.words() if each.words is not None else None for each in asked], None
        except (InputError, UserFunctionError) as error:
            return [], error

    def provide(self, asked: Sequence[Asked], words: list[np.ndarray | None]) -> Work[None]:
        """Bring the inputs to their device: this party's first, then the others' as they come."""
        others = []
        words.reverse()  # and forget each as it is sent
        for each in asked:
            array = words.pop()
            if array is not None:
                self._bring(each, array)
            else:
                others.append(each)
        yield lambda: [message for each in others for message in self._engine.devices.awaited(each.command)]
        for each in others:
            self._bring(each, None)

    def _bring(self, each: Asked, array: np.ndarray | None) -> None:
        publish = isinstance(each.command, Publish)
        shape = list(each.command.type.shape)
        log_input(each)
        with self._engine.profile.slice("input", "publish" if publish else "share", shape=shape):
            if isinstance(each.command, Publish):
                self._engine.devices.publish(each.command, array)
            else:
                self._engine.devices.share(each.command, array)


def log_input(asked: Asked) -> None:
    """Say, when it happens, that an input goes to its device: in the clear or masked."""
    command, type_ = asked.command, asked.command.type
    shown = f"{'x'.join(map(str, type_.shape)) or 'scalar'} {'bits' if type_.kind == 'bit' else 'values'}"
    if asked.words is not None:
        how = "publishes" if isinstance(command, Publish) else "shares, masked,"
        log.info("%s %s (%s) of %s with %s", how, shown, trees.size(8 * type_.size), asked.name, command.device)
    else:
        log.debug("%s provides %s of %s to %s", command.provider, shown, asked.name, command.device)


def literals(plan: Plan) -> list[str]:
    """The constants of a plan for people, each array and all single numbers together, with their sizes."""
    found, numbers = [], 0
    for i, node in enumerate(plan.nodes):
        if node.op == "loop":
            found += literals(node.attrs["body"])
        if node.op != "constant":
            continue
        if len(node.attrs["data"]) <= 8:
            numbers += 1
            continue
        line = plan.lines[i] if i < len(plan.lines) else ""
        kind = "bits" if node.results[0].kind == "bit" else "numbers"
        shape = "x".join(map(str, node.results[0].shape))
        where = f", used at {line}" if line else ""
        found.append(f"a constant of {shape} {kind} ({trees.size(len(node.attrs['data']))}){where}")
    return [*found, f"single numbers: {numbers}"] if numbers else found
