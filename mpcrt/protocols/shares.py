"""What readers hold: lazily computed share vectors, and the wires built on them.

A Share is a vector of ring words (or packed bits) that is drawn from a PRG when asked for, so that masks are
recomputed, not stored, but for those of inputs (`Kept`). At a party it is this party's share; at the dealer the sum
(xor) over the parties, the value itself.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpcrt.ring.sources import Source


class Share:
    """A vector of `size` uint64 words; callers never write to what `words` gives."""

    __slots__ = ()
    size: int
    zero = False

    def words(self) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} gives no words")

    def source(self) -> Source:
        """The words as kernels take them: where they can, they draw them on the way."""
        return self.words()

    def shaped(self, shape: tuple[int, ...]) -> np.ndarray:
        """The words in a shape; with strides where that saves a copy."""
        return self.words().reshape(shape)

    def part(self, low: int, high: int) -> "Share":
        return Mapped(high - low, lambda words: words[low:high], self)

    def without(self, party: int) -> "Share":
        """At the dealer: the sum over all parties but this one."""
        raise TypeError(f"{type(self).__name__} has no parties' shares")

    def fill(self, out: np.ndarray) -> None:
        """out = this."""
        out[:] = self.words()

    def subtract_from(self, out: np.ndarray) -> None:
        """out -= this."""
        out -= self.words()

    def add_to(self, out: np.ndarray) -> None:
        out += self.words()


class Zero(Share):
    __slots__ = ("size",)
    zero = True

    def __init__(self, size: int) -> None:
        self.size = size

    def words(self) -> np.ndarray:
        return np.zeros(self.size, np.uint64)

    def source(self) -> Source:
        return None

    def part(self, low: int, high: int) -> Share:
        return Zero(high - low)

    def without(self, party: int) -> Share:
        return self

    def subtract_from(self, out: np.ndarray) -> None:
        pass

    def add_to(self, out: np.ndarray) -> None:
        pass


class Known(Share):
    __slots__ = ("array", "size")

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.size = array, array.size

    def words(self) -> np.ndarray:
        return self.array

    def part(self, low: int, high: int) -> Share:
        return self if low == 0 and high == self.size else Known(self.array[low:high])


class Drawn(Share):
    """Words offset .. offset + size - 1 of a stream, summed (or xored) over the generators. `of`: the numbers of the
    parties whose generators they are, at the dealer; all of them in order where it is None."""

    __slots__ = ("of", "offset", "prgs", "size", "stream", "xor")

    def __init__(
        self, prgs: tuple, stream: int, offset: int, size: int, xor: bool = False, of: Sequence[int] | None = None
    ) -> None:
        self.prgs, self.stream, self.offset, self.size, self.xor, self.of = prgs, stream, offset, size, xor, of

    def words(self) -> np.ndarray:
        out = self.prgs[0].words(self.stream, self.size, self.offset)
        for prg in self.prgs[1:]:
            (prg.xor if self.xor else prg.add)(self.stream, out, self.offset)
        return out

    def source(self) -> Source:
        return tuple([(prg, self.stream, self.offset) for prg in self.prgs])

    def fill(self, out: np.ndarray) -> None:
        self.prgs[0].fill(self.stream, out, self.offset)
        for prg in self.prgs[1:]:
            (prg.xor if self.xor else prg.add)(self.stream, out, self.offset)

    def part(self, low: int, high: int) -> Share:
        return Drawn(self.prgs, self.stream, self.offset + low, high - low, self.xor, self.of)

    def without(self, party: int) -> Share:
        of = range(len(self.prgs)) if self.of is None else self.of
        left = {i: prg for i, prg in zip(of, self.prgs, strict=True) if i != party}
        if not left:
            return Zero(self.size)
        return Drawn(tuple(left.values()), self.stream, self.offset, self.size, self.xor, tuple(left))

    def subtract_from(self, out: np.ndarray) -> None:
        for prg in self.prgs:
            prg.subtract(self.stream, out, self.offset)

    def add_to(self, out: np.ndarray) -> None:
        for prg in self.prgs:
            prg.add(self.stream, out, self.offset)


class Budget:
    """How many bytes of mask words a process may keep."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, size: int) -> bool:
        if size > self.left:
            return False
        self.left -= size
        return True

    def give(self, size: int) -> None:
        self.left += size


