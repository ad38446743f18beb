"""Multiplies by a constant that each party gives for itself, as the argument."""

import sys

import numpy as np

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
FACTOR = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0


@bob
def rows():
    return np.ones(4, np.float32)


@alice
def weights():
    return np.ones(4, np.float32)


@spu
def scaled(x, w):
    return (x * w) * FACTOR


@bob
def report(y):
    print("bob learned", y)


def main():
    report(scaled(rows(), weights()).to(bob))
