"""One body of tests on in-memory links and, at two and three parties, on ZeroMQ between processes."""

import harness
import leaks
import pytest
from worker import Network


@pytest.fixture(scope="session")
def networks():
    """Networks by number of parties, started when first needed."""
    found: dict[int, Network] = {}
    yield found
    for network in found.values():
        network.close()


@pytest.fixture
def on_processes(networks, monkeypatch):
    """Makes harness.run go through worker processes; larger networks stay in threads."""

    def run(jobs):
        n = len(jobs) - 2
        if n > 3:
            return harness.in_threads(jobs)[0]
        if n not in networks:
            with leaks.kept():
                networks[n] = Network(tuple(jobs))
        return networks[n].run(jobs)

    monkeypatch.setattr(harness, "processes", run)
