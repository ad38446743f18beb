"""Cluster files for tests that start processes, and a printed seed for tests that draw."""

import pathlib
import zlib

import numpy as np
import pytest
from clusters import cluster_file


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
