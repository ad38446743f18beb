"""What a rule sees: its chunk, its PRG positions, openings and correlations. One context a chunk of a step.

Every random word has the position (call, loop path, step, role, offset), its offset a function of the element index;
a role names one vector of a step. `per` is the number of words for 64 elements (64: a ring element each; 1: a bit
each).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Held, Step
from mpcrt.protocols.shares import Drawn, Known, Narrow, Share
from mpcrt.ring import kernels, prg
from mpcrt.ring.sources import Drawing, Source

WORD = np.dtype(np.uint64)


class Positions:
    """Debugging: refuses a position that is used as a mask or share twice."""

    def __init__(self) -> None:
        self.used: dict[tuple, list[tuple[int, int]]] = {}

    def claim(self, generator: object, stream: int, low: int, high: int) -> None:
        ranges = self.used.setdefault((id(generator), stream), [])
        if any(a < high and low < b for a, b in ranges):
            raise ProtocolError(f"words {low} to {high} of stream {stream:#x} would mask two values")
        if high > low:
            ranges.append((low, high))


class Context:
    """Common to the online and the dealer's context of a chunk: elements low .. low + n - 1 of the step.

    `receiver`: the number of the party that gets its corrections. `out`: where the chunk's part of the result goes, if
    there are more chunks. `lead`: whether this reader adds public terms. `facts`: what the step's rules worked out of
    it. The driver keeps `given`, what a value is assembled of beside a step's one chunk, or the `job` of several; and
    the `generator` where the rule is one.
    """

    __slots__ = (
        "attrs", "facts", "generator", "given", "index", "job", "lead", "low", "n", "operands", "out", "receiver",
        "result", "run", "stage", "step", "stream",
    )  # fmt: skip

    def __init__(self, run, stage, stream: int, chunk: tuple[int, int, int, int], given: tuple = ()) -> None:
        self.run, self.stage, self.stream, self.given = run, stage, stream, given
        self.lead: bool = run.lead
        self.index, self.low, self.n, self.receiver = chunk
        self.step: Step = stage.step
        self.attrs: dict = stage.attrs
        self.facts: Any = stage.facts
        self.operands: tuple[Held, ...] = stage.kinds
        self.result: Held = stage.held
        self.out: np.ndarray | None = None
        self.job: Any = None
        self.generator: Any = None

    @property
    def words(self) -> int:
        """Packed words of n bits."""
        return (self.n + 63) >> 6

    def space(self) -> np.ndarray:
        """An array for the chunk's ring elements."""
        return np.empty(self.n, np.uint64) if self.out is None else self.out

    def _place(self, role: int, per: int) -> tuple[int, int]:
        return self.stream | role, (self.low >> 6) * per

    def _claimed(self, generator, role: int, count: int) -> np.ndarray:
        """Words of one generator, used for nothing else."""
        stream, offset = self._place(role, 64)
        if self.run.positions is not None:
            self.run.positions.claim(generator, stream, offset, offset + count)
        return generator.words(stream, count, offset)


class OnlineContext(Context):
    """A party's.

    One opening of a chunk is under way at a time: `mine` is my masked share of it, the sum is written to `into` where
    that is given; `start` is its place in the level's message, or `number` that of its own message, and `number2` and
    `total` are of its segments' sums.
    """

    __slots__ = ("into", "mine", "number", "number2", "start", "total", "xor")

    mine: Any

    def leads(self, party: str | None) -> bool:
        """Whether this party adds public terms where `party`, if it computes, should."""
        return self.run.lead if party is None or party not in self.run.parties else self.run.me == party

    def known_to(self, party: str, role: int, count: int) -> np.ndarray:
        """Words that only `party`, which is this one, and the dealer know."""
        assert party == self.run.me, party
        return self._claimed(self.run.prg, role, count)

    def fresh(self, role: int, count: int, per: int = 64) -> tuple[Drawing]:
        """My fresh mask of what is opened next, for a kernel that adds it as it goes; see `opening`."""
        run, stream, offset = self.run, self.stream | role, (self.low >> 6) * per
        if run.positions is not None:
            run.positions.claim(run.prg, stream, offset, offset + count)
        return ((run.prg, stream, offset),)

    def opening(self, masked: np.ndarray, xor: bool = False, out: np.ndarray | None = None) -> "OnlineContext":
        """Asks to open the sum over parties of `masked`, which has a fresh mask in it: yield it to get the words."""
        self.mine, self.xor, self.into = masked.ravel(), xor, out
        return self

    def open(self, share: np.ndarray, role: int, out: np.ndarray | None = None) -> "OnlineContext":
        """Asks to open the sum over parties of `share` + fresh mask: yield it to get the words."""
        ((generator, stream, offset),) = self.fresh(role, share.size)
        mine = generator.words(stream, share.size, offset)
        mine += share if share.ndim == 1 else share.reshape(-1)
        return self.opening(mine, False, out)

    def open_bits(self, share: np.ndarray, role: int, out: np.ndarray | None = None) -> "OnlineContext":
        """The same for packed bits."""
        ((generator, stream, offset),) = self.fresh(role, share.size, 1)
        mine = generator.words(stream, share.size, offset)
        mine ^= share
        return self.opening(mine, True, out)

    def drawn(self, role: int, count: int, per: int = 64, xor: bool = False) -> Share:
        """My mask shares of an earlier opening of this step, or of a dealt vector."""
        return Drawn(self.run.mine, self.stream | role, (self.low >> 6) * per, count, xor)

    def portion(self, role: int, words: int, per: int = 64) -> Source:
        """My share of a vector that the dealer shares, for a kernel: drawn, or received where it is my turn to get
        corrections."""
        run = self.run
        return run.corrections.next(words) if self.receiver == run.number else self.fresh(role, words, per)

    def dealt(self, role: int, count: int, width: int = 8, per: int = 64, xor: bool = False) -> Share:
        """The same to keep. `width` 4: values modulo 2^32, two a word (`per` is then 32)."""
        words, per = row_words(count, width), per if width == 8 else 32
        portion = self.portion(role, words, per)
        packed = Known(portion) if isinstance(portion, np.ndarray) else self.drawn(role, words, per, xor)
        return packed if width == 8 else Narrow(packed, count)

    def portions(self, rows: Sequence[tuple[int, int]]) -> list[Source]:
        """My shares of the vectors, one word or value an element, of one `DealerContext.deal_rows`: (role, width)."""
        n, run = self.n, self.run
        if self.receiver != run.number:
            return [self.fresh(role, row_words(n, width), 8 * width) for role, width in rows]
        sizes = [row_words(n, width) for _, width in rows]
        words = run.corrections.next(sum(sizes))
        if len(sizes) == 1:
            return [words]
        portions, low = [], 0
        for size in sizes:
            portions.append(words[low : low + size])
            low += size
        return portions

    def dealt_rows(self, rows: Sequence[tuple[int, int]]) -> list[Share]:
        """The same to keep."""
        n, shares = self.n, []
        for (role, width), portion in zip(rows, self.portions(rows), strict=True):
            drawn = self.drawn(role, row_words(n, width), 8 * width)
            packed = Known(portion) if isinstance(portion, np.ndarray) else drawn
            shares.append(packed if width == 8 else Narrow(packed, n))
        return shares


