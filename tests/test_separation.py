"""Separation, shown: who needs which file, what a process sends and receives, what differing constants do."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from clusters import cluster_file

from mpcrt.transport.link import Kind

PROGRAMS = pathlib.Path(__file__).parent / "programs"
EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
RUNS = 60
# Bytes are uniform if chi-square over 256 values (255 degrees of freedom, standard deviation 22.6) stays below
# 255 + 6.5 standard deviations; a false alarm has probability under 1e-8 a test, and there are under 100 of them.
CHI_SQUARE_BOUND = 255 + 6.5 * np.sqrt(2 * 255)


def start(cluster, party, program=None, *arguments, cwd=None):
    command = [sys.executable, "-m", "mpcrt", "run", str(cluster)]
    command += [str(program)] if program else []
    command += ["--party", party, *(["--", *arguments] if arguments else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


def finish(processes, timeout=200):
    """{party: (exit code, stdout, stderr)}; nothing is left running."""
    try:
        ended = {party: (p.communicate(timeout=timeout), p) for party, p in processes.items()}
        return {party: (p.returncode, *texts) for party, (texts, p) in ended.items()}
    finally:
        for p in processes.values():
            p.kill()
            p.communicate()


def test_only_the_owner_needs_the_file(two_parties, tmp_path):
    homes = {party: tmp_path / f"at {party}" for party in ("alice", "bob", "dealer")}
    for home in homes.values():
        home.mkdir()
    rng = np.random.default_rng(0)
    shapes = dict(
        filters=(3, 3, 1, 16), filter_bias=(16,), hidden=(256, 64), hidden_bias=(64,), out=(64, 10), out_bias=(10,)
    )
    np.savez(homes["alice"] / "model.npz", **{k: rng.normal(size=s).astype(np.float32) / 8 for k, s in shapes.items()})
    program = EXAMPLES / "digits" / "predict.py"
    options = ("--model", "model.npz", "--out", "found/predictions.npz")
    processes = {p: start(two_parties, p, program, *options, cwd=homes[p]) for p in ("alice", "bob")}
    processes["dealer"] = start(two_parties, "dealer", cwd=homes["dealer"])
    for party, (code, _, stderr) in finish(processes).items():
        assert code == 0, f"{party}: {stderr[-2000:]}"
    files = {p: sorted(str(f.relative_to(h)) for f in h.rglob("*") if f.is_file()) for p, h in homes.items()}
    assert files == {"alice": ["model.npz"], "bob": ["found/predictions.npz"], "dealer": []}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """What alice and bob saw over RUNS calls with fixed inputs: {party: [(direction, peer, kind, step, array)]}."""
    folder = tmp_path_factory.mktemp("records")
    cluster = cluster_file(folder, 2)
    command = [
        sys.executable,
        "-m",
        "mpcrt",
        "run",
        str(cluster),
        str(PROGRAMS / "recorded.py"),
        "--",
        str(RUNS),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for path in folder.glob("*.npz"):
        with np.load(path) as file:
            keys = sorted(file.files, key=lambda k: int(k.split("|")[0]))
            split = [(*k.split("|")[1:3], *map(int, k.split("|")[3:]), file[k]) for k in keys]
        found[path.name.split(".")[0]] = split
    assert set(found) == {"alice", "bob"}
    return found


def chi_square(data: bytes) -> float:
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = counts.sum() / 256
    return float(((counts - expected) ** 2 / expected).sum())


MASKED = (Kind.INPUT, Kind.OPEN, Kind.DEAL, Kind.REVEAL)


def test_masked_values_are_uniform(records):
    """Every buffer of masked values, at each position of the protocol, over runs with the same inputs."""
    checked = 0
    for party, rows in records.items():
        groups: dict[tuple, list[bytes]] = {}
        for direction, peer, kind, step, array in rows:
            if kind in MASKED:
                groups.setdefault((direction, peer, kind, step, array.size), []).append(array.tobytes())
        for key, blobs in groups.items():
            data = b"".join(blobs)
            if len(data) < 256 * 20:
                continue
            checked += 1
            statistic = chi_square(data)
            assert statistic < CHI_SQUARE_BOUND, f"{party} {key}: chi-square {statistic:.0f} of {len(data)} bytes"
            # The same position masked the same value RUNS times: no two buffers may agree.
            assert len(set(blobs)) == len(blobs), f"{party} {key}: a mask was used twice"
    assert checked >= 8


def test_no_plaintext_leaf_occurs(records):
    x, w = np.linspace(-3, 3, 96).astype(np.float32), np.linspace(1, 2, 96).astype(np.float32)
    forms = []
    for leaf in (x, w, np.maximum(x * w, 0)):
        encoded = np.round(leaf.astype(np.float64) * 2**18).astype(np.int64)
        forms += [
            leaf.tobytes(),
            leaf.astype(np.float64).tobytes(),
            encoded.tobytes(),
            encoded.astype(np.int32).tobytes(),
        ]
    # Eight neighbouring elements of any form would give a leaf away.
    needles = [form[i * len(form) // 96 : (i + 8) * len(form) // 96] for form in forms for i in (0, 40, 88)]
    looked = 0
    for rows in records.values():
        for *_, array in rows:
            data = array.tobytes()
            looked += len(data)
            assert not any(needle in data for needle in needles if any(needle))
    assert looked > 100_000


def test_a_perturbed_public_constant_is_refused(tmp_path):
    """By the plan of the call, where the arguments that make it are not compared at the start."""
    two_parties, program = cluster_file(tmp_path, 2, same_program=False), PROGRAMS / "constant.py"
    processes = {p: start(two_parties, p, program, c) for p, c in (("alice", "0.3"), ("bob", "0.30001"))}
    processes["dealer"] = start(two_parties, "dealer")
    ended = finish(processes)
    for party in ("alice", "bob"):
        code, stdout, stderr = ended[party]
        assert code == 4, f"{party} ended with {code}: {stderr[-2000:]}"
        last = stderr.strip().splitlines()[-1]
        assert "scaled" in last and "constant.py" in last, last
        assert "bob learned" not in stdout
    assert ended["dealer"][0] != 0
