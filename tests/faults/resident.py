"""The program that faults are tried on: many calls whose results bob checks; every line it prints is a verdict."""

import time

import jax.numpy as jnp
import numpy as np

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


@alice
def weights():
    return (np.arange(64 * 16).reshape(64, 16) % 7 - 3).astype(np.float32)


@bob
def rows(call, pause):
    time.sleep(pause)
    count = 2000 if call % 8 == 5 else 4
    return ((np.arange(count * 64).reshape(count, 64) + call) % 5 - 2).astype(np.float32)


@spu
def predict(w, x):
    return jnp.maximum(x @ w - 1, 0)


@bob
def check(y, call):
    w, x = weights.function(), rows.function(call, 0)
    error = float(np.abs(y - np.maximum(x @ w - 1, 0)).max())
    print(f"right {call}" if error < 1e-2 else f"WRONG {call}: {error}", flush=True)


def main(arguments):
    calls, pause = int(arguments[0]), float(arguments[1])
    w = weights().to(spu)
    for call in range(calls):
        check(predict(w, rows(call, pause)).to(bob), call)
