"""scikit-learn's digits: 8x8 images, split once and for all into a training and a held-out part."""

import numpy as np

HELD_OUT = 450


def load(part: str):
    """("train" | "held out") -> images [n, 8, 8, 1] float32 in [0, 1], labels [n]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    rows = order[:HELD_OUT] if part == "held out" else order[HELD_OUT:]
    return (digits.images[rows, :, :, None] / 16).astype(np.float32), digits.target[rows]
