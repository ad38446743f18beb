"""The session as `main` uses it: numbers calls, hands them to the engine, and waits. No data passes through here."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, UsageError
from mpcrt.runtime import calls, current, facts, nodes
from mpcrt.runtime.account import Account
from mpcrt.runtime.binding import by_position
from mpcrt.runtime.counters import Statistics
from mpcrt.runtime.moment import identity, snapshot
from mpcrt.runtime.placements import Group, Party, Placement, Public, Spu, Static, function_name, public, short_name
from mpcrt.runtime.values import Handle, Value, assemble, handles_in, owner_of, parts

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

OUTSTANDING = 16
REMEMBERED = 256
TICK = 0.2
FINISH_SECONDS = 5.0


class Session:
    """One process's part in one run, for the thread that runs `main`.

    `failure` is set once, by whoever learns of it first, and from then on every call raises it.
    """

    def __init__(self, config: ClusterConfig, me: str, account: Account | None = None) -> None:
        self.config, self.me = config, me
        self.account = account or Account()
        self.thread = threading.get_ident()
        self.busy_thread = 0
        self.failure: BaseException | None = None
        self.failed_at: tuple[str, int] = ("", 0)
        self.queue: queue.SimpleQueue[calls.Call | None] = queue.SimpleQueue()
        self.changed = threading.Condition()
        self.dropped: deque[tuple[str, int]] = deque()
        self.counters: Callable[[], Statistics] = Statistics
        self.on_failure: Callable[[BaseException], None] = lambda _: None
        self.offline = False  # whether calls wait for all their corrections before their first round
        self.dealt_ahead = True  # whether the dealer deals for a call that is likely to come
        self._traced: str | None = None
        self._read: OrderedDict[Hashable, None] = OrderedDict()  # secure functions that have been traced
        self._number = 0
        self._outstanding = self._seen = 0
        self._ended = 0  # all calls up to this one have ended; later ones that have are in _ended_early
        self._ended_early: set[int] = set()
        self._skipped: dict[int, MpcrtError] = {}
        self._finished = False
        self._closed = False

    def begin(self, files: Mapping[str, bytes], arguments: Sequence[str]) -> None:
        """The program is imported, and main begins: the others' must be the same. See `calls.Begin`."""
        self._enqueue(calls.Begin("the start of main()", "start", files, arguments))

    # -- placement calls

    def party_call(self, placement: Party, function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> Handle:
        """`function` on its party; a handle of the result at once."""
        self.require_party(placement.name)
        name, full = short_name(function), function_name(function)
        shown = self._arguments(args, kwargs)
        handles = handles_in((args, kwargs))
        for handle in handles:
            self._require_here(handle, placement, name)
        call = calls.PartyCall(f"{full}({shown}) on {placement}", name, placement, function, args, dict(kwargs))
        call.facts = facts.of_arguments(args, kwargs)  # now: main may change what it gave
        return self._submit(call, placement, f"result of {name}()", handles)

    def secure_call(
        self, placement: Spu, function: Callable, static: Static, args: tuple, kwargs: Mapping[str, Any]
    ) -> Handle:
        """`function` on shares on its device; a handle of the result, once the function has been read where it is new:
        what it closes over may be another when the call runs."""
        self.require_device(placement.name)
        name, full = short_name(function), function_name(function)
        shown = self._arguments(args, kwargs)
        function, given, fixed = by_position(function, static, args, kwargs)
        given = tuple([a if i in fixed else snapshot(a) for i, a in enumerate(given)])
        handles = handles_in(given)
        for handle in handles:
            at = handle.placement
            if isinstance(at, Spu) and at != placement:
                raise UsageError(
                    f"{name}() runs on {placement}, but {handle!r} is on {at}; devices do not exchange values"
                )
        described, this = f"{full}({shown}) on {placement}", identity(function, given, fixed)
        call = calls.SecureCall(described, name, placement, function, fixed, given, this)
        handle = self._submit(call, placement, f"result of {name}()", handles)
        if (placement.name, this) not in self._read:
            self._wait(lambda: call.read or call.result.error is not None)
            if call.read:
                self._read[placement.name, this] = None
            if len(self._read) > REMEMBERED:
                self._read.popitem(last=False)
        return handle

    def move(self, handle: Handle, targets: Sequence[Placement | str]) -> Handle:
        """The handle's value at another placement."""
        target = self._target(targets)
        source = handle.placement
        self._own(handle)
        if target == source:
            return handle
        if isinstance(source, Spu) and isinstance(target, Spu):
            raise UsageError(f"{handle!r} is on {source}; devices do not exchange values")
        call = calls.Move(f"{self._shown(handle)}.to({target})", "to", target, handle)
        return self._submit(call, target, parts(handle)[0].origin, [handle])

    def report(self) -> Value:
        """Asks every process for its counters; the value's one leaf is a dict of them by name."""
        return parts(self._submit(calls.ReportCall("report of counters", "report"), public, "report"))[0]

    def inject(self, tree: Any, party: str, origin: str = "argument") -> Handle:
        """A value that `party` has (elsewhere `tree` is ignored): its leaves are shared as secrets without an owner."""
        call = calls.Inject(f"argument without an owner from {party}", origin, Party(party), tree)
        return self._submit(call, Party(party), origin)

    def _submit(self, call: calls.Call, placement: Placement, origin: str, handles: Sequence[Handle] = ()) -> Handle:
        self._enter()
        self._wait(lambda: self._ended >= self._number + 1 - OUTSTANDING)
        self._see(self._number + 1 - OUTSTANDING)
        for value, _ in map(parts, handles):
            if value.error is not None and value.number <= self._seen:
                raise value.error
        self._number += 1
        call.number, call.handles = self._number, list(handles)
        call.result = Value(call.number, placement, origin)
        self._enqueue(call)
        return Handle(self, call.result)

    def _enqueue(self, call: calls.Call) -> None:
        self._wait(lambda: self._outstanding < OUTSTANDING)
        with self.changed:
            self._outstanding += 1
        self.queue.put(call)

    # -- waiting

    def wait_known(self, value: Value) -> None:
        """Wait until structure and types of a value are known here."""
        if not value.known:
            self._enter()
            if owner_of(value.placement) is not None:  # any other is described by the call that makes it
                self._enqueue(calls.Resolve("metadata", "metadata", value))
            self._wait(lambda: value.known or value.error is not None)
        self._require_run(value)

    def wait_run(self, value: Value) -> None:
        """Wait until the call that gives a value has run here, or failed. Raises its error."""
        self._enter()
        self._wait(lambda: value.ran)
        self._require_run(value)

    def wait_leaves(self, value: Value) -> None:
        """Wait until a value that this process will hold in plaintext is here."""
        self._enter()
        self._wait(lambda: value.leaves is not None or value.error is not None)
        self._require_run(value)

    def public_value(self, handle: Handle) -> Any:
        """The data of a public value."""
        value, _ = parts(handle)
        if value.leaves is None:
            self.wait_leaves(value)
        self._require_run(value)
        return self.subtree(handle)

    def subtree(self, handle: Handle) -> Any:
        """The plaintext tree of a handle whose value is held here."""
        value, _ = parts(handle)
        assert value.leaves is not None
        return assemble(handle, value.leaves)

    def finish(self) -> None:
        """Tell all that nothing follows, and wait until everybody has said so."""
        if self._finished:
            return
        self._wait(lambda: self._outstanding == 0)
        self._see(self._number)
        self._submit(calls.EndCall("the end of main()", "end"), public, "end")
        self._wait(lambda: self._finished)

    def _wait(self, done: Callable[[], bool]) -> None:
        with self.changed:
            while not done():
                if self.failure is not None:
                    break
                self.changed.wait(TICK)
        self.check()

    def _require_run(self, value: Value) -> None:
        if threading.get_ident() == self.thread:
            self._see(value.number)
        if value.error is not None:
            raise value.error

    def _see(self, number: int) -> None:
        """Main knows from here on how the calls up to `number` have ended, and it is here that it does at every party:
        what it does next follows from that. Raises the first error among them that it has not been told."""
        self._seen = max(self._seen, number)
        with self.changed:
            due = min(self._skipped, default=self._seen + 1)
            error = self._skipped.pop(due) if due <= self._seen else None
        if error is not None:
            raise error

    # -- called by the engine

    def skip(self, call: calls.Call, error: MpcrtError, new: bool) -> None:
        """A call has failed before anything of it was shared; `new` unless only because an earlier one has."""
        with self.changed:
            if new:
                self._skipped[call.number] = error
            call.result.error = error
            self.changed.notify_all()

    def done(self, call: calls.Call) -> None:
        """A call has run."""
        with self.changed:
            self._outstanding -= 1
            if call.number:
                call.result.ran = True
                self._ended_early.add(call.number)
            while self._ended + 1 in self._ended_early:
                self._ended += 1
                self._ended_early.remove(self._ended)
            self._finished = self._finished or isinstance(call, calls.EndCall)
            self.changed.notify_all()

    def fail(self, failure: BaseException, function: str = "", number: int = 0) -> bool:
        """Poison the session. The first failure stays; whether this was it."""
        with self.changed:
            if isinstance(failure, PeerFailed):  # a peer ended with an error that this party has as well
                failure = self._skipped.get(failure.number, failure)
            first = self.failure is None and not self._finished
            if first:
                self.failure, self.failed_at = failure, (function, number)
            self.changed.notify_all()
        if first:
            self.queue.put(None)  # an engine that waits for a call goes
            self.on_failure(failure)
        return first

    def forked(self) -> None:
        """In a process forked from this one."""
        self.changed = threading.Condition()
        self.failure = UsageError(
            f"this process was forked from {self.me}'s and makes no placement calls; only the process that was "
            "started is a party"
        )

    def drop(self, device: str, wire: int) -> None:
        """A wire that nothing refers to any more; may be called from any thread."""
        self.dropped.append((device, wire))

    def tracing(self, placement: Spu) -> bool:
        """Whether this thread is tracing a secure function of that device."""
        if self._traced is None or self.busy_thread != threading.get_ident():
            return False
        if self._traced != placement.name:
            raise UsageError(f"a secure function on {self._traced} calls one on {placement}; a plan runs on one device")
        return True

    @contextmanager
    def reads(self, call: calls.SecureCall) -> Iterator[None]:
        """Within it the function of a call is traced, if it is not known; after it nothing more is read of it."""
        self._traced = call.placement.name
        try:
            yield
        finally:
            self._traced = None
        with self.changed:
            call.read = True
            self.changed.notify_all()

    # -- checks

    def check(self) -> None:
        """Raise the failure of the run, if there is one."""
        if self.failure is not None:
            raise self.failure

    @property
    def finished(self) -> bool:
        return self._finished

    @property
    def number(self) -> int:
        """The number of the last call."""
        return self._number

    def require_party(self, name: str) -> None:
        if name not in self.config.parties:
            raise UsageError(f"no party {name!r} in the cluster file; the parties are {', '.join(self.config.parties)}")
        if name in self.config.dealers:
            raise UsageError(
                f"{name} is a dealer in the cluster file: it has no program, so nothing can run or be sent there"
            )

    def require_device(self, name: str) -> None:
        if name not in self.config.devices:
            raise UsageError(
                f"no device {name!r} in the cluster file; the devices are {', '.join(self.config.devices)}"
            )

    def _enter(self) -> None:
        current_thread = threading.get_ident()
        if current_thread == self.busy_thread:
            raise UsageError("called inside a placement function; party functions work on plain values")
        if current_thread != self.thread:
            raise UsageError("called from another thread; only the thread that runs main() makes placement calls")
        self.check()
        if self._finished:
            raise UsageError("the run has ended")

    def _own(self, handle: Handle) -> None:
        if handle._session is not self:
            raise UsageError(f"{handle!r} belongs to another session")

    def _require_here(self, handle: Handle, placement: Party, name: str) -> None:
        at = handle.placement
        if at == placement or isinstance(at, Public) or (isinstance(at, Group) and placement.name in at.names):
            return
        raise UsageError(
            f"{name}() runs on {placement}, but {handle!r} is not there; move it first with .to({placement})"
        )

    def _target(self, targets: Sequence[Placement | str]) -> Placement:
        if not targets:
            raise UsageError(".to() names a party, several parties, a device or mpcrt.public")
        if len(targets) == 1 and isinstance(targets[0], Public):
            return public
        if len(targets) == 1 and isinstance(targets[0], Spu):
            self.require_device(targets[0].name)
            return targets[0]
        names: list[str] = []
        for target in targets:
            if isinstance(target, Group):
                names += target.names
            elif isinstance(target, Party | str):
                names.append(target if isinstance(target, str) else target.name)
            else:
                raise UsageError(f".to({', '.join(map(str, targets))}): several targets are parties")
        for name in names:
            self.require_party(name)
        unique = tuple(sorted(set(names), key=self.config.names.index))
        return Party(unique[0]) if len(unique) == 1 else Group(unique)

    # -- descriptions, the same at every party

    def _arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        shown = [self._shown(a) for a in args] + [f"{k}={self._shown(kwargs[k])}" for k in sorted(kwargs)]
        return ", ".join(shown)

    def _shown(self, argument: Any) -> str:
        if isinstance(argument, Handle):
            self._own(argument)
            value, path = parts(argument)
            return f"#{value.number}{''.join(f'[{key!r}]' for key in path)}"
        if isinstance(argument, dict):
            return "{" + ", ".join(f"{k}: {self._shown(argument[k])}" for k in sorted(argument, key=str)) + "}"
        if type(argument) is list or type(argument) is tuple:
            inside = ", ".join(self._shown(v) for v in argument)
            return f"[{inside}]" if type(argument) is list else f"({inside})"
        if (node := nodes.take_apart(argument)) is not None:
            name, keys, inside = node
            return (
                f"{nodes.short(name)}({', '.join(f'{k}={self._shown(v)}' for k, v in zip(keys, inside, strict=True))})"
            )
        shape, dtype = getattr(argument, "shape", None), getattr(argument, "dtype", None)
        if shape is not None and dtype is not None:
            return f"{dtype}[{','.join(map(str, shape))}]"
        return "None" if argument is None else type(argument).__name__


def exit_code(failure: BaseException) -> int:
    """The exit code of a process that ends with `failure`; a disagreement that a peer reports is this party's too."""
    if isinstance(failure, PeerFailed) and failure.code == DisagreementError.exit_code:
        return failure.code
    if isinstance(failure, KeyboardInterrupt):
        return 130
    return failure.exit_code if isinstance(failure, MpcrtError) else 1


def bind(session: Session | None) -> None:
    """Make this the session of the calling thread's context."""
    current.session.set(session)
