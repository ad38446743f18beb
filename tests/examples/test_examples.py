"""Every example, run as a user would: separate processes on free ports, compared with plaintext JAX."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def run(cluster: pathlib.Path, program: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mpcrt", "run", str(cluster), str(EXAMPLES / program), "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def script(program: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout


def test_digits(two_parties, tmp_path):
    model, found = str(tmp_path / "alice" / "model.npz"), str(tmp_path / "bob" / "predictions.npz")
    script("digits/train.py", "--out", model)
    done = run(two_parties, "digits/predict.py", "--model", model, "--out", found)
    assert "bob learned the scores of 450 images" in done.stdout
    result = json.loads(script("digits/evaluate.py", "--model", model, "--predictions", found).splitlines()[-1])
    assert result["rows"] == 450
    assert result["agreement"] >= 0.999 and result["accuracy"] >= 0.95
    assert result["max_abs_error"] <= 1e-3
    assert min(result["rounds"], result["party_bytes"], result["dealer_bytes"]) > 0


def test_breast_cancer(two_parties, tmp_path):
    weights = str(tmp_path / "weights.npz")
    run(two_parties, "breast_cancer/train.py", "--out", weights)
    result = json.loads(script("breast_cancer/evaluate.py", "--weights", weights).splitlines()[-1])
    assert abs(result["auc"] - result["plaintext_auc"]) <= 0.005 and result["plaintext_auc"] > 0.98
    # 30 steps, each within a few 2^-18 on every weight.
    assert result["max_abs_weight_error"] <= 5e-3


@pytest.mark.parametrize("program", ["frameworks/flax_digits.py", "frameworks/keras_digits.py"])
def test_frameworks(two_parties, tmp_path, program):
    scores = tmp_path / "scores.npz"
    run(two_parties, program, "--out", str(scores))
    name = program.split("/")[1].removesuffix(".py")
    plain = script_value(name)
    with np.load(scores) as found:
        # Sums of under 600 products of values near 1, each off by at most 2^-17: 1e-3 leaves a factor of five.
        assert np.max(np.abs(found["scores"] - plain)) <= 1e-3


def script_value(name: str) -> np.ndarray:
    """plaintext() of a framework example, from a process of its own."""
    code = f"import {name}, json, numpy as np; print(json.dumps(np.asarray({name}.plaintext()).tolist()))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLES / "frameworks", capture_output=True, text=True, check=True
    )
    return np.array(json.loads(done.stdout.splitlines()[-1]))


def test_mean_salary(three_parties):
    done = run(three_parties, "mean_salary.py")
    assert "mean salary: 4694\n" in done.stdout
