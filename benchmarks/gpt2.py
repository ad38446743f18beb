"""GPT-2-small's shape on shares: random weights at alice, token ids at bob, next-token logits to bob.

    python benchmarks/gpt2.py [--layers 12] [--width 768] [--vocabulary 50257] [--tokens 32] [--calls 3]
    mpcrt bench benchmarks/gpt2.py gpt2_2 --cluster cluster_configs/two_party_plain.yaml --inputs owned --reps 3

The first form runs the file as the program of two parties and a dealer: the weights are shared once, then every
call has new tokens. It prints one JSON object: `first` is the call that shares the weights, `seconds` the calls after
it, from the tokens in plaintext to the logits in plaintext; `largest_error` against plain JAX; `peak_rss_mb` a process.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

import mpcrt
from mpcrt.runtime import bench_program, current
from mpcrt.runtime.counters import total

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "cluster_configs" / "two_party_plain.yaml"
POSITIONS = 1024


def weights(layers: int, width: int, vocabulary: int, seed: int = 0) -> dict:
    """Parameters by GPT-2's names and initial scales, float32."""
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.02) -> np.ndarray:
        return random.standard_normal(shape, np.float32) * np.float32(scale)

    def norm() -> dict:
        return {"g": 1 + normal(width), "b": normal(width)}

    def linear(inner: int, outer: int, scale: float = 0.02) -> dict:
        return {"w": normal(inner, outer, scale=scale), "b": normal(outer)}

    residual = 0.02 / math.sqrt(2 * layers)
    return {
        "wte": normal(vocabulary, width),
        "wpe": normal(POSITIONS, width, scale=0.01),
        "blocks": [
            {
                "ln_1": norm(), "c_attn": linear(width, 3 * width), "c_proj": linear(width, width, residual),
                "ln_2": norm(), "c_fc": linear(width, 4 * width), "c_out": linear(4 * width, width, residual),
            }
            for _ in range(layers)
        ],
        "ln_f": norm(),
    }  # fmt: skip


def tokens(call: int, count: int, vocabulary: int) -> np.ndarray:
    """The ids of one call's prompt."""
    return np.random.default_rng(1000 + call).integers(0, vocabulary, count, np.int32)


def logits(ids, params):
    """Next-token logits [vocabulary] after `ids` [tokens], as plain JAX; heads are 64 wide."""
    import jax
    import jax.numpy as jnp

    count, width = ids.shape[0], params["wte"].shape[1]
    heads = max(width // 64, 1)

    def norm(x, p):
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * p["g"] + p["b"]

    def linear(x, p):
        return x @ p["w"] + p["b"]

    def attention(x, p):
        q, k, v = linear(x, p["c_attn"]).reshape(count, 3, heads, -1).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(width // heads)
        shares = jax.nn.softmax(jnp.where(np.tril(np.ones((count, count), bool)), scores, -jnp.inf), axis=-1)
        return linear((shares @ v).transpose(1, 0, 2).reshape(count, width), p["c_proj"])

    x = params["wte"][ids] + params["wpe"][:count]
    for p in params["blocks"]:
        x = x + attention(norm(x, p["ln_1"]), p)
        x = x + linear(jax.nn.gelu(linear(norm(x, p["ln_2"]), p["c_fc"]), approximate=True), p["c_out"])
    return norm(x[-1], params["ln_f"]) @ params["wte"].T


def case(layers: int, width: int = 768, vocabulary: int = 50257, count: int = 32):
    """A case of `mpcrt bench`; with --inputs owned the tokens are bob's, the weights alice's."""
    return lambda: (logits, (tokens(0, count, vocabulary), weights(layers, width, vocabulary)))


C = {f"gpt2_{layers}": case(layers) for layers in (1, 2, 12)}


@alice
def load(layers, width, vocabulary):
    return weights(layers, width, vocabulary)


@bob
def prompt(call, count, vocabulary):
    return tokens(call, count, vocabulary)


predict = spu(logits)


@bob
def started(call, y):
    """The clock starts where the tokens are; `y`, of the call before, says that it is over."""
    return time.monotonic()


@bob
def received(start, y):
    return time.monotonic() - start, np.asarray(y)


@alice
def expected(params, calls, count, vocabulary):
    import jax

    return np.stack([jax.jit(logits)(tokens(c, count, vocabulary), params) for c in range(calls)])


@bob
def report(rows, wanted, cost):
    seconds = [row[0] for row in rows]
    found = np.stack([row[1] for row in rows])
    result = {
        "first": round(seconds[0], 3), "seconds": [round(s, 3) for s in seconds[1:]],
        "largest_error": float(np.abs(found - wanted).max()), "largest_logit": float(np.abs(wanted).max()),
    }  # fmt: skip
    print(json.dumps(result | cost), flush=True)


def main(arguments):
    """What each party runs. Rounds and bytes are those of the last call and its reveal, memory what came before
    plain JAX ran."""
    layers, width, vocabulary, count, calls = map(int, arguments)
    params = load(layers, width, vocabulary)
    session = current.require("gpt2")
    rows = []
    y, before, after = None, {}, {}
    for call in range(calls):
        before = after
        start = started(call, y)
        y = predict(prompt(call, count, vocabulary), params).to(bob)
        rows.append(received(start, y))
        after = bench_program.reports(session)
    cost = asdict(total(after) - total(before))
    cost["peak_rss_mb"] = {name: round(r.peak_rss_mb) for name, r in after.items()}
    report(rows, expected(params, calls, count, vocabulary).to(bob), cost)


def run() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name, default in {"layers": 12, "width": 768, "vocabulary": 50257, "tokens": 32, "calls": 4}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cluster", default=str(CLUSTER))
    given = vars(parser.parse_args())
    arguments = [str(given[name]) for name in ("layers", "width", "vocabulary", "tokens", "calls")]
    command = [sys.executable, "-m", "mpcrt", "run", given["cluster"], str(Path(__file__).resolve()), "--", *arguments]
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(run())
