"""Cluster files with free ports for tests that start processes."""

import contextlib
import pathlib
import socket

import yaml

NAMES = ("alice", "bob", "carol", "dave", "erin")


def cluster_file(directory: pathlib.Path, parties: int, **changes) -> pathlib.Path:
    """A cluster file for `parties` computing parties and a dealer on ports that were free a moment ago."""
    names = [*NAMES[:parties], "dealer"]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = [s.getsockname()[1] for s in sockets]
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
