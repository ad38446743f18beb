"""Compares bob's weights with plaintext training on the held-out rows; prints one JSON line.

python examples/breast_cancer/evaluate.py --weights weights.npz
"""

import argparse
import json

import jax.numpy as jnp
import numpy as np
from data import load
from model import STEPS, descend
from sklearn.metrics import roc_auc_score


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True)
    options = parser.parse_args()
    plain = jnp.zeros(30), 0.0
    for _ in range(STEPS):
        plain = descend(plain, *load("train"))
    x, y = load("held out")
    with np.load(options.weights) as found:
        secure = found["vector"], found["bias"]
    scores = {"auc": x @ secure[0] + secure[1], "plaintext_auc": x @ plain[0] + plain[1]}
    result = {name: round(float(roc_auc_score(y, s)), 6) for name, s in scores.items()}
    result["max_abs_weight_error"] = float(max(np.max(np.abs(secure[0] - plain[0])), abs(secure[1] - plain[1])))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
