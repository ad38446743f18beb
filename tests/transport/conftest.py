"""Links of every kind for the same tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from link_worlds import Authority, World, succeed, together, zmq_links

from mpcrt.transport.link import Link
from mpcrt.transport.memory import MemoryNetwork


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=["memory", "plain", "tls"])
def world(request: pytest.FixtureRequest, authority: Authority) -> Iterator[World]:
    """Open links for the names given, in memory, over ZeroMQ, and over ZeroMQ with TLS; closed afterwards."""
    opened: list[Link] = []

    def make(*names: str) -> dict[str, Link]:
        links: dict[str, Link]
        if request.param == "memory":
            links = dict(MemoryNetwork(names, idle=20))
        else:
            links = zmq_links(list(names), authority if request.param == "tls" else None, idle=20.0, connect=20.0)
        opened.extend(links.values())
        succeed(together(*(link.open for link in links.values())))
        return links

    yield make
    succeed(together(*(link.close for link in opened)))
