"""The dealer: executes the same schedules on masks alone, and sends each party its corrections.

It receives nothing but seeds of provided inputs and control messages: no D, no opened bit, no count that depends on
data.
"""

from collections.abc import Sequence

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Held, Schedule, Step
from mpcrt.plan.types import Type
from mpcrt.protocols import inputs as masking
from mpcrt.protocols.context import DealerContext, Positions
from mpcrt.protocols.corrections import Writer
from mpcrt.protocols.execute import Execution, Observer
from mpcrt.protocols.keys import Keys
from mpcrt.protocols.rules import Rule
from mpcrt.protocols.shares import Budget, Wire
from mpcrt.protocols.waiting import to_the_end
from mpcrt.ring import kernels
from mpcrt.transport.link import Link


class DealerRun:
    """One call of one schedule."""

    zeros, lead = False, True
    context = DealerContext

    def __init__(self, dealer: "Dealer", call: int, digest: str, offline: bool) -> None:
        self.me, self.parties, self.call = dealer.me, dealer.parties, call
        self.prgs = tuple(dealer.keys.prg(p, digest) for p in dealer.parties)
        self.others = tuple(self.prgs[:i] + self.prgs[i + 1 :] for i in range(len(self.prgs)))  # all but party i's
        self.corrections = Writer(dealer.link, dealer.parties, call, offline)
        self.tick, self.dispatch = self.corrections.tick, self.corrections.begin
        self.positions, self.observer = dealer.positions, dealer.observer

    def rule(self, rule: Rule, step: Step, held: Held) -> tuple:
        """A step's rule, what assembles its value, and whether its chunks fill one array: the masks of an exposure that
        absorbs a deferred term."""
        fills = step.exposing and held.rep == "opened" and not held.bit
        return rule.dealer, rule.assemble_dealer, fills

    def submit(self, ctx: DealerContext) -> None:
        pass

    def exchange(self) -> None:
        pass

    def put_aside(self) -> tuple:
        return ()

    def take_up(self, aside: tuple) -> None:
        pass

    def complete(self, ctx: DealerContext) -> None:
        return None


class Dealer:
    """The dealer of a session."""

    def __init__(self, link: Link, me: str, parties: Sequence[str], keys: Keys, debug: bool = False) -> None:
        self.link, self.me, self.parties, self.keys = link, me, tuple(parties), keys
        self.positions = Positions() if debug else None
        self.budget = Budget(masking.KEPT_BYTES)
        self.observer: Observer | None = None
        kernels.keep_memory()

    def share(self, call: int, type: Type, owner: str) -> Wire:
        """The mask of an input, by its position; a provider's seeds are received here."""
        if owner in self.parties and type.owner == owner:
            mask = masking.drawn([self.keys.prg(owner, "input")], call, type, of=[self.parties.index(owner)])
            return Wire(None, masking.kept(mask, self.budget))
        n = masking.SEED_WORDS
        (seeds,) = masking.receive(self.link, owner, call, [n * len(self.parties)])
        prgs = [masking.prg_of(seeds[n * i : n * (i + 1)]) for i in range(len(self.parties))]
        return Wire(None, masking.kept(masking.drawn(prgs, call, type), self.budget))

    def run(self, call: int, schedule: Schedule, inputs: Sequence, offline: bool = False) -> list:
        """The masks of the schedule's outputs (None for plain shares), public ones as arrays; sends all corrections.

        `offline`: without backpressure, and then tells the parties, who wait for it (`Online.await_corrections`).
        """
        if schedule.parties != len(self.parties):
            raise ProtocolError(f"a schedule for {schedule.parties} parties, {len(self.parties)} compute")
        run = DealerRun(self, call, schedule.digest, offline)
        outputs = to_the_end(Execution(run, schedule, list(inputs), 0).go())
        run.corrections.close()
        return outputs
