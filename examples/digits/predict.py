"""Private inference: alice's network on bob's digits. Alice never sees an image, bob never sees a weight.

mpcrt run cluster_configs/two_party.yaml examples/digits/predict.py -- --model model.npz --out predictions.npz
Each company runs the same line with `--party alice` or `--party bob`; only alice needs the model's file.
"""

import argparse
import pathlib
import time

import numpy as np
from data import load
from network import logits

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


@alice
def load_model(path):
    with np.load(path) as file:
        return dict(file)


@bob
def load_images():
    return load("held out")[0]


@bob
def clock(*_):
    return np.float64(time.perf_counter())


@spu
def predict(params, images):
    return logits(params, images)


@bob
def save(path, scores, start):
    """Bob alone learns the scores; he keeps them with what the secure part cost."""
    seconds = time.perf_counter() - float(start)
    cost = mpcrt.statistics()
    out = pathlib.Path(path)
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, scores=scores, seconds=seconds, rounds=cost.rounds, party_bytes=cost.party_bytes,
             dealer_bytes=cost.dealer_bytes)  # fmt: skip
    print(f"bob learned the scores of {len(scores)} images in {seconds:.2f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    params, images = load_model(options.model), load_images()
    start = clock(images)
    save(options.out, predict(params, images).to(bob), start)
