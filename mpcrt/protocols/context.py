"""What a rule sees: its chunk, its PRG positions, openings and correlations. One context a chunk of a step.

Every random word has the position (call, loop path, step, role, offset), its offset a function of the element index;
a role names one vector of a step. `per` is the number of words for 64 elements (64: a ring element each; 1: a bit
each).
"""

from collections.abc import Sequence

import numpy as np

from mpcrt.errors import ProtocolError
from mpcrt.plan.schedule import Held, Step
from mpcrt.protocols.shares import Drawn, Known, Narrow, Share
from mpcrt.ring import kernels, prg
from mpcrt.ring.sources import Drawing

LARGE = 1 << 12
"""Elements of a chunk from which the receiver of its corrections differs from step to step."""


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


class Request:
    """One opening under way: `mine` is my masked share; the sum is written to `out`."""

    __slots__ = ("mine", "number", "number2", "out", "start", "total", "xor")

    def __init__(self, mine: np.ndarray, xor: bool, out: np.ndarray | None) -> None:
        self.mine, self.xor, self.out = mine, xor, out
        self.start = self.number = self.number2 = -1  # place in the level's packed message, or messages of its own
        self.total = mine


class Context:
    """Common to the online and the dealer's context of a chunk: elements low .. low + n - 1 of the step."""

    __slots__ = ("_stream", "index", "low", "n", "operands", "out", "result", "run", "step")

    def __init__(self, run, step: Step, stream: int, index: int, low: int, high: int, operands, result: Held) -> None:
        self.run, self.step, self._stream = run, step, stream
        self.index, self.low, self.n = index, low, high - low
        self.operands: tuple[Held, ...] = operands
        self.result = result
        self.out: np.ndarray | None = None

    @property
    def attrs(self) -> dict:
        return self.step.attrs

    @property
    def words(self) -> int:
        """Packed words of n bits."""
        return (self.n + 63) >> 6

    @property
    def turn(self) -> int:
        """Whose turn it is to receive corrections: by chunk and, for large ones, by step, so that links share load."""
        return self.index + (self.step.number if self.n > LARGE else 0)

    def _place(self, role: int, per: int) -> tuple[int, int]:
        return self._stream | role, (self.low >> 6) * per

    def _claimed(self, generator, role: int, count: int) -> np.ndarray:
        """Words of one generator, used for nothing else."""
        stream, offset = self._place(role, 64)
        if self.run.positions is not None:
            self.run.positions.claim(generator, stream, offset, offset + count)
        return generator.words(stream, count, offset)


