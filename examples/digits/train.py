"""Trains the digits network in plaintext and writes it to a file: what the owner of the model did before mpcrt came in.

python examples/digits/train.py --out model.npz
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from data import load
from network import logits

EPOCHS, BATCH, RATE = 20, 64, 2e-3


def initial(key):
    """He-normal weights, zero biases."""
    shapes = {"filters": (3, 3, 1, 16), "hidden": (256, 64), "out": (64, 10)}
    keys = jax.random.split(key, len(shapes))
    params = {
        name: jax.random.normal(k, shape) * np.sqrt(2 / np.prod(shape[:-1]))
        for k, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    biases = {"filter_bias": jnp.zeros(16), "hidden_bias": jnp.zeros(64), "out_bias": jnp.zeros(10)}
    return params | biases


def loss(params, images, labels):
    scores = jax.nn.log_softmax(logits(params, images))
    return -jnp.mean(scores[jnp.arange(len(labels)), labels])


@jax.jit
def step(params, momenta, images, labels, count):
    """One step of Adam."""
    gradients = jax.grad(loss)(params, images, labels)

    def update(p, m, g):
        first, second = 0.9 * m[0] + 0.1 * g, 0.999 * m[1] + 0.001 * g * g
        return p - RATE * (first / (1 - 0.9**count)) / (jnp.sqrt(second / (1 - 0.999**count)) + 1e-8), (first, second)

    moved = {name: update(params[name], momenta[name], gradients[name]) for name in params}
    return {n: v[0] for n, v in moved.items()}, {n: v[1] for n, v in moved.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    out = parser.parse_args().out
    images, labels = load("train")
    params = initial(jax.random.key(0))
    momenta = {name: (jnp.zeros_like(p), jnp.zeros_like(p)) for name, p in params.items()}
    rng, count = np.random.default_rng(1), 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(labels))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            count += 1
            rows = order[at : at + BATCH]
            params, momenta = step(params, momenta, images[rows], labels[rows], count)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, **{name: np.asarray(p) for name, p in params.items()})
    print(f"trained on {len(labels)} images, final loss {loss(params, images, labels):.4f}; wrote {out.name}")


if __name__ == "__main__":
    main()