class Kept(Share):
    """Words low .. low + size - 1 of an input's mask, which outlives a call: the whole is drawn at first use and kept
    while anything refers to it, then zeroed. Where the budget does not suffice they are drawn at each use."""

    __slots__ = ("low", "size", "whole")

    def __init__(self, whole: "Whole", low: int, size: int) -> None:
        self.whole, self.low, self.size = whole, low, size

    def _source(self) -> Share:
        kept = self.whole.words()
        return (self.whole.drawn if kept is None else Known(kept)).part(self.low, self.low + self.size)

    def words(self) -> np.ndarray:
        kept = self.whole.words()
        if kept is None or self.size < kept.size:
            return self._source().words()
        return kept

    def part(self, low: int, high: int) -> Share:
        return Kept(self.whole, self.low + low, high - low)

    def without(self, party: int) -> Share:
        return self.whole.drawn.part(self.low, self.low + self.size).without(party)

    def subtract_from(self, out: np.ndarray) -> None:
        self._source().subtract_from(out)

    def add_to(self, out: np.ndarray) -> None:
        self._source().add_to(out)


class Whole:
    """The words that the parts of one kept mask share."""

    def __init__(self, drawn: Drawn, budget: Budget) -> None:
        self.drawn, self._budget = drawn, budget
        self._array: np.ndarray | None = None

    def words(self) -> np.ndarray | None:
        """All of them; None where the budget does not suffice."""
        if self._array is None and self._budget.take(8 * self.drawn.size):
            memory = self.drawn.words()
            # A view through the buffer protocol: views of it refer to it, so it ends with the last of them.
            self._array = np.frombuffer(memory.data, np.uint64)
            self._array.flags.writeable = False
            weakref.finalize(self._array, _wipe, memory, self._budget).atexit = False
        return self._array


def _wipe(memory: np.ndarray, budget: Budget) -> None:
    memory.fill(0)
    budget.give(memory.nbytes)


