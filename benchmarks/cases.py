"""End-to-end cases in the shapes that comparisons of secure computation use, for `mpcrt bench` and benchmarks/run.py.

C maps a name to a function that returns (function, arguments): plain JAX on float32 arrays.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

MILLION = 1_000_000
BATCH = 64
IMAGES = ("NHWC", "HWIO", "NHWC")


def draw(seed: int, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def layer(seed: int, *shape: int) -> np.ndarray:
    """A weight with outputs of about unit size: the last axis is the output's."""
    return draw(seed, *shape, scale=float(np.prod(shape[:-1])) ** -0.5)


def elementwise(function, *arguments):
    return lambda: (function, tuple(a() for a in arguments))


def mlp():
    sizes = (784, 128, 128, 10)
    model = [{"w": layer(i, a, b), "b": draw(9 + i, b, scale=0.1)} for i, (a, b) in enumerate(pairwise(sizes))]

    def apply(x, model):
        *hidden, last = model
        for each in hidden:
            x = jax.nn.relu(x @ each["w"] + each["b"])
        return x @ last["w"] + last["b"]

    return apply, (draw(0, BATCH, sizes[0]), model)


def logistic_regression():
    """Ten steps of gradient descent, unrolled, on 1000 rows of 30."""
    x = draw(0, 1000, 30)

    def fit(x, y):
        theta = jnp.zeros(30), jnp.float32(0)
        for _ in range(10):
            error = jax.nn.sigmoid(x @ theta[0] + theta[1]) - y
            theta = theta[0] - 0.1 / 1000 * (error @ x), theta[1] - 0.1 * error.mean()
        return theta

    return fit, (x, (x[:, 0] > 0).astype(np.float32))


def lenet():
    """Two convolutions of 5 x 5 with averaging, two dense layers, 16 images of 28 x 28."""
    model = {"first": layer(1, 5, 5, 1, 16), "second": layer(2, 5, 5, 16, 16), "dense": layer(3, 784, 100)}
    model["out"] = layer(4, 100, 10)

    def stage(x, kernel):
        x = jax.nn.relu(lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=IMAGES))
        return 0.25 * lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    def apply(x, model):
        x = stage(stage(x, model["first"]), model["second"])
        return jax.nn.relu(x.reshape(len(x), -1) @ model["dense"]) @ model["out"]

    return apply, (draw(0, 16, 28, 28, 1), model)


def transformer():
    """A block of GPT-2-small's shape: 32 tokens, width 768, 12 heads, hidden width 3072."""
    tokens, width, heads = 32, 768, 12
    model = {name: layer(i, width, width) for i, name in enumerate(("query", "key", "value", "project"))}
    model |= {"up": layer(5, width, 4 * width), "down": layer(6, 4 * width, width)}
    model |= {"gain": np.ones(width, np.float32), "gain_too": np.ones(width, np.float32)}

    def normalised(x, gain):
        centred = x - x.mean(-1, keepdims=True)
        return gain * centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5)

    def split(x):
        return x.reshape(tokens, heads, width // heads).transpose(1, 0, 2)

    def apply(x, model):
        h = normalised(x, model["gain"])
        query, key, value = (split(h @ model[name]) for name in ("query", "key", "value"))
        weights = jax.nn.softmax(query @ key.transpose(0, 2, 1) * (width // heads) ** -0.5)
        x = x + (weights @ value).transpose(1, 0, 2).reshape(tokens, width) @ model["project"]
        return x + jax.nn.gelu(normalised(x, model["gain_too"]) @ model["up"]) @ model["down"]

    return apply, (draw(0, tokens, width, scale=0.9), model)


C = {
    "matmul_1000": elementwise(
        lambda x, y: x @ y, lambda: draw(0, 1000, 1000, scale=0.1), lambda: draw(1, 1000, 1000, scale=0.1)
    ),
    "mul_1m": elementwise(lambda x, y: x * y, lambda: draw(0, MILLION), lambda: draw(1, MILLION)),
    "relu_1m": elementwise(jax.nn.relu, lambda: draw(0, MILLION)),
    "relu_1": elementwise(jax.nn.relu, lambda: draw(0, 1)),
    "exp_1m": elementwise(jnp.exp, lambda: -abs(draw(0, MILLION))),
    "sigmoid_1m": elementwise(jax.nn.sigmoid, lambda: draw(0, MILLION)),
    "softmax_1000x100": elementwise(lambda x: jax.nn.softmax(x, axis=-1), lambda: draw(0, 1000, 100)),
    "sort_10k": elementwise(jnp.sort, lambda: draw(0, 10_000)),
    "mlp_64": mlp,
    "lr_train": logistic_regression,
    "lenet_16": lenet,
    "transformer_block": transformer,
}
