"""The main job with a Flax model: alice's network on bob's digits.

mpcrt run cluster_configs/two_party.yaml examples/frameworks/flax_digits.py -- --out predictions.npz
"""

import argparse

import flax.linen as nn
import jax
import numpy as np
from shared import load_digits_rows, save_scores

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


class Network(nn.Module):
    """Convolution, batch norm, two dense layers."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3))(x))
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.avg_pool(x, (2, 2), (2, 2)).reshape(x.shape[0], -1)
        return nn.Dense(10)(nn.gelu(nn.Dense(32)(x)))


@alice
def load_model():
    """A freshly initialised model stands in for a trained one: what is shown is the way, not the accuracy."""
    return Network().init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))


@bob
def load_images():
    return load_digits_rows(64)


@spu
def predict(variables, images):
    return Network().apply(variables, images)


@bob
def save(path, scores):
    save_scores(path, scores)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    save(options.out, predict(load_model(), load_images()).to(bob))


def plaintext():
    """What the secure run should give, for the test."""
    variables = Network().init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))
    return Network().apply(variables, load_digits_rows(64))
