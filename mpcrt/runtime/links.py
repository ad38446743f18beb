"""The link of one process of a cluster file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcrt.transport.link import Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig


def make_link(config: ClusterConfig, party: str, listen_fd: int | None = None, *, connect: float | None = None) -> Link:
    """The link of `party` to everybody else, not yet open. Raises ConfigError for certificates that cannot be used.

    `connect`: how many seconds it waits for them where that is not what the file says."""
    from mpcrt.cluster.memory import physical_bytes
    from mpcrt.transport.tls import TlsContext
    from mpcrt.transport.zeromq import DEALER_SPIN, SPIN, ZmqLink

    files = config.tls_files(party)
    context = None
    if files is not None:
        password = files.password
        ask = (lambda: password) if password is not None else None
        context = TlsContext(str(files.ca), str(files.certificate), str(files.key), ask)
    me = config.parties[party]
    return ZmqLink(
        party,
        {name: str(p.address) if p.address is not None else None for name, p in config.parties.items()},
        listen=str(me.bind) if me.bind is not None else None,
        listen_fd=listen_fd,
        connect=config.timeouts.connect if connect is None else connect,
        idle=config.timeouts.idle,
        tls=context,
        spin=DEALER_SPIN if party in config.dealers else SPIN,
        inbox_limit=min(1 << 33, physical_bytes() // 2),
    )
