"""Listening sockets made before a process needs them, so that no port is raced for and one in use is said at once."""

import contextlib
import errno
import resource
import socket

from mpcrt.cluster.config import ClusterConfig, Party
from mpcrt.cluster.endpoint import Endpoint
from mpcrt.cluster.streams import open_missing
from mpcrt.errors import ConfigError

BACKLOG = 128
DESCRIPTORS = 1 << 16


def allow_descriptors() -> None:
    """Let this process have as many descriptors as it may: strangers' connections take some until they are closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listening_socket(endpoint: Endpoint, party: str) -> socket.socket:
    """A non-blocking TCP socket that listens on `endpoint` (port 0: any free port). Raises ConfigError.

    Hand it on with `detach()` or by inheritance: whoever closes the descriptor owns it.
    """
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        raise ConfigError(
            f"{party} cannot listen on {endpoint}: this machine does not know the name {endpoint.host}; "
            "set `listen` to one of its own addresses"
        ) from None
    # peers that dial a name try its IPv4 address
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        reason, advice = {
            errno.EADDRINUSE: ("the port is in use", "end the process that has it, or choose another port"),
            errno.EADDRNOTAVAIL: ("it is not an address of this machine", "set `listen` to one that is"),
            errno.EACCES: ("this user may not use the port", "choose one above 1023"),
        }.get(error.errno or 0, (error.strerror or str(error), "see `mpcrt doctor`"))
        raise ConfigError(f"{party} cannot listen on {endpoint}: {reason}; {advice}") from None
    return made


def free_ports_cluster(config: ClusterConfig) -> tuple[ClusterConfig, dict[str, socket.socket]]:
    """The same cluster on free loopback ports, and the sockets that already listen there."""
    open_missing()  # children inherit these sockets, and give their standard streams those numbers
    made: dict[str, socket.socket] = {}
    parties: dict[str, Party] = {}
    try:
        for name, party in config.parties.items():
            if party.address is None:
                parties[name] = party
                continue
            made[name] = listening_socket(Endpoint("127.0.0.1", 0), name)
            parties[name] = Party(address=Endpoint("127.0.0.1", made[name].getsockname()[1]))
        return config.replace(parties=parties), made
    except BaseException:
        close_all(made)
        raise


def close_all(sockets: dict[str, socket.socket]) -> None:
    """Closes this process's ends."""
    for made in sockets.values():
        made.close()
