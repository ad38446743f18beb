"""Plans made of random ops, loops among them, against the plaintext reader: how steps of any kinds go together."""

from random import Random

import numpy as np
import pytest
from harness import check
from hypothesis import given, settings
from hypothesis import strategies as st

from mpcrt.plan import Builder, Type, Value
from mpcrt.plan.types import private

SIZES = [0, 1, 63, 64, 65, 130, 9000]
OWNERS = ["owner", "alice", "bob"]
"""Who provides an input: somebody who does not compute, or a party, as its own or not."""


def values(random: Random) -> np.random.Generator:
    return np.random.default_rng(random.getrandbits(32))


class Growing:
    """A plan on flat values of one size that grows op by op: integers and bits to choose operands from."""

    def __init__(self, builder: Builder, random: Random, size: int) -> None:
        self.b, self.random, self.size = builder, random, size
        self.rings: list[Value] = []
        self.bits: list[Value] = []

    def ring(self) -> Value:
        """One of the last few."""
        return self.random.choice(self.rings[-4:])

    def bit(self) -> Value:
        if self.random.random() < 0.1:
            return self.b.bit_constant(values(self.random).integers(0, 2, self.size).astype(np.uint8))
        return self.random.choice(self.bits[-3:])

    def grow(self, loops: bool = True) -> None:
        b, x, y, p, q = self.b, self.ring(), self.ring(), self.bit(), self.bit()
        match self.random.randrange(18 if loops else 15):
            case 0:
                self.rings.append(b.add(x, y))
            case 1:
                self.rings.append(b.sub(b.mul(x, b.integer(3)), y))
            case 2:
                self.rings.append(b.mul(x, y))
            case 3:  # exact, since what is cut off is zero
                self.rings.append(b.one("truncate", b.one("shift", b.to_ring(p), bits=20), bits=20))
            case 4:
                self.rings.append(b.select(p, x))
            case 5:
                self.rings.append(b.where(p, x, y))
            case 6:
                self.rings.append(b.select(b.not_(b.negative(x)), x))
            case 7:
                column, row = b.reshape(x, (self.size, 1, 1)), b.reshape(y, (self.size, 1, 1))
                self.rings.append(b.reshape(b.dot(column, row), (self.size,)))
            case 8:
                k = self.random.randint(0, self.size)
                self.rings.append(b.concat([b.slice(x, (k,), (self.size,)), b.slice(y, (0,), (k,))], 0))
            case 9:
                hot = b.one("onehot", b.to_ring(p), depth=2)
                self.rings.append(b.reshape(b.slice(hot, (0, 1), (self.size, 2)), (self.size,)))
            case 10:
                self.bits.append(b.negative(x))
            case 11:
                self.bits.append(b.equal(x, y))
            case 12:
                self.bits.append(b.and_(p, q))
            case 13:
                self.bits.append(b.xor(p, b.not_(q)))
            case 14:
                self.bits.append(b.where(p, q, self.bit()))
            case _:
                self.loop()

    def loop(self) -> None:
        """Two carries and a fixed value; one carry is stacked as well."""
        secret = [v for v in self.rings if v.type.visibility == "secret"]
        flags = [v for v in self.bits if v.type.visibility == "secret"]
        if not secret or not flags:
            return
        inner = Growing(Builder(), self.random, self.size)
        inner.rings = [inner.b.input(Type((self.size,), "ring", 0)) for _ in range(2)]
        inner.bits = [inner.b.input(Type((self.size,), "bit"))]
        for _ in range(self.random.randint(1, 5)):
            inner.grow(loops=False)
        body = inner.b.finish(inner.rings[-1], inner.bits[-1], inner.ring())
        if any(t.public for t in body.output_types):
            return
        fixed, carry, flag = self.random.choice(secret), self.random.choice(secret), self.random.choice(flags)
        trips = self.random.randint(1, 3)
        ring, bit, stacked = self.b.loop(body, trips, [fixed], [carry, flag], [])
        self.rings += [ring, self.b.sum(stacked, (0,))]
        self.bits.append(bit)


@pytest.mark.parametrize("n", [2, 3, 5])
@settings(max_examples=60, deadline=None)
@given(random=st.randoms(use_true_random=False), size=st.sampled_from(SIZES), ops=st.integers(3, 20))
def test_random_plans(n, random, size, ops):
    """Exact, with the rounds and bytes that are declared; no mask is used twice (the readers look)."""
    growing, inputs, owners = Growing(Builder(), random, size), [], []
    for _ in range(2):
        owner, wire = random.choice(OWNERS), random.choice(["masked", "shared"])
        own = owner != "owner" and wire == "masked" and random.random() < 0.5
        of = Type((size,), "ring", 0, private(owner) if own else "secret")
        growing.rings.append(growing.b.input(of, wire))
        owners.append(owner)
        inputs.append(values(random).integers(-99, 100, size).view(np.uint64))
    growing.bits.append(growing.b.input(Type((size,), "bit"), random.choice(["masked", "shared"])))
    owners.append("owner")
    inputs.append(values(random).integers(0, 2, size).astype(np.uint8))
    for _ in range(ops):
        growing.grow()
    outputs = [growing.rings[-1], growing.bits[-1], growing.ring(), growing.ring()]
    check(growing.b.finish(*outputs), inputs, n, owners=owners)
