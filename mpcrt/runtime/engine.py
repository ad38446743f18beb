"""The engine thread of a party that has the program: runs calls in order, agrees with the others, moves data.

Nothing of a call leaves this process before every party with the program has announced the same calls up to it, except
the announcement itself and the metadata of what this party's own functions gave.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mpcrt.errors import DisagreementError, InputError, MpcrtError, PeerFailed, PeerLost, ProtocolError, UsageError, UserFunctionError
from mpcrt.plan.types import PUBLIC, SECRET, private
from mpcrt.runtime import calls, commands, current, inputs, trees
from mpcrt.runtime.agreement import Extras, Ledger
from mpcrt.runtime.commands import Command, Publish, Reveal, Run, Share
from mpcrt.runtime.compile import Cache, Compiled, Source, positional
from mpcrt.runtime.counters import Counters
from mpcrt.runtime.executor import Devices
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.placements import Public, Spu, holders
from mpcrt.runtime.session import Session, exit_code, handles_in
from mpcrt.runtime.values import Handle, Value, Wire, owner_of, parts, structure_of
from mpcrt.transport.link import Address, Failure, Kind, Link

log = logging.getLogger("mpcrt.run")

META_LIMIT = 1 << 26
VALUE_LIMIT = 1 << 36
QUIET_CALLS = 64
"""After so many calls without an agreement there is one, so that what the others sent does not pile up."""

DISAGREEMENT_SECONDS = 1.0
"""How long the others have to find a disagreement, and to say it in their own words, before they are told."""

Words = Callable[[], np.ndarray]


class Engine:
    """Runs a session's calls. `start` gives the link and roster; it is called on the engine thread. `around` runs the
    thread's whole work, such as under a profile."""

    def __init__(
        self,
        session: Session,
        start: Callable[[], tuple[Link, Roster]],
        around: Callable[[Callable[[], Any]], Any] = lambda work: work(),
    ) -> None:
        self.session, self._start, self._around = session, start, around
        self.link: Link | None = None
        self._steps = self._wires = self._agreed = 0
        self._compiled: dict[str, Cache] = {}
        self._shipped: set[str] = set()
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
            self._around(self._calls)
        except BaseException as error:
            self._failed(error)

    def _calls(self) -> None:
        while (call := self.session.queue.get()) is not None:
            self._call = call
            self._run(call)
            self.session.done(call)
            if isinstance(call, calls.EndCall):
                break

    def _open(self) -> None:
        self.link, self.roster = self._start()
        self.devices = Devices(self.session.config, self.link, self.roster)
        self.counters = Counters(self.link, self.devices, self.session.config)
        self.session.counters = self.counters.totals
        self.ledger = Ledger(self.link, self.roster.programs, self.roster.nonce)
        self.counters.others = self.ledger.counters
        self._others = tuple(p for p in self.roster.programs if p != self.session.me)
        for name, device in self.session.config.devices.items():
            self._compiled[name] = Cache(device.fraction_bits, tuple(device.parties))

    def _failed(self, error: BaseException) -> None:
        if self.session.failure is not None:
            return  # the link was closed under this thread
        call = self._call
        name, number = (call.name, call.number) if call is not None else ("", 0)
        if not isinstance(error, MpcrtError):
            log.error("internal error in call %d", number, exc_info=error)
            error = MpcrtError(f"internal error in call {number} ({name}): {type(error).__name__}; see the traceback above")
        self.tell(error, name, number)  # before main learns of it and closes the link
        self.session.fail(error, name, number)

    def tell(self, error: BaseException, name: str, number: int) -> None:
        """ABORT to every peer, unless one of them said it first."""
        if isinstance(error, DisagreementError):
            time.sleep(DISAGREEMENT_SECONDS)
        if self.link is not None and not isinstance(error, PeerFailed):
            culprit = error.peer if isinstance(error, PeerLost) and error.peer else self.session.me
            self.link.abort(Failure(culprit, name, number, exit_code(error)))

    def _run(self, call: calls.Call) -> None:
        match call:
            case calls.Resolve():
                self._resolve(call.value)
            case calls.PartyCall():
                self._party(call)
            case calls.Inject():
                self._inject(call)
            case calls.SecureCall():
                self._secure(call)
            case calls.Move():
                self._move(call)
            case calls.ReportCall():
                self._report(call)
            case calls.EndCall():
                self._end(call)

    # -- agreement

    def _announce(self, call: calls.Call, asked: Sequence[Command] = (), plans: Sequence[bytes] = ()) -> None:
        dropped = []
        while self.session.dropped:
            dropped.append(self.session.dropped.popleft())
        extras = Extras(self.counters.mine(), dropped)
        self.ledger.announce(call.number, call.description, list(asked), extras, list(plans))
        self.devices.release(dropped)

    def _agree(self, call: calls.Call) -> None:
        self.ledger.agree(call.number)
        self._agreed = call.number
        for value in [v for n, v in self._pending.items() if n < call.number]:
            self._resolve(value)

    def _resolve(self, value: Value) -> None:
        """Metadata of a value that another party's function gives."""
        if value.known:
            return
        owner = owner_of(value.placement)
        assert owner is not None
        self.ledger.agree(value.number, [owner])
        (data,) = self._link.recv(owner, Address(Kind.META, value.number), limit=META_LIMIT)
        structure, types = trees.decode(bytes(data))
        self._pending.pop(value.number, None)
        value.describe(structure, types)
        log.debug("%s is %s", value.origin, trees.describe(structure, types))

    @property
    def _link(self) -> Link:
        assert self.link is not None
        return self.link

    # -- party functions

    def _party(self, call: calls.PartyCall) -> None:
        self._announce(call)
        party = call.placement.name
        if party not in self.roster.programs:
            raise UsageError(f"{party} was started without the program, so {call.name}() cannot run there")
        if party != self.session.me:
            self._pending[call.number] = call.result
        else:
            self._run_here(call)
        if call.number - self._agreed >= QUIET_CALLS:
            self._agree(call)

    def _run_here(self, call: calls.PartyCall) -> None:
        args, kwargs = self._plain(call.args), self._plain(call.kwargs)
        start = time.perf_counter()
        log.info("runs %s() in plaintext", call.name)
        try:
            result = call.function(*args, **kwargs)
        except Exception as error:
            log.error("%s() failed (call %d)", call.name, call.number, exc_info=below(error))
            if isinstance(error, MpcrtError):
                raise
            raise UserFunctionError(
                f"{call.name}() failed in call {call.number}: {type(error).__name__}; the traceback is in this log"
            ) from error
        structure, leaves = flatten_result(result, call.name)
        self._set_plain(call.result, structure, leaves)
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

    def _set_plain(self, value: Value, structure: trees.Structure, leaves: list[Any]) -> None:
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
            self._link.send(peer, Address(Kind.META, value.number), data)

    def _inject(self, call: calls.Inject) -> None:
        self._announce(call)
        call.result.ownerless = True
        if call.placement.name != self.session.me:
            self._pending[call.number] = call.result
            return
        structure, leaves = flatten_result(call.tree, call.name)
        self._set_plain(call.result, structure, leaves)
        self._send_meta(call.result, self._others)

    # -- secure functions

    def _secure(self, call: calls.SecureCall) -> None:
        device = call.placement.name
        for handle in handles_in((call.args, call.kwargs)):
            self._resolve(parts(handle)[0])
        started = time.monotonic()
        self.session.set_tracing(device)
        try:
            args = positional(call.function, call.args, call.kwargs)
            compiled, sources, new = self._compiled[device].get(call.function, args, call.static)
        finally:
            self.session.set_tracing(None)
        if new:
            self._tell_compiled(call, compiled)
        plain = inputs.Plaintext(compiled, sources)
        asked: list[tuple[Command, Words | None]] = []
        wires = [self._input(device, compiled, sources, i, plain, asked) for i in range(len(compiled.traced.inputs))]
        types = compiled.traced.plan.output_types
        made = [self._new_wire(device) for _ in types]
        run = Run(device, self._step(), compiled.fingerprint, tuple(w.number for w in wires), tuple(w.number for w in made))
        self._announce_plan(call, compiled, [*(c for c, _ in asked), run])
        if asked or new:
            self._agree(call)
            self._execute(asked)
            started = time.monotonic()
        try:
            self.devices.run(run, compiled.schedule, started)
        except ProtocolError:
            self._agree(call)
            raise
        self._agree(call)
        forms = [(PUBLIC if w == "public" else SECRET, w) for w in compiled.schedule.output_wires]
        with self.session.changed:
            value = call.result
            value.wires, value.forms, value.rebuild = made, forms, compiled.rebuild
            value.plan_types, value.trace_seconds = list(types), compiled.seconds
            value.describe(compiled.structure, compiled.types)
            self.session.changed.notify_all()

    def _tell_compiled(self, call: calls.SecureCall, compiled: Compiled) -> None:
        for warning in compiled.traced.warnings:
            log.warning("%s: %s", call.name, warning)
        plan, scheduled = compiled.traced.plan, compiled.schedule
        log.info(
            "%s() is a plan of %d ops in %d rounds (%s), traced in %.2f s", call.name, len(plan.nodes),
            scheduled.rounds, plan.fingerprint[:8], compiled.seconds,
        )  # fmt: skip

    def _announce_plan(self, call: calls.SecureCall, compiled: Compiled, asked: list[Command]) -> None:
        """The plan itself goes, once, from one party, to those without a program; the others compare fingerprints."""
        plans = []
        if compiled.fingerprint not in self._shipped:
            self._shipped.add(compiled.fingerprint)
            self.ledger.plans[call.number] = compiled.traced.plan
            if self.roster.leader == self.session.me:
                plans.append(compiled.traced.plan.encoded)
        self._announce(call, asked, plans)

    def _input(
        self, device: str, compiled: Compiled, sources: list[Source], index: int, plain: inputs.Plaintext,
        asked: list[tuple[Command, Words | None]],
    ) -> Wire:  # fmt: skip
        """The wire of one plan input: on the device already, or to be shared or published by this call."""
        type_ = compiled.traced.plan.input_types[index]
        wire = device_wire(compiled, sources, index)
        if wire is not None:
            return wire
        kept, key = inputs.memo(compiled, sources, index, type_)
        if key in kept:
            return kept[key]
        party, name = inputs.provider(compiled, sources, index)
        party = party or self._publisher(device)
        words = (lambda: plain.words(index, type_)) if party == self.session.me else None
        kept[key] = self._ask(device, party, type_, name, words, asked)
        return kept[key]

    def _ask(
        self, device: str, party: str, type_: Any, name: str, words: Words | None,
        asked: list[tuple[Command, Words | None]],
    ) -> Wire:  # fmt: skip
        wire = self._new_wire(device)
        kind = Publish if type_.public else Share
        asked.append((kind(device, self._step(), wire.number, party, type_), words))
        shown = f"{'x'.join(map(str, type_.shape)) or 'scalar'} {'bits' if type_.kind == 'bit' else 'values'}"
        if words is not None:
            how = "publishes" if type_.public else "shares, masked,"
            log.info("%s %s (%s) of %s with %s", how, shown, trees.size(8 * type_.size), name, device)
        else:
            log.debug("%s provides %s of %s to %s", party, shown, name, device)
        return wire

    def _publisher(self, device: str) -> str:
        """Who computes and sends public values: the first computing party that has the program, else the leader."""
        computing = self.session.config.devices[device].parties
        return next((p for p in computing if p in self.roster.programs), self.roster.leader)

    def _execute(self, asked: Sequence[tuple[Command, Words | None]]) -> None:
        for command, words in asked:
            array = words() if words is not None else None
            if isinstance(command, Publish):
                self.devices.publish(command, array)
            else:
                assert isinstance(command, Share)
                self.devices.share(command, array)

    def _step(self) -> int:
        self._steps += 1
        return self._steps

    def _new_wire(self, device: str) -> Wire:
        self._wires += 1
        return Wire(device, self._wires, self.session.drop)

    # -- moves

    def _move(self, call: calls.Move) -> None:
        source, _ = parts(call.handle)
        self._resolve(source)
        structure = structure_of(call.handle)
        assert source.types is not None
        chosen = list(trees.leaf_numbers(structure))
        for i in chosen:
            if source.types[i].dtype == trees.OPAQUE:
                raise UsageError(f"{inputs.name_of(Source(source, i))} is no array; only numbers and arrays can move")
        types = tuple(source.types[i] for i in chosen)
        whole = structure is source.structure
        result = call.result
        result.rebuild = source.rebuild if whole else None
        if isinstance(call.target, Spu):
            self._to_device(call, source, chosen)
        elif isinstance(source.placement, Spu):
            self._reveal(call, source, chosen)
        else:
            self._send_plain(call, source, chosen)
        with self.session.changed:
            result.describe(renumber(structure), types)
            self.session.changed.notify_all()

    def _to_device(self, call: calls.Move, source: Value, chosen: list[int]) -> None:
        """Shares leaves as they are; a public value stays what it is until a function uses it."""
        assert isinstance(call.target, Spu) and source.types is not None
        device = call.target.name
        asked: list[tuple[Command, Words | None]] = []
        made: list[Wire] = []
        kinds = []
        party = owner_of(source.placement) or self._publisher(device)
        visibility = PUBLIC if isinstance(source.placement, Public) else SECRET if source.ownerless else private(party)
        for i in chosen:
            leaf = trees.LeafType(source.types[i].shape, source.types[i].dtype)
            type_ = inputs.raw_type(leaf, self.session.config.devices[device].fraction_bits, visibility)
            key = inputs.raw_key(i, type_, source)
            if key not in source.shared:
                words = raw_words(source, i, type_) if party == self.session.me else None
                source.shared[key] = self._ask(device, party, type_, inputs.name_of(Source(source, i)), words, asked)
            made.append(source.shared[key])
            kinds.append(type_)
        self._announce(call, [c for c, _ in asked])
        self._agree(call)
        self._execute(asked)
        form = "public" if visibility == PUBLIC else "masked"
        call.result.wires, call.result.plan_types = made, kinds
        call.result.forms = [(visibility, form) for _ in made]
        if source.leaves is not None:
            call.result.leaves = [source.leaves[i] for i in chosen]

    def _reveal(self, call: calls.Move, source: Value, chosen: list[int]) -> None:
        assert source.wires is not None and source.types is not None and source.forms is not None
        everyone = self.roster.programs
        receivers = holders(call.target, everyone)
        self._need_program(receivers)
        asked = [
            Reveal(
                source.wires[i].device, self._step(), source.wires[i].number, source.plan_types[i],
                source.forms[i][1], receivers,
            )
            for i in chosen
        ]  # fmt: skip
        self._announce(call, asked)
        self._agree(call)
        shown = trees.describe(renumber(structure_of(call.handle)), tuple(source.types[i] for i in chosen))
        found = [self.devices.reveal(command) for command in asked]
        if self.session.me in receivers:
            log.info("learns %s: %s", source.origin, shown)
            leaves = []
            for i, command, words in zip(chosen, asked, found, strict=True):
                assert words is not None
                leaves.append(inputs.decode(words, command.type, source.types[i]))
            call.result.leaves = leaves
        else:
            log.info("%s is revealed to %s, not to this party", source.origin, " and ".join(receivers))

    def _send_plain(self, call: calls.Move, source: Value, chosen: list[int]) -> None:
        """A plaintext value from its holder to those named; whoever has it already keeps it."""
        assert source.types is not None
        self._announce(call)
        self._agree(call)
        receivers = holders(call.target, self.roster.programs)
        self._need_program(receivers)
        before = holders(source.placement, self.roster.programs)
        lacking = [r for r in receivers if r not in before]
        if self.session.me in before:
            assert source.leaves is not None
            leaves = [source.leaves[i] for i in chosen]
            if self.session.me == before[0]:
                for peer in lacking:
                    log.info("sends %s to %s in the clear, as .to() asks", source.origin, peer)
                    buffers = [wire_bytes(leaf) for leaf in leaves]
                    self._link.send(peer, Address(Kind.RESULT, call.number), *buffers)
            if self.session.me in receivers:
                call.result.leaves = leaves
        elif self.session.me in receivers:
            limit = sum(source.types[i].bytes for i in chosen)
            received = self._link.recv(before[0], Address(Kind.RESULT, call.number), limit=min(limit, VALUE_LIMIT))
            if len(received) != len(chosen):
                raise ProtocolError(f"{before[0]} sent {len(received)} arrays for {len(chosen)}")
            call.result.leaves = [
                from_bytes(data, source.types[i], before[0]) for data, i in zip(received, chosen, strict=True)
            ]
            log.info("learns %s from %s", source.origin, before[0])

    def _need_program(self, receivers: Sequence[str]) -> None:
        for name in receivers:
            if name not in self.roster.programs:
                raise UsageError(f"{name} was started without the program, so nothing can be sent there")

    # -- counters and the end

    def _report(self, call: calls.ReportCall) -> None:
        command = commands.Report(self._step())
        self._announce(call, [command])
        self._agree(call)
        reports = self.counters.exchange(command.step, self._link.peers, self.roster.programs)
        with self.session.changed:
            call.result.leaves = [reports]
            call.result.describe(0, (trees.LeafType((), trees.OPAQUE),))
            self.session.changed.notify_all()

    def _end(self, call: calls.EndCall) -> None:
        """Everybody says that nothing follows; the run is over when all have."""
        self._announce(call, [commands.End()])
        self._agree(call)
        for peer in self._link.peers:
            if peer not in self.roster.programs:
                self._link.recv(peer, Address(Kind.STEP, call.number), limit=1024)


def device_wire(compiled: Compiled, sources: Sequence[Source], index: int) -> Wire | None:
    """The wire of plan input `index` where it is a leaf that is on the device already."""
    from mpcrt.tracing import Leaf

    origin = compiled.traced.inputs[index]
    if not isinstance(origin, Leaf):
        return None
    source = sources[origin.index]
    if source.value is None or source.value.wires is None:
        return None
    return source.value.wires[source.index]


def raw_words(value: Value, index: int, type_: Any) -> Words:
    source = Source(value, index)
    return lambda: inputs.encode(inputs.concrete(source), type_, inputs.name_of(source))


def renumber(structure: trees.Structure) -> trees.Structure:
    """A part of a structure with its leaves numbered from 0."""
    return _shift(structure, min(trees.leaf_numbers(structure), default=0))


def _shift(structure: trees.Structure, by: int) -> trees.Structure:
    if structure is None:
        return None
    if isinstance(structure, int):
        return structure - by
    head = 2 if structure[0] == "d" else 1
    return [*structure[:head], *(_shift(part, by) for part in structure[head:])]


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


def below(error: Exception) -> Exception:
    """The error with the user's part of its traceback: it starts below the engine's frame."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)
