"""A soak: many calls in one resident run of two parties and a dealer, with memory and descriptors of each process.

    python benchmarks/soak.py [--calls 1000] [--svg docs/soak.svg]

Prints one JSON object: for each process the resident memory (MB) half way and at the end, what it grew by
in a thousand calls (least squares over the second half), and descriptors and threads likewise. The file is also the
program of the run: a layer, a comparison and a table function on 64 rows a call, revealed to bob, who checks them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import mpcrt
from mpcrt.cluster import config as configs
from mpcrt.cluster.sockets import close_all, free_ports_cluster

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")
ROOT = Path(__file__).resolve().parents[1]
PARTIES = ("alice", "bob", "dealer")


@alice
def weights():
    return np.random.default_rng(1).normal(0, 0.2, (32, 16)).astype(np.float32)


@bob
def rows(call):
    return np.random.default_rng(call).normal(0, 1, (64, 32)).astype(np.float32)


@spu
def predict(w, x):
    import jax

    return jax.nn.sigmoid(jax.nn.relu(x @ w))


@bob
def check(y, call):
    expected = 1 / (1 + np.exp(-np.maximum(rows.function(call) @ weights.function(), 0)))
    assert np.abs(y - expected).max() < 1e-3
    print(f"call {call}", flush=True)


def main(arguments):
    """What each party runs."""
    w = weights().to(spu)
    for call in range(int(arguments[0])):
        check(predict(w, rows(call)).to(bob), call)


def processes(parent: int) -> dict[str, int]:
    """The process ids of the parties that `parent` started."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and "--party" in words:
            found[words[words.index("--party") + 1]] = int(pid)
    return found


def sample(pid: int) -> tuple[float, int, int]:
    """Resident memory in MB, open descriptors, threads."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) / 1024, len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"])


def measure(calls: int) -> dict[str, list[tuple[int, float, int, int]]]:
    """Run the program and sample each process: (calls done, MB, descriptors, threads)."""
    config, sockets = free_ports_cluster(configs.load(ROOT / "cluster_configs" / "two_party.yaml"))
    close_all(sockets)
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cluster.yaml"
        file.write_text(config.to_yaml())
        command = [sys.executable, "-P", "-m", "mpcrt", "run", str(file), __file__, "--", str(calls)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        return watched(child, calls)


def watched(child: subprocess.Popen[str], calls: int) -> dict[str, list[tuple[int, float, int, int]]]:
    """Sample the children of `child` until it ends."""
    done, said = [0], []
    assert child.stdout is not None and child.stderr is not None

    def count() -> None:
        for line in child.stdout or ():
            done[0] += line.startswith("call ")

    readers = [threading.Thread(target=count), threading.Thread(target=lambda: said.extend(child.stderr or ()))]
    for reader in readers:
        reader.start()
    samples: dict[str, list[tuple[int, float, int, int]]] = {name: [] for name in PARTIES}
    while child.poll() is None:
        for name, pid in processes(child.pid).items():
            try:
                samples[name].append((done[0], *sample(pid)))
            except (OSError, KeyError):
                continue
        time.sleep(0.1)
    for reader in readers:
        reader.join()
    if child.returncode or done[0] != calls:
        sys.exit(f"the run ended with {child.returncode} after {done[0]} calls: {said[-1] if said else ''}")
    return samples


def summary(samples: dict[str, list[tuple[int, float, int, int]]], calls: int) -> dict[str, dict[str, float]]:
    """What grew."""
    result = {}
    for name, rows_ in samples.items():
        table = np.array([row for row in rows_ if calls / 2 <= row[0] < calls], float)
        slope = np.polyfit(table[:, 0], table[:, 1], 1)[0] * 1000
        result[name] = {
            "mb_half_way": round(table[0, 1], 1), "mb_at_the_end": round(table[-1, 1], 1),
            "mb_per_1000_calls": round(slope, 2), "descriptors": [int(table[0, 2]), int(table[-1, 2])],
            "threads": [int(table[0, 3]), int(table[-1, 3])],
        }  # fmt: skip
    return result


def svg(samples: dict[str, list[tuple[int, float, int, int]]], calls: int) -> str:
    """Memory and descriptors over calls, one line a process."""
    import charts  # beside this file, which parties run as their program

    width, height, left, gap = 720, 200, 60, 70

    def panel(column: int, title: str, top: int) -> list[str]:
        most = max(row[column] for rows_ in samples.values() for row in rows_) * 1.1
        parts = [charts.text(left, top - 8, title, "start", bold=True)]
        for share in (0.0, 0.5, 1.0):
            y = top + height * (1 - share)
            parts += [charts.rule(left, left + width, y, y), charts.text(left - 6, y + 4, f"{most * share:.0f}", "end")]
            parts.append(charts.text(left + width * share, top + height + 16, f"{calls * share:.0f}", "middle"))
        for place, ((name, rows_), colour) in enumerate(zip(samples.items(), charts.COLOURS, strict=False)):
            points = [
                (left + width * row[0] / calls, top + height * (1 - row[column] / most)) for row in rows_ if row[0]
            ]
            parts.append(charts.polyline(points, colour))
            parts.append(charts.text(left + width - 90 * (len(samples) - place), top - 8, name, "start", colour))
        return parts

    body = panel(1, "resident memory, MB, over calls", 30) + panel(2, "open descriptors, over calls", 30 + height + gap)
    return charts.page(left + width + 20, 30 + 2 * height + gap + 30, body)


def soak() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    start = time.monotonic()
    samples = measure(options.calls)
    print(
        json.dumps(
            {"calls": options.calls, "seconds": round(time.monotonic() - start, 1)} | summary(samples, options.calls)
        )
    )
    if options.svg:
        options.svg.write_text(svg(samples, options.calls))


if __name__ == "__main__":
    soak()
