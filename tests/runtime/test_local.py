"""LocalCluster: secure functions of a notebook on real local processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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
        assert cluster._started is not None
        run = cluster._started.run
        for name in run.names:
            assert not any("jax" in lib for lib in loaded(run.processes.pid(name))), f"{name} has loaded JAX"
        pids = [run.processes.pid(name) for name in run.names]
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def test_errors_say_what_to_do_and_a_killed_child_is_named():
    x = np.ones(3, np.float32)
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        cluster.secure(lambda x: x * 2)(x)
        assert cluster._started is not None
        run = cluster._started.run
        os.kill(run.processes.pid("bob"), signal.SIGKILL)
        with pytest.raises((PeerLost, mpcrt.MpcrtError), match="bob"):
            for _ in range(3):
                cluster.secure(lambda x: x * 2)(x)


def test_a_call_that_fails_before_anything_is_shared_leaves_the_cluster_usable():
    x = np.ones(3, np.float32)
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        twice = cluster.secure(lambda x: x * 2)
        for wrong, error, message in [
            (lambda: twice(np.array([1.0, np.nan])), InputError, r"argument 0.*NaN"),
            (lambda: twice(np.array([1e30])), InputError, r"argument 0.*magnitude"),
            (lambda: cluster.secure(lambda x, y: x @ y)(x, np.ones(4, np.float32)), TraceError, "same shape"),
            (lambda: cluster.secure(lambda x: x if x[0] > 0 else -x)(x), TraceError, "TracerBoolConversionError"),
            (lambda: twice({"name": "x"}), UsageError, "no array"),
            (lambda: twice(x, x), TraceError, "positional"),
        ]:
            with pytest.raises(error, match=message):
                wrong()
            np.testing.assert_allclose(twice(x), 2 * x, atol=STEP)
        cluster.secure(lambda x: x * x)(x)
        assert cluster.statistics.rounds > 0


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


def double(cluster):
    return cluster.secure(lambda x: x * 2)(np.ones(3, np.float32))


def pids_of(cluster):
    return [cluster._started.run.processes.pid(name) for name in cluster.config.names]


def gone(pids, seconds=20.0):
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.05)
    return []


def test_a_dropped_cluster_ends_its_processes_and_says_so():
    cluster = mpcrt.LocalCluster(parties=2, tls="off")
    double(cluster)
    pids, scratch, engine = pids_of(cluster), cluster._started.run.file.parent, cluster._started.engine
    with pytest.warns(ResourceWarning, match=r"dropped without close\(\)"):
        del cluster
    assert not gone(pids) and not scratch.exists()
    engine.thread.join(20)
    assert not engine.thread.is_alive() and engine.link._closed


def test_a_cluster_that_was_closed_or_has_failed_says_which_call_ended_it():
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        double(cluster)
    with pytest.raises(UsageError, match=r"this LocalCluster is closed; make another one"):
        double(cluster)
    with pytest.raises(UsageError, match="closed"):
        cluster.run("any.py")
    never = mpcrt.LocalCluster(parties=2)
    never.close()
    with pytest.raises(UsageError, match="closed"):
        _ = never.statistics
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        double(cluster)
        os.kill(pids_of(cluster)[1], signal.SIGKILL)
        with pytest.raises(mpcrt.MpcrtError, match="bob"):
            for _ in range(3):
                cluster.secure(layer)(np.ones(3, np.float32))
        with pytest.raises(UsageError, match=r"ended (in call \d, layer\(\)|between calls): bob.* make another"):
            double(cluster)
    with pytest.raises(UsageError, match=r"closed \(it ended (in call \d, layer\(\)|between calls)\)"):
        double(cluster)


def layer(x):
    return jnp.maximum(x, 0)


def long_work(x):
    for _ in range(60):
        x = x @ x
    return x


def test_an_interrupted_call_cancels_the_work_and_closes_soon():
    cluster = mpcrt.LocalCluster(parties=2, tls="off")
    double(cluster)
    pids = pids_of(cluster)
    timer = threading.Timer(3.0, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            cluster.secure(long_work)(np.zeros((1000, 1000), np.float32))
    finally:
        timer.cancel()
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"ended in call 2, long_work\(\): interrupted by KeyboardInterrupt"):
        double(cluster)
    cluster.close()
    assert time.monotonic() - began < 5
    assert not gone(pids, 0.0)


class Unwilling:
    """A pytree that cannot be put together again."""


def unflatten(_, children):
    raise RuntimeError("unwilling")


jax.tree_util.register_pytree_node(Unwilling, lambda _: ((np.ones(3, np.float32),), None), unflatten)


class Worse:
    """A pytree that cannot be taken apart."""


jax.tree_util.register_pytree_node(Worse, lambda node: unflatten(None, ()), unflatten)


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("nothing can be said of it")


def unspeakable(x):
    raise Unspeakable


def test_what_a_program_raises_where_arguments_are_handled_is_an_error_of_that_call():
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        for bad in (Unwilling(), Worse(), {1: np.ones(1), "a": np.ones(1)}):
            with pytest.raises(UserFunctionError):
                cluster.secure(lambda x: x)(bad)
            np.testing.assert_allclose(double(cluster), np.full(3, 2.0), atol=STEP)
        with pytest.raises(UserFunctionError, match="before anything of it was shared: RuntimeError"):
            cluster.secure(unspeakable)(np.ones(3))
        np.testing.assert_allclose(double(cluster), np.full(3, 2.0), atol=STEP)


def test_a_call_within_a_call_does_not_wait_for_itself():
    x = np.ones(3, np.float32)
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        inner = cluster.secure(lambda x: x * 2)
        np.testing.assert_allclose(cluster.secure(lambda x: inner(x) + 1)(x), np.full(3, 3.0), atol=2 * STEP)
        with pytest.raises(UsageError, match="statistics is called within a call of the same LocalCluster"):
            cluster.secure(lambda x: cluster.statistics and x)(x)
        said = []

        def handler(number, frame):
            with pytest.raises(UsageError, match="within a call") as caught:
                inner(x)
            said.append(caught.value)
            cluster.close()

        def slow(x):
            while not said:
                time.sleep(0.01)
            return x

        before = signal.signal(signal.SIGUSR1, handler)
        try:
            main = threading.get_ident()
            threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGUSR1)).start()
            with pytest.raises(UsageError, match="closed while a call ran"):
                cluster.secure(slow)(x)
        finally:
            signal.signal(signal.SIGUSR1, before)
        with pytest.raises(UsageError, match="is closed"):
            inner(x)


def test_a_cluster_whose_parties_are_still_starting_can_be_cancelled_and_closed():
    """As by an interrupt in its first call: the engine still tells the others why it leaves when the link is closed."""
    cluster = mpcrt.LocalCluster(parties=2, tls="off")
    cluster.start()
    assert cluster._started is not None
    cluster._started.cancel("enough")
    time.sleep(0.3)
    before = time.monotonic()
    cluster.close()
    assert time.monotonic() - before < 5


def test_an_interrupt_while_a_cluster_starts_leaves_no_engine_behind(monkeypatch):
    engines = lambda: [t for t in threading.enumerate() if t.name == "mpcrt engine"]  # noqa: E731
    before = engines()

    def interrupted(*args, name="", thread=threading.Thread, **more):
        if name == "mpcrt children":  # made once the engine runs
            raise KeyboardInterrupt
        return thread(*args, name=name or None, **more)

    cluster = mpcrt.LocalCluster(parties=2, tls="off")
    with monkeypatch.context() as patch:
        patch.setattr("mpcrt.runtime.local.threading.Thread", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cluster.start()
    deadline = time.monotonic() + 5
    while engines() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engines() == before
    cluster.close()


def test_close_in_another_thread_ends_a_call():
    cluster, caught = mpcrt.LocalCluster(parties=2, tls="off"), []

    def work():
        try:
            double(cluster)
            cluster.secure(long_work)(np.zeros((1000, 1000), np.float32))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while cluster._calls < 2:
        time.sleep(0.05)
    time.sleep(1)
    cluster.close()
    thread.join(20)
    assert len(caught) == 1 and isinstance(caught[0], UsageError) and "closed while a call ran" in str(caught[0])


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_leaves_the_cluster_of_its_parent_alone():
    with mpcrt.LocalCluster(parties=2, tls="off") as cluster:
        double(cluster)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            said = b"nothing"
            try:
                double(cluster)
            except UsageError as error:
                said = str(error).encode()
            finally:
                cluster.close()
                cluster._finalizer()  # as at the end of an interpreter
                os.write(write, said)
                os._exit(0)
        os.close(write)
        assert f"belongs to process {os.getpid()}, from which this one was forked" in os.read(read, 1000).decode()
        os.waitpid(child, 0)
        os.close(read)
        np.testing.assert_allclose(double(cluster), np.full(3, 2.0), atol=STEP)


NOTEBOOK = """
import linecache, sys
import mpcrt

