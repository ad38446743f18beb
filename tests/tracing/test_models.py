"""What people write: regression and its training, networks and their gradients, attention, Flax and Keras models."""

import importlib.util
import itertools
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evaluation import abstract, check, compare, evaluate
from jax import lax

from mpcrt.tracing import trace

F = np.float32


def reals(*shape, seed=0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(F)


def test_logistic_regression_with_grad():
    """Five steps: each step's error is a few roundings of the gradient's terms, and sigmoid's 5e-5."""
    x = reals(40, 6)
    y = (x[:, 0] > 0).astype(F)

    def loss(params, x, y):
        w, b = params
        logits = x @ w + b
        return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits)

    def train(x, y):
        params = (jnp.zeros(6), 0.0)
        for _ in range(5):
            gradient = jax.grad(loss)(params, x, y)
            params = jax.tree_util.tree_map(lambda p, g: p - 0.5 * g, params, gradient)
        return params

    check(train, x, y, ulps=150, visibility=["private(alice)", "private(bob)"])


def mlp(params, x):
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return x @ w + b


def layers(*widths):
    return [(reals(a, b, seed=a, scale=a**-0.5), reals(b, seed=b, scale=0.1)) for a, b in itertools.pairwise(widths)]


def test_mlp_and_its_gradient():
    params, x, y = layers(12, 16, 5), reals(8, 12), np.eye(5, dtype=F)[np.arange(8) % 5]

    def loss(params, x, y):
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(mlp(params, x)), -1))

    check(mlp, params, x, ulps=40, visibility=["private(alice)", "private(bob)"])
    check(jax.grad(loss), params, x, y, ulps=120)
    check(jax.value_and_grad(loss), params, x, y, ulps=120)


def cnn(params, x):
    """Convolution, batch norm with stored statistics, max pooling, dense."""
    layout = ("NHWC", "HWIO", "NHWC")
    x = lax.conv_general_dilated(x, params["kernel"], (1, 1), "SAME", dimension_numbers=layout)
    x = (x - params["mean"]) * lax.rsqrt(params["variance"] + 1e-3) * params["scale"] + params["offset"]
    x = lax.reduce_window(jax.nn.relu(x), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return x.reshape(x.shape[0], -1) @ params["dense"]


CNN = {
    "kernel": reals(3, 3, 1, 4, scale=0.4), "mean": reals(4, scale=0.1), "variance": np.abs(reals(4)) + F(0.5),
    "scale": reals(4, seed=1), "offset": reals(4, seed=2, scale=0.1), "dense": reals(64, 3, scale=0.15),
}  # fmt: skip


def test_cnn_and_its_gradient():
    x = reals(2, 8, 8, 1)
    traced = check(cnn, CNN, x, ulps=60, visibility=["private(alice)", "private(bob)"])
    assert [c.leaves for c in traced.hoisted] == [(5,)], "only 1/sqrt(variance) is computed beforehand"
    check(jax.grad(lambda p, x: jnp.mean(cnn(p, x) ** 2)), CNN, x, ulps=400)


def test_layer_norm():
    def norm(x, g):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) * lax.rsqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * g

    check(norm, reals(6, 48), reals(48, seed=1), ulps=80)
    check(jax.grad(lambda x, g: jnp.sum(norm(x, g) ** 3)), reals(4, 8), reals(8, seed=1), ulps=2000)


def attention(x, p):
    q, k, v = (jnp.einsum("td,dhe->hte", x, p[n]) for n in "qkv")
    scores = jnp.einsum("hte,hse->hts", q, k) / np.sqrt(q.shape[-1])
    scores = jnp.where(np.tri(x.shape[0], dtype=bool), scores, -jnp.inf)
    return jnp.einsum("hts,hse->the", jax.nn.softmax(scores), v).reshape(x.shape)


def test_causal_attention_and_its_gradient():
    p = {n: reals(16, 2, 8, seed=i, scale=0.25) for i, n in enumerate("qkv")}
    check(attention, reals(6, 16), p, ulps=120)
    check(jax.grad(lambda x, p: jnp.mean(attention(x, p) ** 2), (0, 1)), reals(6, 16), p, ulps=200)


