"""Links of every kind for the same tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from link_worlds import LEFT, Authority, World, succeed, together, zmq_links

from mpcrt.transport.link import Link
from mpcrt.transport.memory import MemoryNetwork
from mpcrt.transport.zeromq import ZmqLink


def _started(before: set[threading.Thread]) -> set[threading.Thread]:
    """Threads that were not there `before`, without pyzmq's one for the whole process."""
    return {thread for thread in set(threading.enumerate()) - before if type(thread).__module__.split(".")[0] != "zmq"}


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Links, sockets and proxies are closed though the test has failed, and no thread of its goes on into the next."""
    before, opening = set(threading.enumerate()), ZmqLink.open

    def opened(link: ZmqLink) -> None:
        LEFT.append(link.close)
        opening(link)

    monkeypatch.setattr(ZmqLink, "open", opened)
    yield
    together(*LEFT, timeout=15)
    LEFT.clear()
    deadline = time.monotonic() + 10
    while (left := _started(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads that go on: {left}"


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
