"""The main job with a Keras 3 model on its JAX backend: alice's network on bob's digits.

mpcrt run cluster_configs/two_party.yaml examples/frameworks/keras_digits.py -- --out predictions.npz
"""

import argparse
import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from shared import load_digits_rows, save_scores

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


def network():
    """The architecture, which both sides know; the weights are alice's."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(32, activation="tanh"),
            layers.Dense(10),
        ]
    )


# Made once, outside any traced function: Keras initialises its variables with JAX operations.
MODEL = network()


def variables(model):
    """The model's weights as arrays, the form `stateless_call` takes them in."""
    return {
        "trainable": [np.asarray(v) for v in model.trainable_variables],
        "fixed": [np.asarray(v) for v in model.non_trainable_variables],
    }


@alice
def load_model():
    """A freshly initialised model stands in for a trained one: what is shown is the way, not the accuracy."""
    return variables(MODEL)


@bob
def load_images():
    return load_digits_rows(64)


@spu
def predict(weights, images):
    return MODEL.stateless_call(weights["trainable"], weights["fixed"], images, training=False)[0]


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
    return np.asarray(MODEL(load_digits_rows(64)))
