"""Host and port strings, listening sockets, and who dials whom."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping

from mpcrt.errors import UsageError


def parse(address: str) -> tuple[str, int]:
    """`host:port` or `[v6 address]:port` as (host, port)."""
    host, separator, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UsageError(f"{address!r} is no address; write host:port, with a port from 1 to 65535")
    return host, int(port)


def endpoint(address: str) -> str:
    """The numeric ZeroMQ endpoint of an address. Raises OSError when its name has no address now."""
    host, port = parse(address)
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return f"tcp://[{place[0]}]:{port}" if family == socket.AF_INET6 else f"tcp://{place[0]}:{port}"


def listener(party: str, address: str) -> socket.socket:
    """A listening TCP socket. Raises UsageError naming the address and the remedy."""
    host, port = parse(address)
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, number)
    except OSError as error:
        raise UsageError(f"{party} cannot listen on {address}: {error.strerror or error}") from None
    try:
        # as every server does: a port in TIME_WAIT is free, one that is listened on is not
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            remedy = f"{address} is in use; end the program that listens there, or give {party} another port"
        elif error.errno == errno.EADDRNOTAVAIL:
            remedy = (
                f"{address} is not an address of this machine; set `listen:` to one that is, such as 0.0.0.0:{port}"
            )
        else:
            remedy = f"{address}: {error.strerror}"
        raise UsageError(f"{party} cannot listen: {remedy}") from None
    return listening


def dialed_by(name: str, addresses: Mapping[str, str | None]) -> list[str]:
    """The peers that `name` dials.

    Of a pair the later in the cluster file dials the earlier; where the earlier has no address, it dials. Raises
    UsageError for a pair of which neither listens.
    """
    order = list(addresses)
    if name not in addresses:
        raise UsageError(f"{name!r} is not among the parties {', '.join(order)}")
    mine = order.index(name)
    dialed = []
    for place, peer in enumerate(order):
        if place == mine:
            continue
        earlier, later = (peer, name) if place < mine else (name, peer)
        answers = earlier if addresses[earlier] is not None else later
        if addresses[answers] is None:
            raise UsageError(f"neither {earlier} nor {later} has an address; one of them has to listen")
        if answers == peer:
            dialed.append(peer)
    return dialed
