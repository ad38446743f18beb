"""Moves: `.to(...)` to a device, from a device to those named, between parties. Used by the engine, on its thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import ProtocolError, UsageError
from mpcrt.plan.types import PUBLIC, SECRET, Type, private
from mpcrt.protocols import Work, together
from mpcrt.runtime import calls, inputs, trees
from mpcrt.runtime.arguments import Source
from mpcrt.runtime.commands import Reveal
from mpcrt.runtime.opaque import no_array
from mpcrt.runtime.placements import Public, Spu, holders
from mpcrt.runtime.secure import Asked
from mpcrt.runtime.values import Value, Wire, owner_of, parts, structure_of
from mpcrt.text import listed
from mpcrt.transport.link import Address, Kind

if TYPE_CHECKING:
    from mpcrt.runtime.engine import Engine

log = logging.getLogger("mpcrt.run")

VALUE_LIMIT = 1 << 36


class Moves:
    """What an engine needs to move values."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._session = engine, engine.session

    def call(self, call: calls.Move) -> Work[None]:
        """Everybody learns the result's structure, the receivers its leaves. The first step ends with the
        announcement."""
        source, _ = parts(call.handle)
        self._engine.resolve(source)
        structure = structure_of(call.handle)
        assert source.types is not None
        chosen = list(trees.leaf_numbers(structure))
        for i in chosen:
            if source.types[i].dtype == trees.OPAQUE:
                raise UsageError(no_array(inputs.name_of(Source(source, i)), source.types[i].kind))
        types = tuple(source.types[i] for i in chosen)
        result = call.result
        result.treedef = None if source.plain else source.treedef_of(parts(call.handle)[1])
        if isinstance(call.target, Spu):
            yield from self._to_device(call, source, chosen)
        elif isinstance(source.placement, Spu):
            yield from self._reveal(call, source, chosen)
        else:
            self._send_plain(call, source, chosen)
        with self._session.changed:
            result.describe(renumber(structure), types)
            self._session.changed.notify_all()

    def _to_device(self, call: calls.Move, source: Value, chosen: list[int]) -> Work[None]:
        """Shares leaves as they are; a public value stays what it is until a function uses it."""
        assert isinstance(call.target, Spu) and source.types is not None
        device = call.target.name
        asked: list[Asked] = []
        with self._engine.secure.bringing(asked):
            yield from self._bring(call, device, source, chosen, asked)

    def _bring(self, call: calls.Move, device: str, source: Value, chosen: list[int], asked: list[Asked]) -> Work[None]:
        assert source.types is not None
        made: list[Wire] = []
        kinds = []
        party = owner_of(source.placement) or self._engine.secure.publisher(device)
        visibility = PUBLIC if isinstance(source.placement, Public) else SECRET if source.ownerless else private(party)
        for i in chosen:
            leaf = trees.LeafType(source.types[i].shape, source.types[i].dtype)
            type_ = inputs.raw_type(leaf, self._session.config.devices[device].fraction_bits, visibility)
            key = inputs.raw_key(device, i, type_, source)
            if key not in source.shared:
                words = raw_words(source, i, type_) if party == self._session.me else None
                self._engine.secure.ask(
                    device, party, type_, inputs.name_of(Source(source, i)), words, asked, source.shared, key
                )
            made.append(source.shared[key])
            kinds.append(type_)
        words, refusal = self._engine.secure.encode(asked)
        self._engine.announce(call, [a.command for a in asked], refusal=refusal)
        yield self._engine.agreement(call)
        self._engine.agree(call, refusal)
        yield from self._engine.secure.provide(asked, words)
        form = "public" if visibility == PUBLIC else "masked"
        call.result.wires, call.result.plan_types = made, kinds
        call.result.forms = [(visibility, form) for _ in made]
        if source.leaves is not None:
            call.result.leaves = [source.leaves[i] for i in chosen]

    def _reveal(self, call: calls.Move, source: Value, chosen: list[int]) -> Work[None]:
        assert source.wires is not None and source.types is not None and source.forms is not None
        everyone = self._engine.roster.programs
        receivers = holders(call.target, everyone)
        self._engine.need_program(receivers)
        asked = [
            Reveal(
                source.wires[i].device, self._engine.step(), source.wires[i].number, source.plan_types[i],
                source.forms[i][1], receivers,
            )
            for i in chosen
        ]  # fmt: skip
        self._engine.announce(call, asked)
        call.needs = [(command.device, command.wire) for command in asked]
        call.sure = call.light = call.provided = True
        yield self._engine.agreement(call)
        self._engine.agree(call)
        shown = trees.describe(renumber(structure_of(call.handle)), tuple(source.types[i] for i in chosen))
        found = yield from together([self._engine.devices.reveal(command) for command in asked])
        self._session.account.learns(receivers, f"{source.origin}: {shown}")
        if self._session.me in receivers:
            log.info("learns %s: %s", source.origin, shown)
            leaves = []
            for i, command, words in zip(chosen, asked, found, strict=True):
                assert words is not None
                leaves.append(inputs.decode(words, command.type, source.types[i]))
            call.result.leaves = leaves
        else:
            log.info("%s is revealed to %s, not to this party", source.origin, listed(receivers))

    def _send_plain(self, call: calls.Move, source: Value, chosen: list[int]) -> None:
        """A plaintext value from its holder to those named; whoever has it already keeps it."""
        assert source.types is not None
        receivers = holders(call.target, self._engine.roster.programs)
        self._engine.need_program(receivers)
        self._engine.announce(call)
        self._engine.agree(call)
        before = holders(source.placement, self._engine.roster.programs)
        lacking = [r for r in receivers if r not in before]
        self._session.account.learns(lacking, source.origin)
        if self._session.me in before:
            assert source.leaves is not None
            leaves = [source.leaves[i] for i in chosen]
            if self._session.me == before[0]:
                for peer in lacking:
                    log.info("sends %s to %s in the clear, as .to() asks", source.origin, peer)
                    buffers = [wire_bytes(leaf) for leaf in leaves]
                    self._engine.up.send(peer, Address(Kind.RESULT, call.number), *buffers)
            if self._session.me in receivers:
                call.result.leaves = leaves
        elif self._session.me in receivers:
            limit = sum(source.types[i].bytes for i in chosen)
            received = self._engine.up.recv(before[0], Address(Kind.RESULT, call.number), limit=min(limit, VALUE_LIMIT))
            if len(received) != len(chosen):
                raise ProtocolError(f"{before[0]} sent {len(received)} arrays for {len(chosen)}")
            call.result.leaves = [
                from_bytes(data, source.types[i], before[0]) for data, i in zip(received, chosen, strict=True)
            ]
            log.info("learns %s from %s", source.origin, before[0])


