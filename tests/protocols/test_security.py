"""What leaves a process is uniform, masks are never reused, the dealer sees nothing, reveals leak nothing."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from harness import NAMES, parallel, plan_of, run, seeds

from mpcrt.errors import ProtocolError
from mpcrt.plan import Type
from mpcrt.plan.schedule import schedule
from mpcrt.protocols import Dealer, Keys, Online, provide, receive
from mpcrt.protocols.context import Positions
from mpcrt.ring.codec import encode
from mpcrt.ring.prg import random_bytes, stream
from mpcrt.transport import Kind, MemoryNetwork

SIZE = 64
MASKED = {int(k) for k in (Kind.INPUT, Kind.OPEN, Kind.DEAL, Kind.REVEAL)}


def real(*shape, visibility="secret") -> Type:
    return Type(shape, "ring", 18, visibility)


def network(b, x, y, bit):
    """A bit of everything: products, truncation, comparison, selection, forks, bits."""
    product = b.mul(x, y)
    hidden = b.where(b.negative(product), b.real(0.0), product)
    squared = b.truncate(b.mul(b.truncate(product), b.truncate(product)))
    return hidden, squared, b.where(bit, x, y), b.and_(b.equal(x, y), bit), b.to_ring(bit)


def fixed_inputs() -> tuple[list[Type], list[np.ndarray]]:
    values = np.linspace(-2, 2, SIZE)
    inputs = [encode(values, 18), encode(values[::-1], 18), (np.arange(SIZE) % 2).astype(np.uint8)]
    return [real(SIZE), real(SIZE), Type((SIZE,), "bit", 0, "secret")], inputs


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("n", [2, 3])
def test_everything_that_leaves_a_process_is_uniform(n):
    """Over runs with one fixed input, chi-square of the bytes by (sender, kind) and of the first word of each message.

    The randomness is the system's, so bounds are by probability: 255 degrees of freedom, mean 255, deviation 22.6: a
    sender passes below 255 + 6 * 22.6 = 391 (p = 1e-7). A message's first words as nibbles, 15 degrees: below 65
    (p = 4e-8); a plaintext or a repeated mask there gives thousands.
    """
    types, inputs = fixed_inputs()
    plan = plan_of(network, *types)
    repetitions = 60
    by_sender: dict[tuple, np.ndarray] = defaultdict(lambda: np.zeros(256, np.int64))
    by_message: dict[tuple, np.ndarray] = defaultdict(lambda: np.zeros(16, np.int64))
    leaves = {int(w) for x in inputs[:2] for w in x}
    found = Counter()
    counted: set[tuple] = set()

    def recorder(name):
        def record(direction, peer, address, buffers):
            if direction != "sent" or int(address.kind) not in MASKED or peer == "dealer":
                return  # the dealer gets the parties' seeds once more
            for i, array in enumerate(buffers):
                data = np.ascontiguousarray(array).reshape(-1)
                message = (name, tuple(address), i, data.tobytes())
                if message in counted:  # the same D, or the same masked share, to another party
                    continue
                counted.add(message)
                found.update(leaves & set(data.tolist()))
                raw = data.view(np.uint8)
                by_sender[name, int(address.kind)] += np.bincount(raw, minlength=256)
                first = raw[:8]
                nibbles = np.concatenate([first & 15, first >> 4])
                by_message[name, peer, tuple(address), i] += np.bincount(nibbles, minlength=16)

        return record

    for _ in range(repetitions):
        counted.clear()
        run(plan, inputs, n, debug=False, recorder=recorder)
    assert len(by_sender) >= 2 * n + 2 and len(by_message) > 20
    for (name, kind), counts in by_sender.items():
        assert counts.sum() > 256 * 40, (name, kind)
        assert chi_square(counts) < 391, f"{name} sends {Kind(kind).name} bytes that are not uniform"
    for key, counts in by_message.items():
        assert chi_square(counts) < 65, f"{key} starts with words that are not uniform"
    assert not found, "a plaintext word left a process"


@pytest.mark.parametrize("n", [2, 3])
def test_the_dealer_receives_seeds_and_nothing_else(n):
    types, inputs = fixed_inputs()
    received = []

    def recorder(name):
        def record(direction, peer, address, buffers):
            if name == "dealer" and direction == "received":
                received.append((peer, Kind(address.kind), sum(b.nbytes for b in buffers)))

        return record

    run(plan_of(network, *types), inputs, n, recorder=recorder)
    assert received == [("owner", Kind.INPUT, 32 * n)] * len(inputs)


def test_a_position_masks_one_value_once():
    positions = Positions()
    generator = object()
    at = stream(1, 0, 2, 3)
    positions.claim(generator, at, 0, 10)
    positions.claim(generator, at, 10, 12)
    positions.claim(object(), at, 0, 10)
    with pytest.raises(ProtocolError, match="two values"):
        positions.claim(generator, at, 9, 11)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_debug_mode_sees_the_positions_of_a_run(n):
    """The harness runs with debug on; here it is shown that it looks: a call number used twice is refused."""
    types, inputs = fixed_inputs()
    plan = plan_of(network, *types)
    parties = NAMES[:n]
    names = (*parties, "dealer", "owner")
    links, table, nonce = dict(MemoryNetwork(names)), seeds(names), random_bytes(32)
    lowered = schedule(plan, n)
    reader = Dealer(links["dealer"], "dealer", parties, Keys("dealer", nonce, table["dealer"]), debug=True)
    for i, t in enumerate(types):
        provide(links["owner"], i + 1, t, inputs[i], parties, "dealer")
    wires = [reader.share(i + 1, t, "owner") for i, t in enumerate(types)]
    reader.run(7, lowered, wires)
    assert sum(map(len, reader.positions.used.values())) > 10
    with pytest.raises(ProtocolError, match="two values"):
        reader.run(7, lowered, wires)


def test_reveal_with_owner_known_masks_does_not_leak():
    """y = x + w of alice's x and bob's w, revealed to carol, who also knows D_x: what alice sends must not give x."""
    parties, rounds = NAMES[:3], 40
    names = (*parties, "dealer")
    x, w = np.arange(8, dtype=np.uint64) + np.uint64(5), np.arange(8, dtype=np.uint64) * np.uint64(3)
    kinds = [Type((8,), "ring", 0, "private(alice)"), Type((8,), "ring", 0, "private(bob)")]
    plan = plan_of(lambda b, p, q: b.add(p, q), *kinds)
    lowered = schedule(plan, 3)
    candidates = []
    for _ in range(rounds):
        links, table, nonce = dict(MemoryNetwork(names)), seeds(names), random_bytes(32)
        seen = {}

        def record(direction, peer, address, buffers, seen=seen):
            if direction == "received":
                seen[peer, Kind(address.kind)] = np.array(buffers[-1]).reshape(-1)

        links["carol"].recorder = record

        def party(me, links=links, table=table, nonce=nonce):
            online = Online(links[me], me, parties, "dealer", Keys(me, nonce, table[me]), debug=True)
            a = online.share(1, kinds[0], "alice", x if me == "alice" else None)
            b = online.share(2, kinds[1], "bob", w if me == "bob" else None)
            (y,) = online.run(3, lowered, [a, b])
            return online.reveal(4, y, lowered.output_types[0], ("carol",))

        results = parallel({me: (lambda me=me: party(me)) for me in parties}, links)
        assert results["alice"] is None and (results["carol"] == x + w).all()
        opened, share = seen["alice", Kind.INPUT], seen["alice", Kind.REVEAL]
        candidates += [opened + share, share - np.zeros_like(share), x + w - share]
        assert not (opened + share == x).any()
    top = np.concatenate(candidates) >> np.uint64(60)
    # 960 nibbles, 15 degrees of freedom: below 65, p = 4e-8
    assert chi_square(np.bincount(top.astype(np.int64), minlength=16)) < 65


def test_wires_persist_between_calls():
    """Outputs of a call are inputs of later ones, at the parties and at the dealer; D is opened once in its life."""
    parties = NAMES[:2]
    names = (*parties, "dealer", "owner")
    links, table, nonce = dict(MemoryNetwork(names)), seeds(names), random_bytes(32)
    x = encode(np.linspace(-3, 3, 10), 18)
    first = plan_of(lambda b, v: (b.add(v, v), b.truncate(b.mul(v, v))), real(10))
    lowered = schedule(first, 2)
    second = plan_of(lambda b, v, s: b.truncate(b.mul(v, b.add(s, v))), real(10), real(10), wires=lowered.output_wires)
    after = schedule(second, 2)

    def party(me):
        online = Online(links[me], me, parties, "dealer", Keys(me, nonce, table[me]), debug=True)
        wires = online.run(2, lowered, [online.share(1, real(10), "owner")])
        for call in (3, 4):
            (out,) = online.run(call, after, wires)
            online.reveal(10 + call, out, after.output_types[0], ("owner",))

    def dealer():
        reader = Dealer(links["dealer"], "dealer", parties, Keys("dealer", nonce, table["dealer"]), debug=True)
        wires = reader.run(2, lowered, [reader.share(1, real(10), "owner")])
        for call in (3, 4):
            reader.run(call, after, wires)

    def owner():
        provide(links["owner"], 1, real(10), x, parties, "dealer")
        return [receive(links["owner"], 10 + call, after.output_types[0], parties) for call in (3, 4)]

    functions = {me: (lambda me=me: party(me)) for me in parties} | {"dealer": dealer, "owner": owner}
    values = np.linspace(-3, 3, 10)
    # The slope is 78 at most, at inputs rounded by 2^-19; a truncation times 6 and one more: 92 of 2^-19.
    for got in parallel(functions, links)["owner"]:
        np.testing.assert_allclose(got.view(np.int64) / 2**18, 2 * values * (values**2 + 2 * values), atol=92 * 2**-19)


def test_an_opening_of_another_size_is_refused():
    types, inputs = fixed_inputs()
    plan = plan_of(lambda b, x, y, c: b.truncate(b.mul(x, y)), *types)
    original = MemoryNetwork.__getitem__

    def shortened(peer, address, buffers):
        return [b[:-1] for b in buffers] if address.kind == Kind.OPEN else buffers

    def patched(self, name):
        link = original(self, name)
        if name == "alice":
            link.tamper = shortened
        return link

    with pytest.MonkeyPatch.context() as patch, pytest.raises(ProtocolError, match="another size"):
        patch.setattr(MemoryNetwork, "__getitem__", patched)
        run(plan, inputs)
