"""A process without a program, the dealer or a LocalCluster's worker: executes what all others ask alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mpcrt.errors import DisagreementError, ProtocolError
from mpcrt.plan import Limits, Plan
from mpcrt.plan.schedule import Schedule, schedule
from mpcrt.protocols import to_the_end
from mpcrt.runtime.account import Account
from mpcrt.runtime.agreement import Follower
from mpcrt.runtime.commands import Command, End, Fail, Publish, Report, Reveal, Run, Share
from mpcrt.runtime.counters import Counters
from mpcrt.runtime.executor import Devices
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.profile import Profile
from mpcrt.transport.link import Address, Kind, Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

log = logging.getLogger("mpcrt.run")


class Service:
    """One run of a process without a program. `number` and `text` say where it is, for errors."""

    def __init__(
        self,
        config: ClusterConfig,
        link: Link,
        roster: Roster,
        limits: Limits = Limits(),
        profile: Profile = Profile(),
        account: Account | None = None,
    ) -> None:
        self._config, self._link, self._roster, self._limits = config, link, roster, limits
        self._profile = profile
        self._devices = Devices(config, link, roster, profile)
        self._counters = Counters(link, self._devices, config)
        self._account = account or Account()
        self._account.rounds = lambda: self._devices.rounds
        self._follower = Follower(link, roster.programs)
        self._plans: dict[str, Plan] = {}
        self._schedules: dict[tuple[str, int], Schedule] = {}
        self._dropped: dict[tuple[str, int], set[str]] = {}
        self._programs = frozenset(roster.programs)
        self._step = 0
        self.number, self.text = 0, ""

    def serve(self) -> None:
        """Until all parties say that nothing follows."""
        while True:
            self.number, self.text = self.number + 1, ""
            self.number, self.text, asked = self._follower.next()
            if not self._follower.refused:  # the plan of a call that is skipped is not sent
                self._take_plans(asked)
            self._take_dropped()
            with self._profile.call(self.number, self.text):
                for command in asked:
                    if isinstance(command, End):
                        self._end()
                        return
                    if not (isinstance(command, Fail) or self._follower.refused):
                        self._execute(command)

    def _end(self) -> None:
        for peer in self._link.peers:
            self._link.send(peer, Address(Kind.STEP, self.number), b"end")
        for peer in self._link.peers:
            if peer not in self._roster.programs:
                self._link.recv(peer, Address(Kind.STEP, self.number), limit=1024)

    def _take_plans(self, asked: Sequence[Command]) -> None:
        """Decode the plans that this call runs for the first time, as all who have the program agree; no others."""
        for command in asked:
            if isinstance(command, Run) and command.fingerprint not in self._plans:
                data = self._follower.plan(command.fingerprint)
                self._plans[command.fingerprint] = Plan.from_bytes(data, self._limits)

    def _take_dropped(self) -> None:
        """A wire goes once every party with the program has dropped it."""
        for peer, device, wire in self._follower.released:
            if not self._devices.holds(device, wire):
                continue
            parties = self._dropped.setdefault((device, wire), set())
            parties.add(peer)
            if parties == self._programs:
                del self._dropped[device, wire]
                self._devices.release([(device, wire)])

    def _execute(self, command: Command) -> None:
        assert not isinstance(command, End | Fail)
        # masks are drawn at (step, ...): a number used twice would use them twice
        dealt = self._devices.foreseen(command) if isinstance(command, Run) else None
        if command.step <= self._step and dealt is None:
            raise ProtocolError(f"call {self.number} has step {command.step} after step {self._step}")
        self._step = max(self._step, command.step)
        if isinstance(command, Run) and command.ahead is not None:
            if command.ahead.step <= self._step or len(command.ahead.inputs) != len(command.inputs):
                raise ProtocolError(f"call {self.number} foresees step {command.ahead.step} after step {self._step}")
            self._step = command.ahead.step
        if isinstance(command, Report):
            self._counters.exchange(command.step, self._link.peers, self._roster.programs)
            return
        if command.device not in self._config.devices:
            raise ProtocolError(f"call {self.number} names a device {command.device!r}")
        if not self._devices.takes_part(command.device):
            return
        made = command.outputs if isinstance(command, Run) else () if isinstance(command, Reveal) else (command.wire,)
        if len(set(made)) < len(made) or any([self._devices.holds(command.device, wire) for wire in made]):
            raise ProtocolError(f"call {self.number} makes a wire that there is already")
        match command:
            case Share() | Publish():
                if command.provider not in self._config.parties or command.provider == self._link.name:
                    raise ProtocolError(f"call {self.number} wants an input of {command.provider!r}")
                if command.type.size > self._limits.value:
                    raise ProtocolError(f"call {self.number} shares {command.type.size} values; too many")
                execute = self._devices.share if isinstance(command, Share) else self._devices.publish
                execute(command, None)  # type: ignore[arg-type]
            case Run():
                to_the_end(self._devices.run(command, self._schedule(command), dealt))
                log.debug("call %d: ran plan %s", self.number, command.fingerprint[:8])
            case Reveal():
                if any(r not in self._config.parties for r in command.receivers):
                    raise ProtocolError(f"call {self.number} names unknown receivers")
                to_the_end(self._devices.reveal(command))
                self._account.learns_of(command.receivers, self.number)

    def _schedule(self, command: Run) -> Schedule:
        parties = len(self._config.devices[command.device].parties)
        key = (command.fingerprint, parties)
        if key not in self._schedules:
            plan = self._plans[command.fingerprint]
            log.info("call %d: a plan (ops: %d, %s), agreed by all", self.number, len(plan.nodes), plan.fingerprint[:8])
            self._schedules[key] = schedule(plan, parties)
        made = self._schedules[key]
        if made.digest != command.lowering:
            raise DisagreementError(
                f"call {self.number}: {self._link.name} lowers plan {command.fingerprint[:8]} to other steps than the "
                "parties with the program; install the same mpcrt everywhere"
            )
        if len(command.inputs) != len(made.inputs) or len(command.outputs) != len(made.outputs):
            raise ProtocolError(f"call {self.number} runs a plan with the wrong number of wires")
        return made
