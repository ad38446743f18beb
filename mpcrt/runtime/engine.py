"""The engine thread of a party that has the program: runs calls in order, agrees with the others, moves data.

No input is masked and nothing revealed before every party with the program has announced the same calls up to there.
What may leave earlier: the announcement itself, metadata of what this party's own functions gave, and masked openings
of a cached plan on values that are on shares already; their agreement is checked before the call ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from mpcrt.cluster import streams
from mpcrt.cluster.forks import ends_in_child, guard
from mpcrt.errors import (
    DisagreementError,
    InputError,
    LinkError,
    MpcrtError,
    PeerFailed,
    PeerLost,
    ProtocolError,
    UsageError,
    UserFunctionError,
)
from mpcrt.protocols import Awaited, Work
from mpcrt.runtime import calls, commands, current, nodes, programs, trees
from mpcrt.runtime.agreement import MAX_RELEASED, Extras, Ledger
from mpcrt.runtime.beginning import begin
from mpcrt.runtime.commands import Command
from mpcrt.runtime.counters import Counters
from mpcrt.runtime.executor import Devices
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.moves import Moves
from mpcrt.runtime.pipeline import Pipeline
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.refusals import Skipped, digest, failed_beforehand, kind_of, refused_by
from mpcrt.runtime.secure import SecureCalls
from mpcrt.runtime.session import Session, exit_code
from mpcrt.runtime.values import Value, Wire, flatten_result, owner_of, parts, replaced
from mpcrt.text import listed
from mpcrt.transport.link import Address, Failure, Kind, Link

log = logging.getLogger("mpcrt.run")

META_LIMIT = 1 << 22
QUIET_CALLS = 64
"""After so many calls without an agreement there is one, so that what the others sent does not pile up."""

DISAGREEMENT_SECONDS = 1.0
"""How long the others have to find a disagreement, or what is wrong with their own input, and to say it in their own
words, before they are told."""


class Engine:
    """Runs a session's calls. `start` gives the link and roster; it is called on the engine thread."""

    def __init__(
        self, session: Session, start: Callable[[], tuple[Link, Roster]], profile: Profile = Profile()
    ) -> None:
        self.session, self._start, self.profile = session, start, profile
        self.link: Link | None = None
        self._steps = self._wires = self._agreed = self._announced = 0
        self._pending: dict[int, Value] = {}
        self._call: calls.Call | None = None
        self._awaited: Value | None = None
        self.abandoned = False
        """Nobody else is there any more who could close the link."""
        self.opened = threading.Event()
        """Set once the link is up, or has failed to come up."""
        self.pipeline = Pipeline(self)
        guard(self)
        self.thread = threading.Thread(target=self._main, name="mpcrt engine", daemon=True)

    # -- the thread

    def _main(self) -> None:
        session = self.session
        session.busy_thread = threading.get_ident()
        current.session.set(session)
        try:
            try:
                self._open()
            finally:
                self.opened.set()
            self._calls()
        except BaseException as error:
            self._failed(error)

    def forked(self) -> None:
        """In a process forked from this one: it makes no calls, and does not hold the port."""
        self.session.forked()
        if self.link is not None:
            self.link.forked()

    def _calls(self) -> None:
        """Calls in order. Several are under way at a time where that is safe (`Pipeline`)."""
        while (call := self.pipeline.next_call()) is not None:
            if self.profile.one_by_one:
                with self.profile.call(call.number, call.description):
                    self.pipeline.run_alone(call)
            else:
                self.pipeline.run(call)
            if isinstance(call, calls.EndCall):
                return
        if self.session.failure is None or self.abandoned:
            self.up.close()

    def advance(self, call: calls.Call, work: Work[None]) -> Awaited | None:
        """A call's next step; what it waits for then, or None once it has run."""
        self._call = call
        try:
            return next(work)
        except StopIteration:
            self.session.done(call)
            return None

    def _open(self) -> None:
        self.link, self.roster = self._start()
        self.devices = Devices(self.session.config, self.link, self.roster, self.profile)
        self.counters = Counters(self.link, self.devices, self.session.config)
        self.session.counters = self.counters.totals
        self.session.account.rounds = lambda: self.devices.rounds
        self.ledger = Ledger(self.link, self.roster.programs, self.roster.nonce)
        self.counters.others = self.ledger.counters
        self._others = tuple(p for p in self.roster.programs if p != self.session.me)
        self.secure, self.moves = SecureCalls(self), Moves(self)

    def _failed(self, error: BaseException) -> None:
        if self.session.failure is not None:
            return  # the link was closed under this thread
        error, call = self.located(error), self._call
        name, number = (call.name, call.number) if call is not None else ("", 0)
        if not isinstance(error, MpcrtError):
            log.error("internal error in call %d", number, exc_info=error)
            error = MpcrtError(
                f"internal error in call {number} ({name}): {type(error).__name__}; see the traceback above"
            )
        self.tell(error, name, number)  # before main learns of it and closes the link
        self.session.fail(error, name, number)

    def located(self, error: BaseException) -> BaseException:
        """The error, with what this party waited for where it is a peer that was lost."""
        value = self._awaited
        if not isinstance(error, PeerLost) or value is None or owner_of(value.placement) != error.peer:
            return error
        return PeerLost(
            f"{error}, while {self.session.me} waited for the {value.origin} (call {value.number})", error.peer
        )

    def tell(self, error: BaseException, name: str, number: int) -> None:
        """ABORT to every peer, unless one of them said it first."""
        # who has the same error, or is to blame, says it better
        if isinstance(error, DisagreementError) or getattr(error, "culprit", self.session.me) != self.session.me:
            time.sleep(DISAGREEMENT_SECONDS)
        name, number = getattr(error, "call", (name, number))
        if self.link is not None and not isinstance(error, PeerFailed):
            self.link.abort(failure_of(error, self.session.me, name, number))

    def work(self, call: calls.Call) -> Work[None]:
        """What a call does, step by step; it is announced in the first. One that fails before anything of it was
        shared is skipped everywhere."""
        try:
            for value, _ in map(parts, call.handles):
                if value.error is not None:
                    self.announce(call, [commands.Fail(str(kind_of(value.error)), f"call {value.number}")])
                    self.session.skip(call, value.error, new=False)
                    return
            yield from self._dispatch(call)
        except Skipped as skipped:
            self._skip(call, skipped.error, skipped.culprit)
        except Exception as found:
            if call.number <= self._announced:
                raise
            error = found if isinstance(found, MpcrtError) else failed_beforehand(found, call.name, call.number)
            if (kind := kind_of(error)) is None:
                raise
            # others may be waited for before they know of their own
            self.announce(call, [commands.Fail(kind, digest(error))])
            try:
                self.agree(call)
            except DisagreementError:
                log.error("%s (call %d) fails here: %s", call.name, call.number, error, exc_info=error.__cause__)
                raise
            self._skip(call, error, "")

    def _skip(self, call: calls.Call, error: MpcrtError, culprit: str) -> None:
        """`culprit`: whose error it is, or nothing where it is everybody's."""
        cause = error.__cause__ if isinstance(error, UserFunctionError) else None
        log.error("%s (call %d) is skipped by all: %s", call.name, call.number, error, exc_info=cause)
        error.call, error.culprit = (call.name, call.number), culprit  # type: ignore[attr-defined]
        self.session.skip(call, error, new=True)

    def _dispatch(self, call: calls.Call) -> Work[None]:
        match call:
            case calls.SecureCall():
                yield from self.secure.call(call)
            case calls.Move():
                yield from self.moves.call(call)
            case calls.Resolve():
                self.resolve(call.value)
            case calls.Begin():
                self._begin(call)
            case calls.PartyCall():
                self._party(call)
            case calls.Inject():
                self._inject(call)
            case calls.ReportCall():
                self._report(call)
            case calls.EndCall():
                self._end(call)

    # -- agreement

    def _begin(self, call: calls.Begin) -> None:
        same = self.session.config.same_program
        self.ledger.salt = begin(self.up, self.roster.programs, call.files, call.arguments, same)
        if self._others:
            compared = f"program (source files: {len(call.files)}) and arguments" if same else "nothing of the program"
            log.info("compared with %s before the first call: %s", listed(self._others), compared)

    def announce(self, call: calls.Call, asked: Sequence[Command] = (), refusal: MpcrtError | None = None) -> None:
        """Tell everybody of a call. `refusal`: why this party cannot give an input of it."""
        dropped = []
        while self.session.dropped and len(dropped) < MAX_RELEASED:
            dropped.append(self.session.dropped.popleft())
        extras = Extras(self.counters.mine(), dropped, kind_of(refusal) or "" if refusal is not None else "")
        try:
            self.ledger.announce(call.number, call.description, list(asked), extras, call.facts)
        except UsageError:
            self.session.dropped.extendleft(reversed(dropped))
            raise
        self._announced = call.number
        self.devices.release(dropped)

    def agreement(self, call: calls.Call) -> Awaited:
        """What `agree` waits for."""
        return lambda: self.ledger.awaited(call.number)

    def agree(self, call: calls.Call, refusal: MpcrtError | None = None) -> None:
        """Wait until all have announced the calls up to this one. Raises Skipped where one cannot give an input."""
        self.ledger.agree(call.number)
        self._agreed = max(self._agreed, call.number)
        if self._pending:
            for value in [v for n, v in self._pending.items() if n < call.number]:
                self.resolve(value)
        refused = self.ledger.refused.pop(call.number, {})
        if refusal is not None:
            refused[self.session.me] = type(refusal).__name__
        for party in self.roster.programs:  # the first, if several
            if party in refused:
                other = party != self.session.me
                if other and refusal is not None:
                    log.error("%s() fails here too (call %d): %s", call.name, call.number, refusal)
                error = refused_by(party, refused[party], call.name, call.number) if other else refusal
                assert error is not None
                raise Skipped(error, party)

    def resolve(self, value: Value) -> None:
        """Metadata of a value that another party's function gives."""
        if value.known or value.error is not None:
            return
        owner = owner_of(value.placement)
        assert owner is not None
        self._awaited = value
        self.ledger.agree(value.number, [owner])
        data = self.up.recv_one(owner, Address(Kind.META, value.number), limit=META_LIMIT)
        try:
            structure, types = trees.decode(bytes(data))
        except ProtocolError as error:
            raise ProtocolError(f"{owner} sent a {error}") from None
        self._awaited = None
        self._pending.pop(value.number, None)
        value.describe(structure, types)
        log.debug("%s is %s", value.origin, trees.describe(structure, types))

    @property
    def up(self) -> Link:
        """The link, once it is there."""
        assert self.link is not None
        return self.link

    # -- party functions

    def _party(self, call: calls.PartyCall) -> None:
        party = call.placement.name
        self.need_program([party])
        self.announce(call)
        if party != self.session.me:
            self._pending[call.number] = call.result
        else:
            self._run_here(call)
        if call.number - self._agreed >= QUIET_CALLS:
            self.agree(call)

    def _run_here(self, call: calls.PartyCall) -> None:
        args, kwargs = replaced((call.args, call.kwargs), self.session.subtree)
        start = time.perf_counter()
        log.info("runs %s() in plaintext", call.name)
        streams.begins(f"{call.name}()")
        try:
            with self.profile.slice("python", f"{call.name}()"), ends_in_child(f"{call.name}()"):
                result = programs.awaited(call.function(*args, **kwargs))
        except SystemExit as end:
            said = f"sys.exit({end.code!r})" if end.code is None or isinstance(end.code, int) else "sys.exit()"
            log.error("%s() called sys.exit (call %d)", call.name, call.number, exc_info=programs.below(end))
            raise UserFunctionError(
                f"{call.name}() ended with {said} in call {call.number}; a party function returns or raises, and "
                "main() ends the run, at every party alike"
            ) from end
        except BaseException as error:
            log.error("%s() failed (call %d)", call.name, call.number, exc_info=programs.below(error))
            if isinstance(error, MpcrtError):
                raise
            raise UserFunctionError(
                f"{call.name}() failed in call {call.number}: {type(error).__name__}; the traceback is in this log"
            ) from error
        self.set_plain(call.result, result, call.name)
        took = time.perf_counter() - start
        assert call.result.types is not None
        if result is not None:
            shown = trees.describe(call.result.structure, call.result.types)
            log.info("%s() gave %s in %.2f s; the others are told the shapes", call.name, shown, took)
        self._send_meta(call.result, self._others)

    def set_plain(self, value: Value, tree: Any, name: str) -> None:
        """The value is this tree, which `name` gave."""
        structure, leaves = flatten_result(tree, name)
        types = tuple(trees.leaf_type(leaf) for leaf in leaves)
        with self.session.changed:
            value.leaves = leaves
            value.treedef = None if trees.is_plain(structure) else nodes.treedef(tree)
            value.describe(structure, types)
            self.session.changed.notify_all()

    def _send_meta(self, value: Value, peers: Sequence[str]) -> None:
        assert value.types is not None
        data = trees.encode(value.structure, value.types)
        if len(data) > META_LIMIT:
            raise InputError(f"{value.origin} has too many leaves to describe to the others")
        for peer in peers:
            self.up.send(peer, Address(Kind.META, value.number), data)

    def _inject(self, call: calls.Inject) -> None:
        call.result.ownerless, mine = True, call.placement.name == self.session.me
        if mine:
            self.set_plain(call.result, call.tree, call.name)
        self.announce(call)
        if mine:
            self._send_meta(call.result, self._others)
        else:
            self._pending[call.number] = call.result

    def need_program(self, names: Sequence[str]) -> None:
        """Raise UsageError for a party that runs without the program."""
        for name in names:
            if name not in self.roster.programs:
                raise UsageError(f"{name} was started without the program, so nothing can run or be sent there")

    def step(self) -> int:
        """The number of the next command."""
        self._steps += 1
        return self._steps

    def wire(self, device: str) -> Wire:
        """A new wire."""
        self._wires += 1
        return Wire(device, self._wires, self.session.drop)

    # -- counters and the end

    def _report(self, call: calls.ReportCall) -> None:
        command = commands.Report(self.step())
        self.announce(call, [command])
        self.agree(call)
        reports = self.counters.exchange(command.step, self.up.peers, self.roster.programs)
        with self.session.changed:
            call.result.leaves = [reports]
            call.result.describe(0, (trees.LeafType((), trees.OPAQUE),))
            self.session.changed.notify_all()

    def _end(self, call: calls.EndCall) -> None:
        """Everybody says that nothing follows; the run is over when all have."""
        self.announce(call, [commands.End()])
        self.agree(call)
        for peer in self.up.peers:
            if peer not in self.roster.programs:
                self.up.recv(peer, Address(Kind.STEP, call.number), limit=1024)


def failure_of(error: BaseException, me: str, name: str, number: int) -> Failure:
    """What the others are told: who, where and which code. The reason goes along only where it cannot hold data."""
    culprit = error.peer if isinstance(error, PeerLost) and error.peer else getattr(error, "culprit", "") or me
    reason = str(error) if isinstance(error, PeerLost | LinkError | DisagreementError) else ""
    code = exit_code(error) if culprit == me else type(error).exit_code if isinstance(error, MpcrtError) else 1
    return Failure(culprit, name, number, code, reason)
