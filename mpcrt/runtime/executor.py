"""Executes commands in one process: as a computing party, as the dealer, or outside the computation."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Schedule
from mpcrt.plan.types import Type
from mpcrt.protocols import Dealer, Keys, Online, Work, provide, receive
from mpcrt.runtime.commands import Ahead, Publish, Reveal, Run, Share
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.profile import Profile
from mpcrt.transport.link import Address, Kind, Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

AHEAD_RUNS = 16
"""Runs that may be dealt before they are called, at a time: what was dealt fills the inboxes until they come."""


@dataclass(slots=True)
class Dealt:
    """A run of a plan that is dealt before it is called; `outputs`, at the dealer: the masks of its outputs."""

    ahead: Ahead
    outputs: list[Any] = field(default_factory=list)


class Devices:
    """The devices of a cluster file as this process takes part in them, and the wires it holds there.

    `started` and `ended` bound the last run of a plan here, on this machine's monotonic clock; `rounds_under_way` is
    how many rounds those that run now have.
    """

    def __init__(self, config: ClusterConfig, link: Link, roster: Roster, profile: Profile = Profile()) -> None:
        self._config, self._link, self._me = config, link, link.name
        self._profile = profile
        keys = Keys(link.name, roster.nonce, roster.seeds)
        self._readers: dict[str, Any] = {}
        self._wires: dict[tuple[str, int], Any] = {}
        self._ahead: OrderedDict[tuple[str, str], Dealt] = OrderedDict()
        self._vain: deque[tuple[Online, int]] = deque()
        self.started = self.ended = 0.0
        self.rounds_under_way = 0
        for name, device in config.devices.items():
            parties = tuple(device.parties)
            if self._me in parties:
                self._readers[name] = Online(link, self._me, parties, device.dealer, keys)
            elif self._me == device.dealer:
                self._readers[name] = Dealer(link, self._me, parties, keys)
        for reader in self._readers.values():
            reader.observer = profile.observer
        self._online = [reader for reader in self._readers.values() if isinstance(reader, Online)]

    def takes_part(self, device: str) -> bool:
        """Whether this process computes or deals there."""
        return device in self._readers

    def _members(self, device: str) -> tuple[str, ...]:
        d = self._config.devices[device]
        return (*d.parties, d.dealer)

    def share(self, command: Share, words: np.ndarray | None) -> None:
        """`words`: the value, at its provider."""
        device = self._config.devices[command.device]
        reader = self._readers.get(command.device)
        if reader is None:
            if command.provider == self._me:
                assert words is not None
                provide(self._link, command.step, command.type, words, tuple(device.parties), device.dealer)
            return
        if self._me == device.dealer:
            made = reader.share(command.step, command.type, command.provider)
        else:
            made = reader.share(command.step, command.type, command.provider, words)
        self._wires[command.device, command.wire] = made

    def publish(self, command: Publish, words: np.ndarray | None) -> None:
        """The provider sends the encoded value to all members; all hold it as a public value."""
        address = Address(Kind.PUBLISH, command.step)
        if command.provider == self._me:
            assert words is not None
            for member in self._members(command.device):
                if member != self._me:
                    self._link.send(member, address, np.ascontiguousarray(words).reshape(-1))
        elif self.takes_part(command.device):
            words = receive_public(self._link, command.provider, address, command.type)
        if self.takes_part(command.device):
            self._wires[command.device, command.wire] = words

    def expected(self, device: str, fingerprint: str) -> Ahead | None:
        """The run of a plan that is dealt before it is called, if there is one."""
        dealt = self._ahead.get((device, fingerprint))
        return None if dealt is None else dealt.ahead

    def foreseen(self, command: Run) -> Dealt | None:
        """What was dealt for a run before it was called. To be asked once of each run, in the order in which they are
        called, not that in which they are run: it also notes what the run foresees, and what was dealt in vain."""
        key = command.device, command.fingerprint
        dealt = self._ahead.pop(key, None)
        if dealt is not None and dealt.ahead.step != command.step:
            self._in_vain(command.device, dealt)
            dealt = None
        if command.ahead is not None:
            self._ahead[key] = Dealt(command.ahead)
            if len(self._ahead) > AHEAD_RUNS:
                (device, _), oldest = self._ahead.popitem(last=False)
                self._in_vain(device, oldest)
        while self._vain and self._link.arrived(*self._vain[0][0].dealt(self._vain[0][1])):
            reader, step = self._vain.popleft()
            reader.drop_corrections(step)
        return dealt

    def _in_vain(self, device: str, dealt: Dealt) -> None:
        reader = self._readers.get(device)
        if isinstance(reader, Online):
            self._vain.append((reader, dealt.ahead.step))

    def run(
        self, command: Run, schedule: Schedule, dealt: Dealt | None = None, started: float | None = None
    ) -> Work[None]:
        """Runs the plan; returns when this process's part is done. `dealt`: what `foreseen` gave. `started`: when the
        call began, if before."""
        reader = self._readers.get(command.device)
        if reader is None:
            return
        wires = [self.wire(command.device, number) for number in command.inputs]
        self.started = time.monotonic() if started is None else started
        self.rounds_under_way += schedule.rounds
        if isinstance(reader, Online) and (command.offline or dealt is not None):
            yield lambda: [reader.dealt(command.step)]
            reader.await_corrections(command.step)
            self.started = time.monotonic() if command.offline else self.started
        with self._profile.slice("plan", f"plan {command.fingerprint[:8]}"):
            if not isinstance(reader, Dealer):
                made = yield from reader.running(command.step, schedule, wires)
            elif dealt is not None:
                made = dealt.outputs
            else:
                made = reader.run(command.step, schedule, wires, command.offline)
        self.ended = time.monotonic()
        self.rounds_under_way -= schedule.rounds
        for number, value in zip(command.outputs, made, strict=True):
            self._wires[command.device, number] = value
        if command.ahead is not None and isinstance(reader, Dealer):
            following = [self.wire(command.device, number) for number in command.ahead.inputs]
            foreseen = self._ahead[command.device, command.fingerprint]
            foreseen.outputs = reader.run(command.ahead.step, schedule, following, offline=True)

    def reveal(self, command: Reveal) -> Work[np.ndarray | None]:
        """The words, at a receiver. The first step, which waits for nothing, sends this party's part."""
        device = self._config.devices[command.device]
        reader = self._readers.get(command.device)
        parties = tuple(device.parties)
        if command.form == "public":
            return (yield from self._reveal_public(command, parties))
        if reader is None:
            if self._me not in command.receivers:
                return None
            others = [(party, Address(Kind.REVEAL, command.step)) for party in parties]
            yield lambda: others
            return receive(self._link, command.step, command.type, parties)
        if self._me == device.dealer:
            return None
        wire = self.wire(command.device, command.wire)
        return (yield from reader.revealing(command.step, wire, command.type, command.receivers))

    def _reveal_public(self, command: Reveal, parties: tuple[str, ...]) -> Work[np.ndarray | None]:
        """Computing parties have a public value; the first tells receivers outside."""
        address = Address(Kind.PUBLISH, command.step)
        if self._me in parties:
            words = np.asarray(self.wire(command.device, command.wire))
            if self._me == parties[0]:
                for receiver in command.receivers:
                    if receiver not in parties:
                        self._link.send(receiver, address, np.ascontiguousarray(words).reshape(-1))
            return words if self._me in command.receivers else None
        if self._me in command.receivers:
            yield lambda: [(parties[0], address)]
            return receive_public(self._link, parties[0], address, command.type)
        return None

    def awaited(self, command: Share | Publish) -> list[tuple[str, Address]]:
        """The messages that `share` or `publish` waits for here."""
        if command.provider == self._me or not self.takes_part(command.device):
            return []
        if isinstance(command, Publish):
            return [(command.provider, Address(Kind.PUBLISH, command.step))]
        return [(command.provider, Address(Kind.INPUT, command.step))]

    def wire(self, device: str, number: int) -> Any:
        """A wire that this process holds. Raises ProtocolError for a number that was never made or is released."""
        try:
            return self._wires[device, number]
        except KeyError:
            raise ProtocolError(f"no wire {number} on {device}") from None

    def holds(self, device: str, number: int) -> bool:
        """Whether this process holds that wire."""
        return (device, number) in self._wires

    def release(self, wires: Iterable[tuple[str, int]]) -> None:
        """Forget wires; unknown ones are nothing."""
        for key in wires:
            self._wires.pop(key, None)

    @property
    def rounds(self) -> int:
        """Levels with openings so far, over all devices."""
        return sum([reader.statistics.rounds for reader in self._online])

    @property
    def held(self) -> int:
        """How many wires this process holds."""
        return len(self._wires)


def receive_public(link: Link, peer: str, address: Address, type_: Type) -> np.ndarray:
    """The words of a public value from `peer`, checked against their type."""
    wanted = np.dtype(np.uint8 if type_.kind == "bit" else np.uint64)
    words = link.recv_one(peer, address, limit=type_.size * wanted.itemsize)
    if words.dtype != wanted or words.size != type_.size:
        raise ProtocolError(f"{peer} sent {words.size} values of {words.dtype} for {type_}")
    return words.reshape(type_.shape)