class Narrow(Share):
    """A share of `size` 32-bit values, as uint64 words, from half as many packed words."""

    __slots__ = ("packed", "size")

    def __init__(self, packed: Share, size: int) -> None:
        self.packed, self.size = packed, size

    def words(self) -> np.ndarray:
        return self.packed.words().view(np.uint32)[: self.size].astype(np.uint64)

    def part(self, low: int, high: int) -> Share:
        if low % 2:
            return Known(self.words()[low:high])
        return Narrow(self.packed.part(low // 2, (high + 1) // 2), high - low)


class Joined(Share):
    """Shares one after the other: the chunks of one dealt vector."""

    __slots__ = ("parts", "size")

    def __init__(self, parts: Sequence[Share]) -> None:
        self.parts = list(parts)
        self.size = sum(p.size for p in parts)

    def words(self) -> np.ndarray:
        if len(self.parts) != 1:
            self.parts = [Known(np.concatenate([p.words() for p in self.parts]))]
        return self.parts[0].words()

    def part(self, low: int, high: int) -> Share:
        start = 0
        for p in self.parts:
            if start <= low and high <= start + p.size:
                return p.part(low - start, high - start)
            start += p.size
        return Known(self.words()[low:high])


def joined(parts: Sequence[Share]) -> Share:
    """Shares one after the other."""
    return parts[0] if len(parts) == 1 else Joined(parts)


class Mapped(Share):
    """function(*words of the parents), computed at first use and kept. Chains of them are as long as a user's loop:
    they are walked, never recursed into."""

    __slots__ = ("function", "made", "parents", "size")

    def __init__(self, size: int, function: Callable[..., np.ndarray], *parents: Share) -> None:
        self.size, self.function, self.parents = size, function, parents
        self.made: np.ndarray | None = None

    def _value(self) -> np.ndarray:
        if self.made is None:
            for share in self._below(lambda share: share.made is not None):
                share.made = share.function(*[p.words() for p in share.parents])
        assert self.made is not None
        return self.made

    def _below(self, done: Callable[["Mapped"], bool]) -> Iterator["Mapped"]:
        """This and what it is made of, parents first, each once; `done` ones and theirs left out."""
        waiting: list[Mapped] = [self]
        while waiting:
            share = waiting[-1]
            if not done(share):
                missing = [p for p in share.parents if isinstance(p, Mapped) and not done(p)]
                if missing:
                    waiting += missing
                    continue
                yield share
            waiting.pop()

    def words(self) -> np.ndarray:
        self.made = np.ascontiguousarray(self._value()).ravel()
        return self.made

    def shaped(self, shape: tuple[int, ...]) -> np.ndarray:
        return self._value() if self._value().shape == shape else self.words().reshape(shape)

    def without(self, party: int) -> Share:
        made: dict[Share, Share] = {}
        for share in self._below(made.__contains__):
            parents = [made[p] if isinstance(p, Mapped) else p.without(party) for p in share.parents]
            made[share] = Mapped(share.size, share.function, *parents)
        return made[self]


def sign_source(share: Share, bits: int) -> Source:
    """Shares of m where k = bits: as 32-bit values, two a word, for k <= 32."""
    if bits > 32:
        return share.source()
    if isinstance(share, Narrow):
        return share.packed.source()
    values = np.zeros((share.size + 1) & ~1, np.uint32)
    values[: share.size] = share.words()  # modulo 2^32
    return values.view(np.uint64)


class Dealt(Share):
    """At the dealer: a vector that it shared. `chunks`: (receiver, stream, offset, low, high) of each chunk; all
    parties but the receiver drew their share of it."""

    __slots__ = ("chunks", "prgs", "size", "total")

    def __init__(self, total: Share, prgs: Sequence, chunks: Sequence[tuple[int, int, int, int, int]]) -> None:
        self.total, self.prgs, self.chunks, self.size = total, tuple(prgs), chunks, total.size

    def words(self) -> np.ndarray:
        return self.total.words()

    def without(self, party: int) -> Share:
        out = self.total.words().copy()
        for receiver, stream, offset, low, high in self.chunks:
            if receiver == party:
                drawn = Drawn(self.prgs, stream, offset, high - low).without(party)
                drawn.fill(out[low:high])
            else:
                self.prgs[party].subtract(stream, out[low:high], offset)
        return Known(out)


@dataclass(slots=True)
class Wire:
    """A MASKED or OPENED value at a party: D (ring elements in their shape, or packed bits) and my share of the mask,
    None where only the dealer has it. At the dealer: D is None and `mask` is the mask itself. `plain`: at the owner of
    an input whose whole mask is its own, the value."""

    opened: Any
    mask: Any
    plain: Any = None


@dataclass(slots=True)
class Fork:
    """floor(z / 2^bits) of a wire z, and shares of R = l >> bits and m = msb(l) where they were dealt."""

    wire: Wire
    bits: int
    top: Any = None
    sign: Any = None


def cut(value, low: int, high: int, bit: bool):
    """The elements low .. high - 1 of a runtime value, flat; `low` is a multiple of 64."""
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        if bit and value.dtype == np.uint64:
            return value[low >> 6 : (high + 63) >> 6]
        return value.reshape(-1)[low:high]
    if isinstance(value, Wire):
        mask = None if value.mask is None else cut(value.mask, low, high, bit)
        return Wire(cut(value.opened, low, high, bit), mask)
    if isinstance(value, Fork):
        parts = (None if s is None else s.part(low, high) for s in (value.top, value.sign))
        return Fork(cut(value.wire, low, high, bit), value.bits, *parts)
    return value.part(low >> 6, (high + 63) >> 6) if bit else value.part(low, high)
