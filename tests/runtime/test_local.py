"""LocalCluster: secure functions of a notebook on real local processes."""

import contextlib
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mpcrt
from mpcrt.errors import InputError, PeerLost, TraceError, UsageError, UserFunctionError

STEP = 2.0**-17


def loaded(pid: int) -> set[str]:
    """The shared libraries of a process."""
    with open(f"/proc/{pid}/maps") as file:
        return {line.split("/")[-1].strip() for line in file if ".so" in line}


@pytest.mark.parametrize("parties", [2, 3])
def test_secure_functions_with_lambdas_closures_and_gradients(parties):
    scale = 3.0
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    p = {"w": np.ones((3, 2), np.float32), "b": (np.float32(0.5), None)}
    with mpcrt.LocalCluster(parties=parties, tls="off" if parties == 3 else None) as cluster:
        function = lambda p, x: {"y": jnp.maximum(x @ p["w"] * scale + p["b"][0], 0), "s": (x.sum(), None)}  # noqa: E731
        got, want = cluster.secure(function)(p, x), function(p, x)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            assert isinstance(g, np.ndarray) and (g.shape, g.dtype) == (w.shape, w.dtype)
            # Three inputs off by half a unit of 2^-18 and a truncation, times 3, and one more; twelve inputs summed: 6.
            np.testing.assert_allclose(g, w, atol=9 * 2**-18)
        gradient = jax.grad(lambda w, x: jnp.sum((x @ w) ** 2))
        # Two contractions of at most four terms below 8, each off by up to 2^-17 at input: 4 * 8 * 2 * 2^-17 = 2^-11.
        np.testing.assert_allclose(cluster.secure(gradient)(p["w"], x), gradient(p["w"], x), atol=2**-11)
        np.testing.assert_allclose(cluster.secure(lambda x, n: x[:n] * n, static_argnums=1)(x, 2), x[:2] * 2, atol=STEP)
        cost = cluster.statistics
        assert cost.rounds > 0 and cost.party_bytes > 0 and cost.dealer_bytes > 0
        run = cluster._run
        assert run is not None
        for name in run.names:
            assert not any("jax" in lib for lib in loaded(run.processes.pid(name))), f"{name} has loaded JAX"
        pids = [run.processes.pid(name) for name in run.names]
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_errors_say_what_to_do_and_a_killed_child_is_named():
    x = np.ones(3, np.float32)
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster, pytest.raises(InputError, match=r"argument 0.*NaN"):
        cluster.secure(lambda x: x * 2)(np.array([1.0, np.nan]))
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        cluster.secure(lambda x: x * 2)(x)
        run = cluster._run
        assert run is not None
        os.kill(run.processes.pid("bob"), signal.SIGKILL)
        with pytest.raises((PeerLost, mpcrt.MpcrtError), match="bob"):
            for _ in range(3):
                cluster.secure(lambda x: x * 2)(x)
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster, pytest.raises(TraceError, match="same shape"):
        cluster.secure(lambda x, y: x @ y)(x, np.ones(4, np.float32))


def test_run_takes_files_and_module_level_functions(tmp_path, monkeypatch):
    body = "import mpcrt\ndef main():\n    mpcrt.party('alice')(print)('from', {!r})\n"
    (tmp_path / "cluster_program.py").write_text(body.format("main") + "def other():\n    raise ValueError(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import cluster_program  # type: ignore[import-not-found]

    with contextlib.closing(mpcrt.LocalCluster(parties=2, tls="off")) as cluster:
        cluster.run(tmp_path / "cluster_program.py")
        with pytest.raises(UserFunctionError, match="ValueError"):
            cluster.run(cluster_program.other)
        with pytest.raises(UsageError, match="save it to a file"):
            cluster.run(lambda: None)
        with pytest.raises(UsageError, match="no such program"):
            cluster.run(tmp_path / "missing.py")
