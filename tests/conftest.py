"""Cluster files with free ports for tests that start processes, and a printed seed for tests that draw."""

import pathlib
import socket
import zlib

import numpy as np
import pytest
import yaml

NAMES = ("alice", "bob", "carol", "dave", "erin")


def cluster_file(directory: pathlib.Path, parties: int, **changes) -> pathlib.Path:
    """A cluster file for `parties` computing parties and a dealer on ports that were free a moment ago."""
    names = [*NAMES[:parties], "dealer"]
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    config = {
        "name": "test",
        "parties": {n: {"address": f"127.0.0.1:{p}"} for n, p in zip(names, ports, strict=True)},
        "devices": {"spu": {"parties": names[:-1], "dealer": "dealer"}},
        "timeouts": {"connect": 60, "idle": 20},
        "tls": "off",
    } | changes
    path = directory / f"cluster_{parties}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def two_parties(tmp_path) -> pathlib.Path:
    return cluster_file(tmp_path, 2)


@pytest.fixture
def three_parties(tmp_path) -> pathlib.Path:
    return cluster_file(tmp_path, 3)


@pytest.fixture
def rng(request) -> np.random.Generator:
    """Seeded by the test's name, so that every run draws the same; the seed is printed with a failure."""
    seed = zlib.crc32(request.node.nodeid.encode())
    print(f"seed {seed}")
    return np.random.default_rng(seed)