def test_recurrent_network():
    def cell(h, x, p):
        return jnp.tanh(x @ p["in"] + h @ p["rec"])

    def predict(x, p):
        return lax.scan(lambda h, row: (cell(h, row, p), None), jnp.zeros(8), x)[0] @ p["out"]

    p = {"in": reals(5, 8, scale=0.4), "rec": reals(8, 8, scale=0.3), "out": reals(8, 2, scale=0.3)}
    check(predict, reals(12, 5), p, ulps=100)


def test_vmap():
    check(jax.vmap(lambda x, w: jnp.dot(x, w) + x.max(), (0, None)), reals(5, 4), reals(4, seed=1), ulps=12)


def test_transformer_block_is_planned_in_a_second():
    tokens, width, heads = 32, 768, 12
    shapes = {n: (width, width) for n in ("q", "k", "v", "o")} | {"1": (width, 4 * width), "2": (4 * width, width)}
    p = {n: np.zeros(s, F) for n, s in shapes.items()}

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)

    def block(x, p):
        q, k, v = ((norm(x) @ p[n]).reshape(tokens, heads, -1).swapaxes(0, 1) for n in "qkv")
        a = jax.nn.softmax(q @ k.swapaxes(1, 2) / 8)
        x = x + (a @ v).swapaxes(0, 1).reshape(tokens, width) @ p["o"]
        return x + jax.nn.gelu(norm(x) @ p["1"]) @ p["2"]

    given = [abstract(np.zeros((tokens, width), F)), abstract(p)]
    trace(block, given, parties=("alice", "bob"))
    start = time.thread_time()
    trace(lambda x, p: block(x, p), given, parties=("alice", "bob"))
    assert time.thread_time() - start < 1


FLAX = """
import flax.linen as nn, jax, jax.numpy as jnp, numpy as np
from flax import nnx
class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        x = nn.BatchNorm(use_running_average=True)(nn.max_pool(x, (2, 2), (2, 2)))
        x = nn.LayerNorm()(x.reshape(x.shape[0], -1))
        return nn.Dense(3)(nn.gelu(nn.Dense(8)(x)))
x = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32)
net = Net()
check(lambda p, x: net.apply(p, x), net.init(jax.random.key(0), x), x, 3e-3)
rngs = nnx.Rngs(0)
graph, state = nnx.split(nnx.Sequential(nnx.Linear(5, 7, rngs=rngs), jax.nn.silu, nnx.LayerNorm(7, rngs=rngs)))
check(lambda s, x: nnx.merge(graph, s)(x), state, x[0, :, :5, 0], 3e-3)
"""
KERAS = """
import keras, numpy as np
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
layers = keras.layers
model = keras.Sequential([
    layers.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(),
    layers.AveragePooling2D(3, 1), layers.Flatten(), layers.Dense(8, activation="gelu"), layers.Dropout(0.5),
    layers.Dense(3, activation="softmax"),
])
trainable = [np.asarray(v) for v in model.trainable_variables]
fixed = [np.asarray(v) for v in model.non_trainable_variables]
check(lambda p, x: model.stateless_call(p[0], p[1], x, training=False)[0], (trainable, fixed), x, 1e-3)
"""
HARNESS = """
import sys
sys.path.insert(0, {here!r})
from evaluation import abstract, check, compare, evaluate
import jax
from mpcrt.tracing import trace
def check(function, params, x, tolerance):
    given = [abstract(params, "private(alice)"), abstract(x, "private(bob)")]
    traced = trace(function, given, parties=("alice", "bob"))
    compare(evaluate(traced, (params, x)), jax.jit(function)(params, x), tolerance)
    print("checked", len(traced.plan.nodes), "nodes")
"""


@pytest.mark.parametrize(("module", "script", "count"), [("flax", FLAX, 2), ("keras", KERAS, 1)])
def test_model_of(module, script, count):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    path = os.pathsep.join(p for p in sys.path if p)
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = HARNESS.format(here=os.path.dirname(__file__)) + script
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("checked") == count


def test_compare_can_fail():
    x = reals(3, 4)
    traced = trace(lambda v: v + 1, [abstract(x)], parties=("alice", "bob"))
    with pytest.raises(AssertionError):
        compare(evaluate(traced, (x,)), x + F(1.001), 1e-4)