def raw_words(value: Value, index: int, type_: Type) -> Callable[[], np.ndarray]:
    """Encodes a leaf as it is, when called."""
    source = Source(value, index)
    return lambda: inputs.encode(inputs.concrete(source), type_, inputs.name_of(source))


def renumber(structure: trees.Structure) -> trees.Structure:
    """A part of a structure with its leaves numbered from 0."""
    return _shift(structure, min(trees.leaf_numbers(structure), default=0))


def _shift(structure: trees.Structure, by: int) -> trees.Structure:
    if not isinstance(structure, list):
        return structure - by if isinstance(structure, int) else None
    return trees.with_children(structure, [_shift(part, by) for part in trees.children(structure)])


def wire_bytes(leaf: Any) -> np.ndarray:
    """A leaf as bytes in C order."""
    return np.frombuffer(np.ascontiguousarray(leaf).tobytes(), np.uint8)


def from_bytes(data: np.ndarray, leaf: trees.LeafType, peer: str) -> np.ndarray:
    if data.nbytes != leaf.bytes:
        raise ProtocolError(f"{peer} sent {data.nbytes} bytes for {leaf}")
    dtype: Any = leaf.dtype
    if dtype == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    return np.frombuffer(data.tobytes(), dtype).reshape(leaf.shape).copy()