class DealerContext(Context):
    __slots__ = ()

    def leads(self, party: str | None) -> bool:
        return True

    def known_to(self, party: str, role: int, count: int) -> np.ndarray:
        """Words that only `party` and the dealer know."""
        return self._claimed(self.run.prgs[self.run.parties.index(party)], role, count)

    def drawn(self, role: int, count: int, per: int = 64, xor: bool = False) -> Share:
        """The masks of an opening of this step: the sum (xor) of all parties' mask shares."""
        return Drawn(self.run.prgs, self.stream | role, (self.low >> 6) * per, count, xor)

    def masks(self, role: int, per: int = 64) -> tuple[Drawing, ...]:
        """The same, for a kernel."""
        stream, offset = self.stream | role, (self.low >> 6) * per
        return tuple([(generator, stream, offset) for generator in self.run.prgs])

    def mask(self, role: int, count: int, per: int = 64, xor: bool = False) -> np.ndarray:
        return self.drawn(role, count, per, xor).words()

    def deal(self, role: int, values: np.ndarray, width: int = 8, per: int = 64, xor: bool = False) -> None:
        """Shares `values` (an array this call may overwrite): sends the correction to the party whose turn it is."""
        if width == 4:
            per = 32
            narrow = np.zeros((values.size + 1) & ~1, np.uint32)
            narrow[: values.size] = values  # modulo 2^32
            values = narrow.view(np.uint64)
        words = np.ascontiguousarray(values.reshape(-1))
        for generator, stream, offset in self.drawing(role, words.size, per):
            if xor:
                generator.xor(stream, words, offset)
            elif width == 4:
                generator.subtract_halves(stream, words, offset)
            else:
                generator.subtract(stream, words, offset)
        self.correct(words)

    def deal_rows(
        self, mask: Share | None, rows: Sequence[tuple[int, int, int]], bits: np.ndarray | None = None
    ) -> None:
        """Shares vectors made of a mask (None: 1), zero where `bits` are: (role, shift to the right, width)."""
        source = None if mask is None else mask.words() if mask.zero else mask.source()
        dealt = []
        for role, shift, width in rows:
            less = self.drawing(role, row_words(self.n, width), 8 * width)
            dealt.append((shift, width == 4, less))
        self.correct(kernels.deal(self.n, source, bits, dealt))

    def drawing(self, role: int, count: int, per: int) -> tuple[Drawing, ...]:
        """(generator, stream, offset) of the parties that draw their share of a dealt vector: all but the receiver."""
        run, stream, offset = self.run, self.stream | role, (self.low >> 6) * per
        drawing = run.others[self.receiver]
        if run.positions is not None:
            for generator in drawing:
                run.positions.claim(generator, stream, offset, offset + count)
        return tuple([(generator, stream, offset) for generator in drawing])

    def dealing(self, role: int) -> tuple[int, int, int, int, int]:
        """Of a dealt vector of this chunk, for `Dealt`: the receiver's number, stream, offset, low, high."""
        stream, offset = self._place(role, 64)
        return self.receiver, stream, offset, self.low, self.low + self.n

    def correct(self, words: np.ndarray) -> None:
        """Sends the rest of a dealt vector, less all that others draw, to the party whose turn it is."""
        self.run.corrections.add(self.receiver, words)


def row_words(n: int, width: int) -> int:
    """Words of n values of `width` bytes, 8 or 4."""
    return n if width == 8 else (n + 1) >> 1


def stream_of(call: int, path: int, step: int) -> int:
    """The stream number of role 0; roles are its low 8 bits."""
    return prg.stream(call, path, step, 0)


def concatenated(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