class OnlineContext(Context):
    """`lead`: whether this party adds public terms."""

    __slots__ = ()

    @property
    def lead(self) -> bool:
        return self.run.lead

    def leads(self, party: str | None) -> bool:
        """Whether this party adds public terms where `party`, if it computes, should."""
        return self.run.me == party if party in self.run.parties else self.run.lead

    def known_to(self, party: str, role: int, count: int) -> np.ndarray:
        """Words that only `party`, which is this one, and the dealer know."""
        assert party == self.run.me, party
        return self._claimed(self.run.prg, role, count)

    def fresh(self, role: int, count: int, per: int = 64, xor: bool = False) -> Share:
        """My fresh mask of what is opened next, for a kernel that adds it as it goes; see `opening`."""
        stream, offset = self._place(role, per)
        self._claim(stream, offset, count)
        return Drawn((self.run.prg,), stream, offset, count, xor)

    def opening(self, masked: np.ndarray, xor: bool = False, out: np.ndarray | None = None) -> Request:
        """Asks to open the sum over parties of `masked`, which has a fresh mask in it; yield it to get the words."""
        return Request(masked.reshape(-1), xor, out)

    def open(self, share: np.ndarray, role: int, out: np.ndarray | None = None) -> Request:
        """Asks to open the sum over parties of `share` + fresh mask; yield it to get the opened words."""
        mine = self.fresh(role, share.size).words()
        np.add(mine, share, out=mine)
        return Request(mine, False, out)

    def open_bits(self, share: np.ndarray, role: int, out: np.ndarray | None = None) -> Request:
        """The same for packed bits."""
        mine = self.fresh(role, share.size, per=1, xor=True).words()
        np.bitwise_xor(mine, share, out=mine)
        return Request(mine, True, out)

    def _claim(self, stream: int, offset: int, count: int) -> None:
        if self.run.positions is not None:
            self.run.positions.claim(self.run.prg, stream, offset, offset + count)

    def drawn(self, role: int, count: int, per: int = 64, xor: bool = False) -> Share:
        """My mask shares of an earlier opening of this step, or of a dealt vector."""
        stream, offset = self._place(role, per)
        return Drawn((self.run.prg,), stream, offset, count, xor)

    def dealt(self, role: int, count: int, width: int = 8, per: int = 64, xor: bool = False) -> Share:
        """My share of a vector that the dealer shares: drawn, or, for the party whose turn the chunk is, received.

        `width` 4: values modulo 2^32, two a word (`per` is then 32).
        """
        words = count if width == 8 else (count + 1) >> 1
        per = per if width == 8 else 32
        if self.run.receiver(self.turn) == self.run.me:
            packed: Share = Known(self.run.corrections.next(words))
        else:
            self._claim(*self._place(role, per), words)
            packed = self.drawn(role, words, per, xor)
        return packed if width == 8 else Narrow(packed, count)

    def dealt_rows(self, rows: Sequence[tuple[int, int]]) -> list[Share]:
        """My shares of the vectors, one word or value an element, of one `DealerContext.deal_rows`: (role, width)."""
        if self.run.receiver(self.turn) != self.run.me:
            return [self.dealt(role, self.n, width) for role, width in rows]
        sizes = [row_words(self.n, width) for _, width in rows]
        words, shares, low = self.run.corrections.next(sum(sizes)), [], 0
        for (_, width), size in zip(rows, sizes, strict=True):
            packed = Known(words[low : low + size])
            shares.append(packed if width == 8 else Narrow(packed, self.n))
            low += size
        return shares


class DealerContext(Context):
    __slots__ = ()

    lead = True

    def leads(self, party: str | None) -> bool:
        return True

    def known_to(self, party: str, role: int, count: int) -> np.ndarray:
        """Words that only `party` and the dealer know."""
        return self._claimed(self.run.prgs[self.run.parties.index(party)], role, count)

    def drawn(self, role: int, count: int, per: int = 64, xor: bool = False) -> Share:
        """The masks of an opening of this step: the sum (xor) of all parties' mask shares."""
        stream, offset = self._place(role, per)
        return Drawn(self.run.prgs, stream, offset, count, xor)

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
        stream, offset = self._place(role, per)
        receiver = self.run.receiver(self.turn)
        drawing = [g for party, g in zip(self.run.parties, self.run.prgs, strict=True) if party != receiver]
        if self.run.positions is not None:
            for generator in drawing:
                self.run.positions.claim(generator, stream, offset, offset + count)
        return tuple((generator, stream, offset) for generator in drawing)

    def dealing(self, role: int) -> tuple[int, int, int, int, int]:
        """Of a dealt vector of this chunk, for `Dealt`: the receiver's number, stream, offset, low, high."""
        stream, offset = self._place(role, 64)
        return self.run.parties.index(self.run.receiver(self.turn)), stream, offset, self.low, self.low + self.n

    def correct(self, words: np.ndarray) -> None:
        """Sends the rest of a dealt vector, less all that others draw, to the party whose turn it is."""
        self.run.corrections.add(self.run.receiver(self.turn), words)


def row_words(n: int, width: int) -> int:
    """Words of n values of `width` bytes, 8 or 4."""
    return n if width == 8 else (n + 1) >> 1


def stream_of(call: int, path: int, step: int) -> int:
    """The stream number of role 0; roles are its low 8 bits."""
    return prg.stream(call, path, step, 0)


def concatenated(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
