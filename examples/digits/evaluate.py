"""After the run, a referee who may see both sides compares bob's scores with plaintext inference; prints one JSON line.

python examples/digits/evaluate.py --model model.npz --predictions predictions.npz
"""

import argparse
import json

import numpy as np
from data import load
from network import logits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--predictions", required=True)
    options = parser.parse_args()
    with np.load(options.model) as model, np.load(options.predictions) as found:
        images, labels = load("held out")
        plain = np.asarray(logits(dict(model), images))
        scores = found["scores"]
        result = dict(
            rows=len(scores),
            accuracy=float(np.mean(scores.argmax(1) == labels)),
            plaintext_accuracy=float(np.mean(plain.argmax(1) == labels)),
            agreement=float(np.mean(scores.argmax(1) == plain.argmax(1))),
            max_abs_error=float(np.max(np.abs(scores - plain))),
            seconds=round(float(found["seconds"]), 4),
            rounds=int(found["rounds"]),
            party_bytes=int(found["party_bytes"]),
            dealer_bytes=int(found["dealer_bytes"]),
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
