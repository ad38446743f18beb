"""Wires that outlive calls: shared once, their masks' words drawn once, zeroed when nothing refers to them."""

import threading

import numpy as np
import pytest
from harness import NAMES, parallel, plan_of, seeds

from mpcrt.plan import Type
from mpcrt.plan.schedule import schedule
from mpcrt.protocols import Dealer, Keys, Online, inputs, provide, receive
from mpcrt.protocols.shares import Budget, Drawn
from mpcrt.ring import kernels
from mpcrt.ring.codec import decode, encode
from mpcrt.ring.prg import random_bytes
from mpcrt.transport import Kind, MemoryNetwork

PARTIES = NAMES[:2]
TYPES = [Type(shape, "ring", 18, "secret") for shape in ((1, 2, 8), (1, 8, 4), (4,))]
CALLS = (10, 20, 30)


def network(b, x, w, g):
    """A weight used whole and through a linear map, a gain used element by element."""
    return b.truncate(b.dot(b.truncate(b.dot(x, w)), b.transpose(w, (0, 2, 1)))), b.truncate(b.mul(g, g))


class Counting:
    """A generator that counts the words drawn from all of its kind."""

    drawn = 0
    lock = threading.Lock()

    def __init__(self, generator) -> None:
        self.generator = generator

    def count(self, n: int) -> None:
        with self.lock:
            Counting.drawn += n

    def words(self, stream, count, offset=0):
        self.count(count)
        return self.generator.words(stream, count, offset)

    def __getattr__(self, name):
        def method(stream, out, offset=0):
            self.count(out.size)
            getattr(self.generator, name)(stream, out, offset)

        return method


def read(link, nonce, table, values, kept_bytes: int, ends: threading.Barrier) -> list:
    """One process's part in three calls with the same inputs: (words drawn so far by all, INPUT bytes sent) a call."""
    me, plan = link.name, plan_of(network, *TYPES)
    lowered = schedule(plan, len(PARTIES))
    seen, reader, wires = [], None, []
    if me == "owner":
        for i, (t, value) in enumerate(zip(TYPES, values, strict=True)):
            provide(link, i + 1, t, value, PARTIES, "dealer")
    else:
        keys = Keys(me, nonce, table)
        dealer = me == "dealer"
        reader = Dealer(link, me, PARTIES, keys, True) if dealer else Online(link, me, PARTIES, "dealer", keys, True)
        reader.budget = Budget(kept_bytes)
        wires = [reader.share(i + 1, t, "owner") for i, t in enumerate(TYPES)]
    ends.wait(60)
    Counting.drawn = 0
    for call in CALLS:
        ends.wait(60)
        made = reader.run(call, lowered, wires) if reader else []
        ends.wait(60)
        seen.append((Counting.drawn, link.statistics.total("sent", kind=Kind.INPUT).payload))
        if isinstance(reader, Online):
            for i, (wire, t) in enumerate(zip(made, lowered.output_types, strict=True)):
                reader.reveal(call + 1 + i, wire, t, ("owner",))
        elif me == "owner":
            outputs = [receive(link, call + 1 + i, t, PARTIES) for i, t in enumerate(lowered.output_types)]
            x, w, g = (decode(v, 18) for v in values)
            for got, want in zip(outputs, (x @ w @ w.transpose(0, 2, 1), g * g), strict=True):
                # Four truncated terms, each times at most 1, and a truncation of the sum.
                np.testing.assert_allclose(decode(got, 18), want, atol=5 * 2**-18)
    if reader:
        seen.append(reader.budget.left)
        del wires, made
        seen.append(reader.budget.left)
    return seen


def three_calls(monkeypatch, kept_bytes: int) -> dict[str, list]:
    real = inputs.prg_of
    monkeypatch.setattr(inputs, "prg_of", lambda seed: Counting(real(seed)))
    names = (*PARTIES, "dealer", "owner")
    links, table, nonce = dict(MemoryNetwork(names, idle=60)), seeds(names), random_bytes(32)
    generator = np.random.default_rng(4)
    values = [encode(generator.uniform(-1, 1, t.shape), 18) for t in TYPES]
    ends = threading.Barrier(len(names))
    return parallel({n: lambda n=n: read(links[n], nonce, table[n], values, kept_bytes, ends) for n in names}, links)


def test_a_later_call_draws_no_word_of_an_input_and_sends_nothing_about_it(monkeypatch):
    seen = three_calls(monkeypatch, 1 << 20)
    words = sum(t.size for t in TYPES)
    for name in ("alice", "bob", "dealer"):
        (first, sent), second, third, held, after = seen[name]
        assert first == 4 * words  # each party its share, the dealer both
        assert second == third == (first, sent)
        assert (1 << 20) - held == 8 * words and after == 1 << 20, "what is kept counts until it is released"
    assert len({sent for _, sent in seen["owner"]}) == 1


def test_without_a_budget_words_are_drawn_at_each_use(monkeypatch):
    (first, _), (second, _), _, held, _ = three_calls(monkeypatch, 0)["bob"]
    assert second > first > 0
    assert held == 0


def test_kept_words_are_zeroed_when_nothing_refers_to_them():
    budget = Budget(800)
    mask = inputs.kept(Drawn((kernels.Prg(bytes(16)),), 1 << 8, 0, 100), budget)
    view = mask.part(10, 20).words()
    expected = kernels.Prg(bytes(16)).words(1 << 8, 10, 10)
    memory = np.asarray(memoryview(mask.words().base).obj)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="read-only"):
        view += 1
    del mask
    assert np.array_equal(view, expected) and not budget.left, "a result may still need them"
    del view
    assert not memory.any() and budget.left == 800
