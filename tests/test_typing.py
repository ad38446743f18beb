"""What type checkers make of programs: pyright on a small one, whose wrong lines say so."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")


@alice
def load(path: str, *, rows: int = 3) -> dict[str, np.ndarray]:
    return {"w": np.ones(rows)}


@bob
def report(y, title="scores"):
    print(title, y)


@spu
def predict(params, x: Any, scale: float = 1.0) -> jax.Array:
    return x @ params["w"] * scale


@spu(static_argnums=1, static_argnames="mode")
def power(x, n: int, mode: str = "exact") -> jax.Array:
    return x**n


@spu
def both(params, x) -> jax.Array:
    return predict.function(params, x) + jnp.ones(3)


def main() -> None:
    version: str = mpcrt.__version__
    params, x = load("a.npz", rows=2), bob(np.ones)(3)
    y = predict(params["w"], x, scale=2.0)
    report(y.to(bob), title=version)
    first, second = power(y, 2, mode="exact").to("alice", bob)
    print(first.shape, second.dtype.name, y.placement, len(y))
    shown = both(params, x).to(mpcrt.public)
    print(float(shown), shown.sum(), np.asarray(shown), shown + 1)
    assert load.function("here")["w"].sum() and bob(load.function)("there").shape
    load()  # error
    load(3)  # error
    load("a.npz", row=2)  # error
    load("a.npz", 2)  # error
    report()  # error
    report(y, titel="?")  # error
    predict(params)  # error
    predict(params, x, scale="2")  # error
    power(y, n="2")  # error
    params.keys()  # error
    y.sum()  # error
    y.too(bob)  # error
    y + 1  # error
    y.to(3)  # error
    y.shape.sum()  # error
    alice(3)  # error
    spu(predict, static_argnum=1)  # error
    mpcrt.partys("alice")  # error


def notebook() -> None:
    with mpcrt.LocalCluster(parties=2) as cluster:
        secure = cluster.secure(power.function, static_argnames=("mode",))
        print(secure(np.ones(3), 2, mode="exact").sum())
        secure(np.ones(3))  # error
        secure(np.ones(3), 2, mod="exact")  # error
        cluster.secures(power)  # error
"""


def test_a_wrong_method_or_argument_fails_pyright_and_nothing_else_does(tmp_path):
    pytest.importorskip("pyright")
    (tmp_path / "program.py").write_text(PROGRAM)
    settings = {"extraPaths": [str(ROOT)], "include": ["program.py"], "typeCheckingMode": "basic"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=200)
    found = json.loads(made.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    ignored = ("reportUnusedExpression", "reportUnusedCoroutine")
    said = {
        d["range"]["start"]["line"] + 1: d["message"]
        for d in found["generalDiagnostics"]
        if d.get("rule") not in ignored and d["severity"] == "error"
    }
    wrong = {n for n, line in enumerate(PROGRAM.splitlines(), 1) if re.search(r"# error$", line)}
    assert len(wrong) == 21 and set(said) == wrong, {n: said.get(n, "no error") for n in set(said) ^ wrong}


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "mpcrt" / "py.typed").is_file()
