"""Every kind of message with contents that do not fit: openings, corrections, inputs, reveals, calls, metadata."""

import random

import numpy as np
import pytest

import mpcrt
from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, PeerLost, ProtocolError
from mpcrt.transport.link import Kind

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


def shorter(arrays):
    return [a.reshape(-1)[:-1] for a in arrays]


def longer(arrays):
    return [np.concatenate([a.reshape(-1), a.reshape(-1)[:1]]) for a in arrays]


def empty(arrays):
    return [a.reshape(-1)[:0] for a in arrays]


def other_dtype(arrays):
    return [a.reshape(-1).astype(np.float32 if a.dtype == np.uint64 else np.uint64) for a in arrays]


def one_more(arrays):
    return [*arrays, arrays[0]]


def none(arrays):
    return []


CHANGES = [shorter, longer, empty, other_dtype, one_more, none]
SENDERS = {
    Kind.HELLO: "bob", Kind.STEP: "bob", Kind.META: "bob", Kind.INPUT: "bob", Kind.OPEN: "bob", Kind.DEAL: "dealer",
    Kind.REVEAL: "bob", Kind.PUBLISH: "alice",
}  # fmt: skip


def program(session):
    import jax.numpy as jnp

    x = bob(lambda: np.arange(6, dtype=np.float32).reshape(2, 3))()
    w = alice(lambda: np.ones((3, 2), np.float32))().to(mpcrt.public)
    y = spu(lambda x, w: jnp.maximum(jnp.exp(-((x @ w) ** 2)), x[:, :2]))(x, w)
    return y.to(alice), y.to(bob)


@pytest.mark.parametrize("kind", SENDERS, ids=lambda kind: kind.name)
def test_contents_that_do_not_fit_end_the_run_and_name_the_sender(world, kind):
    """Nothing hangs, nothing is a Python error, and somebody says who sent it."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    sender = SENDERS[kind]
    for change in rng.sample(CHANGES, 3):
        changed = []

        def tamper(peer, address, arrays, change=change, changed=changed):
            if address.kind != kind or changed or rng.random() < 0.3:
                return arrays
            made = change(arrays)
            if [(a.dtype, a.shape) for a in made] == [(a.dtype, a.shape) for a in arrays]:
                return arrays
            changed.append(address)
            return made

        made = world(program, tamper={sender: tamper})
        if not changed:
            continue
        assert made.failures, (change.__name__, changed)
        found = [e for e in made.failures.values() if not isinstance(e, PeerFailed | PeerLost)]
        assert found and all(isinstance(e, MpcrtError) for e in found), (change.__name__, changed, made.failures)
        for error in found:
            assert isinstance(error, ProtocolError | DisagreementError), (change.__name__, changed, error)
            assert sender in str(error), (change.__name__, changed, error)
