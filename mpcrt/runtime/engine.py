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

import numpy as np

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
from mpcrt.runtime import calls, commands, current, trees
from mpcrt.runtime.agreement import MAX_RELEASED, Extras, Ledger
from mpcrt.runtime.commands import Command
from mpcrt.runtime.counters import Counters
from mpcrt.runtime.executor import Devices
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.moves import Moves
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.secure import SecureCalls
from mpcrt.runtime.session import Session, exit_code, handles_in
from mpcrt.runtime.values import Handle, Value, Wire, owner_of
from mpcrt.transport.link import Address, Failure, Kind, Link

log = logging.getLogger("mpcrt.run")

META_LIMIT = 1 << 22
QUIET_CALLS = 64
"""After so many calls without an agreement there is one, so that what the others sent does not pile up."""

DISAGREEMENT_SECONDS = 1.0
"""How long the others have to find a disagreement, and to say it in their own words, before they are told."""


class Engine:
    """Runs a session's calls. `start` gives the link and roster; it is called on the engine thread."""

    def __init__(
        self, session: Session, start: Callable[[], tuple[Link, Roster]], profile: Profile = Profile()
    ) -> None:
        self.session, self._start, self.profile = session, start, profile
        self.link: Link | None = None
        self._steps = self._wires = self._agreed = 0
        self._pending: dict[int, Value] = {}
        self._call: calls.Call | None = None
        self.opened = threading.Event()
        """Set once the link is up, or has failed to come up."""
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

    def _calls(self) -> None:
        while (call := self.session.queue.get()) is not None:
            self._call = call
            with self.profile.call(call.number, call.description):
                self._run(call)
            self.session.done(call)
            if isinstance(call, calls.EndCall):
                break

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
        call = self._call
        name, number = (call.name, call.number) if call is not None else ("", 0)
        if not isinstance(error, MpcrtError):
            log.error("internal error in call %d", number, exc_info=error)
            error = MpcrtError(
                f"internal error in call {number} ({name}): {type(error).__name__}; see the traceback above"
            )
        self.tell(error, name, number)  # before main learns of it and closes the link
        self.session.fail(error, name, number)

    def tell(self, error: BaseException, name: str, number: int) -> None:
        """ABORT to every peer, unless one of them said it first."""
        if isinstance(error, DisagreementError):
            time.sleep(DISAGREEMENT_SECONDS)
        if self.link is not None and not isinstance(error, PeerFailed):
            self.link.abort(failure_of(error, self.session.me, name, number))

    def _run(self, call: calls.Call) -> None:
        match call:
            case calls.Resolve():
                self.resolve(call.value)
            case calls.PartyCall():
                self._party(call)
            case calls.Inject():
                self._inject(call)
            case calls.SecureCall():
                self.secure.call(call)
            case calls.Move():
                self.moves.call(call)
            case calls.ReportCall():
                self._report(call)
            case calls.EndCall():
                self._end(call)

    @property
    def running(self) -> calls.Call | None:
        """The call that runs, or ran last."""
        return self._call

    @property
    def exchanged(self) -> tuple[int, int]:
        """Rounds so far, and bytes sent and received."""
        if not self.opened.is_set() or self.link is None or not hasattr(self, "devices"):
            return 0, 0
        statistics = self.link.statistics
        return self.devices.rounds, statistics.total("sent").bytes + statistics.total("received").bytes

    # -- agreement

    def announce(self, call: calls.Call, asked: Sequence[Command] = (), plans: Sequence[bytes] = ()) -> None:
        dropped = []
        while self.session.dropped and len(dropped) < MAX_RELEASED:
            dropped.append(self.session.dropped.popleft())
        extras = Extras(self.counters.mine(), dropped)
        self.ledger.announce(call.number, call.description, list(asked), extras, list(plans))
        self.devices.release(dropped)

    def agree(self, call: calls.Call) -> None:
        self.ledger.agree(call.number)
        self._agreed = call.number
        if self._pending:
            for value in [v for n, v in self._pending.items() if n < call.number]:
                self.resolve(value)

    def resolve(self, value: Value) -> None:
        """Metadata of a value that another party's function gives."""
        if value.known:
            return
        owner = owner_of(value.placement)
        assert owner is not None
        self.ledger.agree(value.number, [owner])
        data = self.up.recv_one(owner, Address(Kind.META, value.number), limit=META_LIMIT)
        try:
            structure, types = trees.decode(bytes(data))
        except ProtocolError as error:
            raise ProtocolError(f"{owner} sent a {error}") from None
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
        self.announce(call)
        party = call.placement.name
        self.need_program([party])
        if party != self.session.me:
            self._pending[call.number] = call.result
        else:
            self._run_here(call)
        if call.number - self._agreed >= QUIET_CALLS:
            self.agree(call)

    def _run_here(self, call: calls.PartyCall) -> None:
        args, kwargs = self._plain(call.args), self._plain(call.kwargs)
        start = time.perf_counter()
        log.info("runs %s() in plaintext", call.name)
        try:
            with self.profile.slice("python", f"{call.name}()"):
                result = call.function(*args, **kwargs)
        except Exception as error:
            log.error("%s() failed (call %d)", call.name, call.number, exc_info=below(error))
            if isinstance(error, MpcrtError):
                raise
            raise UserFunctionError(
                f"{call.name}() failed in call {call.number}: {type(error).__name__}; the traceback is in this log"
            ) from error
        structure, leaves = flatten_result(result, call.name)
        self.set_plain(call.result, structure, leaves)
        took = time.perf_counter() - start
        assert call.result.types is not None
        if structure is not None:
            shown = trees.describe(structure, call.result.types)
            log.info("%s() gave %s in %.2f s; it stays here", call.name, shown, took)
        self._send_meta(call.result, self._others)

    def _plain(self, tree: Any) -> Any:
        """Arguments with plaintext values in place of handles."""
        if isinstance(tree, Handle):
            return self.session.subtree(tree)
        if type(tree) is dict:
            return {k: self._plain(v) for k, v in tree.items()}
        if type(tree) in (list, tuple):
            return type(tree)(self._plain(v) for v in tree)
        return tree

    def set_plain(self, value: Value, structure: trees.Structure, leaves: list[Any]) -> None:
        types = tuple(trees.leaf_type(leaf) for leaf in leaves)
        with self.session.changed:
            value.leaves = leaves
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
        self.announce(call)
        call.result.ownerless = True
        if call.placement.name != self.session.me:
            self._pending[call.number] = call.result
            return
        structure, leaves = flatten_result(call.tree, call.name)
        self.set_plain(call.result, structure, leaves)
        self._send_meta(call.result, self._others)

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
    culprit = error.peer if isinstance(error, PeerLost) and error.peer else me
    reason = str(error) if isinstance(error, PeerLost | LinkError | DisagreementError) else ""
    return Failure(culprit, name, number, exit_code(error), reason)


def flatten_result(result: Any, name: str) -> tuple[trees.Structure, list[Any]]:
    """What a party function gave, with JAX arrays as NumPy's. Raises UserFunctionError for what has no place here."""
    if handles_in(result):
        raise UserFunctionError(f"{name}() gave a handle; a party function works on plain values")
    try:
        structure, leaves = trees.flatten(result)
    except UsageError as error:
        raise UserFunctionError(f"the result of {name}(): {error}") from None
    return structure, [np.asarray(leaf) if hasattr(leaf, "__jax_array__") or is_jax(leaf) else leaf for leaf in leaves]


def is_jax(leaf: Any) -> bool:
    return type(leaf).__module__.split(".")[0] in ("jax", "jaxlib") and hasattr(leaf, "__array__")


def below(error: Exception) -> Exception:
    """The error with the user's part of its traceback: it starts below the engine's frame."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
