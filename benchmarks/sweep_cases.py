"""The cases of benchmarks/sweep.py, one a kind and size: C maps "relu 1000" to a function that makes it."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
GEMMS = (64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 8, 64, 512, 4096)


def draw(seed, *shape, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape, np.float32)).astype(np.float32)


def mul(size):
    return (lambda x, y: x * y), (draw(0, size), draw(1, size))


def relu(size):
    return jax.nn.relu, (draw(0, size),)


def exp(size):
    return jnp.exp, (-abs(draw(0, size)),)


def gemm(size):
    return (lambda x, y: x @ y), (draw(0, size, size, scale=0.1), draw(1, size, size, scale=0.1))


def mlp(rows):
    """784, 128, 128 and 10 wide."""
    sizes = (784, 128, 128, 10)
    model = [draw(i, a, b, scale=a**-0.5) for i, (a, b) in enumerate(pairwise(sizes))]

    def apply(x, model):
        for weight in model[:-1]:
            x = jax.nn.relu(x @ weight)
        return x @ model[-1]

    return apply, (draw(9, rows, sizes[0]), model)


KINDS = {"mul": (mul, SIZES), "relu": (relu, SIZES), "exp": (exp, SIZES), "gemm": (gemm, GEMMS), "mlp": (mlp, BATCHES)}
C = {
    f"{kind} {size}": lambda make=make, size=size: make(size) for kind, (make, sizes) in KINDS.items() for size in sizes
}
