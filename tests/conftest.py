"""Cluster files for tests that start processes, a printed seed for tests that draw, and nothing left behind by any."""

import pathlib
import zlib

import leaks
import numpy as np
import pytest
from clusters import cluster_file


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    """A thread, socket or child that outlives a test would fail another, later and without a word of where it is from.

    What fixtures of a wider scope hold is there before and may stay.
    """
    before = leaks.held()
    yield
    left = leaks.left(before)
    assert not left, f"left behind: {'; '.join(left)}"


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
