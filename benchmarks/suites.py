"""The suites of benchmarks/run.py: kernels, links, numeric functions and end-to-end cases, beside their references."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import calls
import cases
import jax
import jax.numpy as jnp
import kernels
import links
import numpy as np
import sockets
from measuring import Benchmark, Result, in_turn, least

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.cluster.certificates import throwaway
from mpcrt.ring import compiled, reference
from mpcrt.runtime.bench import run_bench

COUNT = 20_000
ROWS = (200, 100)


def ring_kernels() -> Iterator[Benchmark]:
    """One thread's processor time beside NumPy's; bit for bit the same results."""
    compiled.threads = 1
    compiled.keep_memory()
    for name, (_, call) in {**kernels.products(), **kernels.streams()}.items():

        def measure(name: str = name, call: Callable = call) -> Result:
            ours, theirs = in_turn([lambda: call(compiled), lambda: call(reference)], 0.3, time.thread_time)
            return Result(f"kernel {name}", ours, theirs, "NumPy")

        yield Benchmark(f"kernel {name}", measure)


def link_costs() -> Iterator[Benchmark]:
    """ZeroMQ links beside plain TCP sockets, round trips of 64 bytes and buffers of 1 MiB."""
    with tempfile.TemporaryDirectory() as folder:
        throwaway(["alice", "bob"], Path(folder))
        for tls in (False, True):
            where = folder if tls else ""

            def trip(where: str = where, tls: bool = tls) -> Result:
                raw, _ = sockets.measure(8)
                ours = links.measure(where, 2000, 0.05)["round_trip_us_best"] * 1e-6
                return Result(f"link round trip{' TLS' * tls}", ours, raw, "TCP")

            def carry(where: str = where, tls: bool = tls) -> Result:
                _, raw = sockets.measure()
                ours = links.CHUNK / links.measure(where, 80, 2.0)["gigabytes_per_second_best"] * 1e-9
                return Result(f"link transfer{' TLS' * tls}", ours, raw, "TCP")

            yield Benchmark(f"link round trip{' TLS' * tls}", trip)
            yield Benchmark(f"link transfer{' TLS' * tls}", carry)


def uniform(low: float, high: float, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape or (COUNT,)).astype(np.float32)


FUNCTIONS: dict[str, tuple[Callable, Sequence[np.ndarray]]] = {
    "add": (lambda x, y: x + y, [uniform(-4, 4), uniform(-4, 4, seed=1)]),
    "mul": (lambda x, y: x * y, [uniform(-4, 4), uniform(-4, 4, seed=1)]),
    "div": (lambda x, y: x / y, [uniform(-4, 4), uniform(0.5, 4, seed=1)]),
    "less": (lambda x, y: x < y, [uniform(-4, 4), uniform(-4, 4, seed=1)]),
    "equal": (lambda x, y: x == y, [np.arange(COUNT, dtype=np.int32), np.arange(COUNT, dtype=np.int32)[::-1].copy()]),
    "where": (lambda x, y: jnp.where(x > 0, x, y), [uniform(-4, 4), uniform(-4, 4, seed=1)]),
    "relu": (jax.nn.relu, [uniform(-4, 4)]),
    "abs": (jnp.abs, [uniform(-4, 4)]),
    "exp": (jnp.exp, [uniform(-8, 0)]),
    "log": (jnp.log, [uniform(0.1, 50)]),
    "reciprocal": (lambda x: 1 / x, [uniform(0.5, 50)]),
    "sqrt": (jnp.sqrt, [uniform(0.1, 50)]),
    "rsqrt": (jax.lax.rsqrt, [uniform(0.1, 50)]),
    "sigmoid": (jax.nn.sigmoid, [uniform(-6, 6)]),
    "tanh": (jnp.tanh, [uniform(-4, 4)]),
    "erf": (jax.lax.erf, [uniform(-3, 3)]),
    "gelu": (jax.nn.gelu, [uniform(-4, 4)]),
    "softmax": (lambda x: jax.nn.softmax(x, axis=-1), [uniform(-4, 4, *ROWS)]),
    "max": (lambda x: x.max(-1), [uniform(-4, 4, *ROWS)]),
    "argmax": (lambda x: x.argmax(-1), [uniform(-4, 4, *ROWS)]),
    "sum": (lambda x: x.sum(-1), [uniform(-4, 4, *ROWS)]),
    "sort": (jnp.sort, [uniform(-4, 4, 2000)]),
    "matmul": (lambda x, y: x @ y, [uniform(-1, 1, 128, 128), uniform(-1, 1, 128, 128, seed=1)]),
}


def numeric_functions() -> Iterator[Benchmark]:
    """Each function on shares, from NumPy arrays to NumPy arrays through resident processes, beside plain JAX."""
    with mpcrt.LocalCluster(tls="off") as cluster:
        for name, (function, arguments) in FUNCTIONS.items():

            def measure(name: str = name, function: Callable = function, arguments: Sequence = arguments) -> Result:
                secure, plain = cluster.secure(function), jax.jit(function)
                close(name, secure(*arguments), plain(*arguments))
                before = cluster.statistics
                secure(*arguments)
                cost = cluster.statistics - before
                ours = least(lambda: secure(*arguments), 0.6, most=30)
                theirs = least(lambda: jax.block_until_ready(plain(*arguments)), 0.2, most=5000)
                counts = {"rounds": cost.rounds, "party bytes": cost.party_bytes, "dealer bytes": cost.dealer_bytes}
                return Result(f"function {name}", ours, theirs, "JAX", counts)

            yield Benchmark(f"function {name}", measure)


def close(name: str, ours: Any, theirs: Any) -> None:
    """A benchmark of wrong results is none."""
    error = float(np.max(np.abs(np.asarray(ours, float) - np.asarray(theirs, float))))
    if error > 1e-2:
        raise SystemExit(f"{name} is wrong by {error:.2g}")


class _Row:
    """Takes the one row of a case."""

    found: dict

    def case(self, name: str) -> None:
        self.name = name

    def repetition(self, done: int) -> None:
        pass

    def row(self, row: dict) -> None:
        self.found = row

    def failed(self, name: str, said: Sequence[str]) -> None:
        raise SystemExit("\n".join([*said, f"case {name} failed"]))


def end_to_end() -> Iterator[Benchmark]:
    """The cases as `mpcrt bench` measures them, two parties on plaintext links, beside plain JAX in this process."""
    config = configs.local(2, tls="off")
    for name, make in cases.C.items():

        def measure(name: str = name, make: Callable = make) -> Result:
            function, arguments = make()
            plain = jax.jit(function)
            taken = _Row()
            run_bench(Path(cases.__file__), [name], config, taken, reps=5)
            theirs = least(lambda: jax.block_until_ready(plain(*arguments)), 0.4, most=5000)
            keys = {"rounds": "rounds", "party_bytes": "party bytes", "dealer_bytes": "dealer bytes"}
            counts = {shown: taken.found[key] for key, shown in keys.items()}
            return Result(f"case {name}", min(taken.found["seconds"]), theirs, "JAX", counts)

        yield Benchmark(f"case {name}", measure)


def call_costs() -> Iterator[Benchmark]:
    """A cached call of a small function, beside its rounds alone."""

    def measure() -> Result:
        found = calls.measure(400)
        return Result("cached call", found["call"]["best"] * 1e-6, found["rounds"]["best"] * 1e-6, "rounds")

    yield Benchmark("cached call", measure)


SUITES: dict[str, Callable[[], Iterator[Benchmark]]] = {
    "kernels": ring_kernels,
    "links": link_costs,
    "calls": call_costs,
    "functions": numeric_functions,
    "cases": end_to_end,
}
