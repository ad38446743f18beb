"""Logistic regression trained on shares: the features are split between alice and bob, the labels are bob's.

mpcrt run cluster_configs/two_party.yaml examples/breast_cancer/train.py -- --out weights.npz
Nobody learns a feature, a label or a gradient of another's; bob alone learns the trained weights.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from data import load
from model import STEPS, descend

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


@alice
def alices_features():
    return load("train")[0][:, :15]


@bob
def bobs_features():
    return load("train")[0][:, 15:]


@bob
def labels():
    return load("train")[1]


@spu
def train(left, right, y):
    x = jnp.concatenate([left, right], axis=1)
    weights = jnp.zeros(x.shape[1]), 0.0
    return jax.lax.fori_loop(0, STEPS, lambda _, w: descend(w, x, y), weights)


@bob
def save(path, weights):
    vector, bias = weights
    out = pathlib.Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, vector=vector, bias=bias)
    print(f"bob learned {vector.size} weights and a bias")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    save(options.out, train(alices_features(), bobs_features(), labels()).to(bob))
