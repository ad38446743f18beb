"""A computing party: makes wires of inputs, runs schedules, reveals results.

It holds D of every wire and its own shares; what it opens carries a fresh mask of every party's, what it reveals a
sharing of zero. Openings: packed, one message a peer and level, up to 64 KiB; larger ones by themselves, at once:
all-to-all between two parties, reduce-scatter and all-gather among more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Schedule
from mpcrt.plan.types import Type
from mpcrt.protocols import inputs as masking
from mpcrt.protocols.context import OnlineContext, Positions, Request, concatenated, stream_of
from mpcrt.protocols.corrections import DEALT, Reader
from mpcrt.protocols.execute import Execution, Job, Observer
from mpcrt.protocols.keys import Keys
from mpcrt.protocols.openings import PACKED, segments
from mpcrt.protocols.ops.linear import online_pending
from mpcrt.protocols.rules import Rule
from mpcrt.protocols.shares import Budget, Wire, Zero
from mpcrt.ring import kernels
from mpcrt.transport.link import Address, Kind, Link


@dataclass(slots=True)
class Progress:
    """`rounds`: levels with openings so far, over all calls."""

    rounds: int = 0


class OnlineRun:
    """One call of one schedule: where its openings and corrections stand."""

    zeros = True

    def __init__(self, party: "Online", call: int, digest: str) -> None:
        self.link, self.me, self.parties, self.call = party.link, party.me, party.parties, call
        self.lead = party.me == party.parties[0]
        self.peers = tuple(p for p in party.parties if p != party.me)
        self.prg = party.keys.prg(party.dealer, digest)
        self.corrections = Reader(party.link, party.dealer, call)
        self.positions, self.observer = party.positions, party.observer
        self.progress = party.statistics
        self.sent = 0  # opening messages so far; the same at every party
        self.packed = 0, 0  # the number and size of the small openings on their way
        self.packs: list[np.ndarray] = []

    context = OnlineContext

    def function(self, rule: Rule):
        return rule.online

    def receiver(self, chunk: int) -> str:
        """The party that gets the corrections of a chunk."""
        return self.parties[(chunk + 1) % len(self.parties)]

    def provide_out(self, job: Job, ctx) -> None:
        """An array for the step's result, filled chunk by chunk."""
        if job.rule.assemble_online is not None and not job.step.rule.startswith("expose"):
            return
        bit = ctx.result.bit
        if job.out is None:
            size = job.step.size
            job.out = np.empty(-(-size // 64) if bit else size, np.uint64)
        low = ctx.low >> 6 if bit else ctx.low
        ctx.out = job.out[low : low + (ctx.words if bit else ctx.n)]

    def assemble(self, job: Job):
        value = job.pieces
        if job.out is not None:
            value = job.out if job.ctx.result.bit else job.out.reshape(job.ctx.result.type.shape)
        if job.rule.assemble_online is not None:
            value = job.rule.assemble_online(job.ctx, value, *job.operands)
        return value

    tick = None
    """Nothing to do between steps."""

    # -- openings

    def submit(self, request: Request) -> None:
        """A large opening leaves at once, while the next chunk is computed."""
        if request.mine.nbytes <= PACKED:
            return
        request.number = self.number()
        if len(self.peers) == 1:
            self.link.send(self.peers[0], self.address(request.number), request.mine)
            return
        request.number2 = self.number()
        for party, low, high in segments(request.mine.size, self.parties):
            if party != self.me:
                self.link.send(party, self.address(request.number), request.mine[low:high])

    def number(self) -> int:
        self.sent += 1
        return self.sent

    def address(self, number: int) -> Address:
        return Address(Kind.OPEN, self.call, 0, number)

    def dispatch(self, requests: Sequence[Request]) -> None:
        """Packs a level's small openings into one message a peer, which leaves."""
        small = [r for r in requests if r.number < 0]
        if not small:
            return
        start = 0
        for r in small:
            r.start, start = start, start + r.mine.size
        mine = concatenated([r.mine for r in small])
        self.packed = self.number(), mine.size
        if mine.size:
            for peer in self.peers:
                self.link.send(peer, self.address(self.packed[0]), mine)

    def exchange(self, requests: Sequence[Request]) -> None:
        """Ends a level: receives the others' small openings, scatters sums of the large."""
        self.progress.rounds += 1
        (number, size), self.packed = self.packed, (0, 0)
        if number:
            self.packs = [self.received(peer, self.address(number), size) for peer in self.peers if size]
        if len(self.peers) > 1:
            for r in requests:
                if r.number >= 0:
                    self.reduce(r)

    def received(self, peer: str, address: Address, size: int) -> np.ndarray:
        arrays = self.link.recv(peer, address, limit=8 * size)
        if len(arrays) != 1 or arrays[0].dtype != np.uint64 or arrays[0].shape != (size,):
            raise ProtocolError(f"{peer} sent an opening of another size than {size} words in {address}")
        return arrays[0]

    def reduce(self, request: Request) -> None:
        """My segment of a large opening: summed here, then sent to all."""
        low, high = next((lo, hi) for party, lo, hi in segments(request.mine.size, self.parties) if party == self.me)
        total = request.mine[low:high].copy()
        for peer in self.peers:
            add(total, self.received(peer, self.address(request.number), total.size), request.xor)
        request.total = total
        for peer in self.peers:
            self.link.send(peer, self.address(request.number2), total)

    def complete(self, request: Request) -> np.ndarray:
        """The opened words."""
        mine, out = request.mine, request.out
        if request.number >= 0 and len(self.peers) > 1:
            return self.gathered(request)
        if out is None:
            out = np.empty(mine.size, np.uint64)
        if request.number >= 0:
            others = [self.received(peer, self.address(request.number), mine.size) for peer in self.peers]
        else:
            others = [p[request.start : request.start + mine.size] for p in self.packs]
        if not others:
            out[:] = mine
            return out
        (np.bitwise_xor if request.xor else np.add)(mine, others[0], out=out)
        for other in others[1:]:
            add(out, other, request.xor)
        return out

    def gathered(self, request: Request) -> np.ndarray:
        out = np.empty(request.mine.size, np.uint64) if request.out is None else request.out
        for party, low, high in segments(out.size, self.parties):
            if party == self.me:
                out[low:high] = request.total
            else:
                out[low:high] = self.received(party, self.address(request.number2), high - low)
        return out


def add(out: np.ndarray, other: np.ndarray, xor: bool) -> None:
    (np.bitwise_xor if xor else np.add)(out, other, out=out)


class Online:
    """A computing party of a session. Calls are numbered by the runtime; a number is used once."""

    def __init__(
        self, link: Link, me: str, parties: Sequence[str], dealer: str, keys: Keys, debug: bool = False
    ) -> None:
        self.link, self.me, self.parties, self.dealer, self.keys = link, me, tuple(parties), dealer, keys
        self.statistics = Progress()
        self.positions = Positions() if debug else None
        self.budget = Budget(masking.KEPT_BYTES)
        self.observer: Observer | None = None
        kernels.keep_memory()

    def share(self, call: int, type: Type, owner: str, value: np.ndarray | None = None):
        """A wire of `value` (uint64 ring elements, or uint8 bits), given at its owner only: 1 message D to each party.

        A value of `private(owner)` visibility at a computing owner is masked by the owner's share alone; any other
        by fresh seeds, one a party, that the owner draws and the dealer is told.
        """
        words = masking.word_count(type)
        if owner in self.parties and type.owner == owner:
            if owner != self.me:
                (opened,) = masking.receive(self.link, owner, call, [words])
                return Wire(masking.shaped(opened, type), Zero(words))
            mask = masking.drawn([self.keys.prg(self.dealer, "input")], call, type)
            if self.positions is not None:
                self.positions.claim(mask.prgs[0], mask.stream, 0, words)
            opened = masking.masked(value, type, mask)
            for party in self.parties:
                if party != self.me:
                    self.link.send(party, Address(Kind.INPUT, call), opened)
            plain = None if type.kind == "bit" else np.ascontiguousarray(value)
            return Wire(masking.shaped(opened, type), masking.kept(mask, self.budget), plain)
        if owner == self.me:
            opened, seed = masking.provide(self.link, call, type, value, self.parties, self.dealer, self.me)
        else:
            seed, opened = masking.receive(self.link, owner, call, [masking.SEED_WORDS, words])
        mask = masking.drawn([masking.prg_of(seed)], call, type)
        return Wire(masking.shaped(opened, type), masking.kept(mask, self.budget))

    def run(self, call: int, schedule: Schedule, inputs: Sequence) -> list:
        """The schedule's outputs: wires and shares to pass on, arrays of public values.

        Inputs: wires of earlier calls; public values as uint64 or, for bits, uint8 arrays in their shapes.
        """
        if schedule.parties != len(self.parties):
            raise ProtocolError(f"a schedule for {schedule.parties} parties, {len(self.parties)} compute")
        run = OnlineRun(self, call, schedule.digest)
        outputs = Execution(run, schedule, list(inputs), 0).go()
        run.corrections.end()
        return outputs

    def await_corrections(self, call: int) -> None:
        """Waits until all corrections of a call that is dealt offline have arrived."""
        self.link.recv(self.dealer, Address(Kind.DEAL, call, DEALT), limit=8)

    def reveal(self, call: int, wire, type: Type, receivers: Sequence[str]) -> np.ndarray | None:
        """The value (uint64 words or uint8 bits, in its shape) if me in `receivers`, else None.

        Each party sends its share plus its part of a fresh sharing of zero, so that a receiver learns the value alone.
        """
        bit = type.kind == "bit"
        share = self._share_of(wire, type)
        total = share.copy()
        me = self.parties.index(self.me)
        stream = stream_of(call, 0, 0)
        for i, party in enumerate(self.parties):
            if i != me:
                prg = self.keys.prg(party, "reveal")
                apply = prg.xor if bit else prg.add if i > me else prg.subtract
                apply(stream, total, 0)
        if bit:
            masking.clear_padding(total, type.size)
        for receiver in receivers:
            if receiver != self.me:
                self.link.send(receiver, Address(Kind.REVEAL, call), total)
        if self.me not in receivers:
            return None
        total = total.copy()
        for party in self.parties:
            if party != self.me:
                arrays = self.link.recv(party, Address(Kind.REVEAL, call), limit=total.nbytes)
                add(total, masking.checked(arrays, [total.size], party)[0], bit)
        return kernels.unpack(total, type.size).reshape(type.shape) if bit else total.reshape(type.shape)

    def _share_of(self, wire, type: Type) -> np.ndarray:
        if isinstance(wire, Wire):
            held = masking.held_masked(type)
            part = online_pending(self.me == self.parties[0], held, False, wire)
            if part is None:
                return np.zeros(masking.word_count(type), np.uint64)
            return part.reshape(-1)
        return np.ascontiguousarray(wire).reshape(-1)