def cell(number, text):
    name = f"<cell {number}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), globals())

cell(1, '''
import numpy as np
from functools import reduce
import jax.numpy as jnp
alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
SCALE = 2.0
data = np.ones(3, np.float32)
''')
cell(2, '''
def half(x):
    return x / 2

@bob
def rows():
    return np.arange(3, dtype=np.float32) * reduce(max, [1, 2])

@spu
def scaled(x):
    return jnp.maximum(half(x) * SCALE, 1)

def shown(y):
    print("learnt", y.tolist(), flush=True)

show = alice(shown)

def program():
    show(scaled(rows()).to(alice))

def uses_data():
    alice(lambda: data)()
''')
if __name__ == "__main__":
    cluster = mpcrt.LocalCluster(parties=2, tls="off")
    cluster.run(program)
    for wrong in (uses_data, lambda: None):
        try:
            cluster.run(wrong)
        except mpcrt.UsageError as error:
            print("refused:", error)
"""


def test_a_function_of_a_notebook_runs_as_a_program(tmp_path):
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    environment = dict(os.environ) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, tmp_path / "notebook.py"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert "learnt [1.0, 2.0, 4.0]" in ended.stdout
    assert "the program uses data, a ndarray of this process" in ended.stdout
    assert "<lambda> is no function with a name of its own" in ended.stdout and "%%writefile" in ended.stdout
