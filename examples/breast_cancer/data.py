"""scikit-learn's breast cancer set, standardised with public ranges, split once and for all."""

import numpy as np

HELD_OUT = 150


def load(part: str):
    """("train" | "held out") -> features [n, 30] float32 of about unit scale, labels [n] float32 of 0 and 1."""
    from sklearn.datasets import load_breast_cancer

    cancer = load_breast_cancer()
    order = np.random.default_rng(0).permutation(len(cancer.target))
    rows = order[:HELD_OUT] if part == "held out" else order[HELD_OUT:]
    # Each company standardises its own columns with its own statistics; no row leaves it for that.
    known = cancer.data[order[HELD_OUT:]]
    scaled = (cancer.data[rows] - known.mean(0)) / known.std(0)
    return scaled.astype(np.float32), cancer.target[rows].astype(np.float32)
