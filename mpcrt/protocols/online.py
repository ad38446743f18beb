"""A computing party: makes wires of inputs, runs schedules, reveals results.

It holds D of every wire and its own shares; what it opens carries a fresh mask of every party's, what it reveals a
sharing of zero. Openings: packed, one message a peer and level, up to 64 KiB; larger ones by themselves, at once:
all-to-all between two parties, reduce-scatter and all-gather among more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Held, Schedule, Step
from mpcrt.plan.types import Type
from mpcrt.protocols import inputs as masking
from mpcrt.protocols.context import WORD, OnlineContext, Positions, concatenated, stream_of
from mpcrt.protocols.corrections import DEALT, Reader
from mpcrt.protocols.execute import Execution, Observer
from mpcrt.protocols.keys import Keys
from mpcrt.protocols.openings import PACKED_WORDS, segments
from mpcrt.protocols.ops.linear import online_pending
from mpcrt.protocols.rules import Rule
from mpcrt.protocols.shares import Budget, Wire, Zero
from mpcrt.protocols.waiting import Work, to_the_end
from mpcrt.ring import kernels
from mpcrt.transport.link import Address, Kind, Link

OPEN = Kind.OPEN
NOTHING = np.zeros(0, np.uint64)


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
        self.number = party.parties.index(party.me)
        self.prg = party.keys.prg(party.dealer, digest)
        self.mine = (self.prg,)
        self.corrections = Reader(party.link, party.dealer, call)
        self.positions, self.observer = party.positions, party.observer
        self.progress = party.statistics
        self.sent = 0  # opening messages so far; the same at every party
        self.small: list[np.ndarray] = []  # the level's openings that share a message, of `filled` words
        self.large: list[OnlineContext] = []  # those that are summed up in segments
        self.filled = 0
        self.packed: Address | None = None  # of the small openings on their way, of `size` words
        self.size = 0
        self.packs: list[np.ndarray] = []  # what the others sent of them
        self.by_themselves = False  # whether the level opens something large

    context = OnlineContext

    def rule(self, rule: Rule, step: Step, held: Held) -> tuple:
        """A step's rule, what assembles its value, and whether its chunks fill one array."""
        return rule.online, rule.assemble_online, rule.assemble_online is None or step.exposing

    tick = None
    """Nothing to do between steps."""

    # -- openings

    def submit(self, ctx: OnlineContext) -> None:
        """A large opening leaves at once, while the next chunk is computed; small ones wait for the level's others."""
        mine, start = ctx.mine, self.filled
        size = mine.size
        if size <= PACKED_WORDS:
            ctx.start, self.filled = start, start + size
            self.small.append(mine)
            return
        ctx.start, ctx.number, self.by_themselves = -1, self.next_number(), True
        if len(self.peers) == 1:
            self.link.send(self.peers[0], self.address(ctx.number), mine)
            return
        ctx.number2 = self.next_number()
        self.large.append(ctx)
        for party, low, high in segments(size, self.parties):
            if party != self.me:
                self.link.send(party, self.address(ctx.number), mine[low:high])

    def put_aside(self) -> tuple:
        """The level's openings so far, which wait while a loop in it exchanges its own."""
        aside = self.small, self.filled, self.large
        self.small, self.filled, self.large = [], 0, []
        return aside

    def take_up(self, aside: tuple) -> None:
        self.small, self.filled, self.large = aside

    def next_number(self) -> int:
        self.sent += 1
        return self.sent

    def address(self, number: int) -> Address:
        return Address(OPEN, self.call, 0, number)

    def dispatch(self) -> None:
        """The level's small openings leave, in one message a peer."""
        if not self.small:
            return
        mine, self.size = concatenated(self.small), self.filled
        self.small, self.filled, self.sent = [], 0, self.sent + 1
        self.packed = Address(OPEN, self.call, 0, self.sent)
        if self.size:
            for peer in self.peers:
                self.link.send(peer, self.packed, mine)

    def awaited(self) -> list[tuple[str, Address]] | None:
        """What the level's exchange waits for; None where it opens something large, in parts."""
        if self.by_themselves:
            return None
        return [(peer, self.packed) for peer in self.peers] if self.packed is not None and self.size else []

    def exchange(self) -> None:
        """Ends a level: receives the others' small openings, scatters sums of the large."""
        self.progress.rounds += 1
        address, self.packed, self.by_themselves = self.packed, None, False
        if address is not None:
            self.packs = []
            for peer in self.peers:
                self.packs.append(self.received(peer, address, self.size) if self.size else NOTHING)
        for ctx in self.large:
            self.reduce(ctx)
        self.large = []

    def received(self, peer: str, address: Address, size: int) -> np.ndarray:
        arrays = self.link.recv(peer, address, limit=8 * size)
        if len(arrays) != 1 or arrays[0].dtype != WORD or arrays[0].shape != (size,):
            raise ProtocolError(f"{peer} sent an opening of another size than {size} words in {address}")
        return arrays[0]

    def reduce(self, ctx: OnlineContext) -> None:
        """My segment of a large opening: summed here, then sent to all."""
        low, high = next((lo, hi) for party, lo, hi in segments(ctx.mine.size, self.parties) if party == self.me)
        total = ctx.mine[low:high].copy()
        for peer in self.peers:
            add(total, self.received(peer, self.address(ctx.number), total.size), ctx.xor)
        ctx.total = total
        for peer in self.peers:
            self.link.send(peer, self.address(ctx.number2), total)

    def complete(self, ctx: OnlineContext) -> np.ndarray:
        """The opened words."""
        mine, ctx.mine = ctx.mine, None
        start, size, others = ctx.start, mine.size, self.packs
        if start < 0:
            if len(self.peers) > 1:
                return self.gathered(ctx, size)
            others = [self.received(peer, self.address(ctx.number), size) for peer in self.peers]
        elif size < self.size:
            others = [pack[start : start + size] for pack in others]
        combine = np.bitwise_xor if ctx.xor else np.add
        out = combine(mine, others[0], ctx.into)
        if len(others) > 1:
            for other in others[1:]:
                combine(out, other, out)
        return out

    def gathered(self, ctx: OnlineContext, size: int) -> np.ndarray:
        out = np.empty(size, np.uint64) if ctx.into is None else ctx.into
        for party, low, high in segments(size, self.parties):
            if party == self.me:
                out[low:high] = ctx.total
            else:
                out[low:high] = self.received(party, self.address(ctx.number2), high - low)
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
        """`running`, to its end."""
        return to_the_end(self.running(call, schedule, inputs))

    def running(self, call: int, schedule: Schedule, inputs: Sequence) -> Work[list]:
        """The schedule's outputs: wires and shares to pass on, arrays of public values.

        Inputs: wires of earlier calls; public values as uint64 or, for bits, uint8 arrays in their shapes.
        """
        if schedule.parties != len(self.parties):
            raise ProtocolError(f"a schedule for {schedule.parties} parties, {len(self.parties)} compute")
        run = OnlineRun(self, call, schedule.digest)
        execution = Execution(run, schedule, list(inputs), 0).go()
        while True:
            try:
                next(execution)
            except StopIteration as stop:
                run.corrections.end()
                return stop.value
            yield run.awaited

    def dealt(self, call: int) -> tuple[str, Address]:
        """The message that says that all corrections of a call have been dealt before its rounds."""
        return self.dealer, Address(Kind.DEAL, call, DEALT)

    def await_corrections(self, call: int) -> int:
        """Waits until all corrections of a call that is dealt before its rounds have arrived; how many messages."""
        words = self.link.recv_one(*self.dealt(call), limit=8)
        if words.size != 1 or words.dtype != WORD:
            raise ProtocolError(f"{self.dealer} sent a malformed end of corrections")
        return int(words[0])

    def drop_corrections(self, call: int) -> None:
        """Forgets what was dealt for a call that did not come; its masks are never used."""
        for number in range(self.await_corrections(call)):
            self.link.recv(self.dealer, Address(Kind.DEAL, call, 0, number), limit=8 << 20)

    def reveal(self, call: int, wire, type: Type, receivers: Sequence[str]) -> np.ndarray | None:
        """`revealing`, to its end."""
        return to_the_end(self.revealing(call, wire, type, receivers))

    def revealing(self, call: int, wire, type: Type, receivers: Sequence[str]) -> Work[np.ndarray | None]:
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
        others = [(party, Address(Kind.REVEAL, call)) for party in self.parties if party != self.me]
        yield lambda: others
        for party, address in others:
            arrays = self.link.recv(party, address, limit=total.nbytes)
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
