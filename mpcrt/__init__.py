"""mpcrt: secure computation on JAX programs, run by several parties as their own processes.

A program names placements and runs at every party; party functions stay with their owner, secure ones run on shares:

    alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

Importing this package, or a program, starts nothing.
"""

from typing import TYPE_CHECKING, Any

from mpcrt.errors import (
    ConfigError,
    DisagreementError,
    InputError,
    LinkError,
    MpcrtError,
    PeerFailed,
    PeerLost,
    PolicyError,
    ProtocolError,
    TraceError,
    UsageError,
    UserFunctionError,
)
from mpcrt.runtime.api import statistics
from mpcrt.runtime.placements import party, public, spu

if TYPE_CHECKING:
    from mpcrt.runtime.local import LocalCluster as LocalCluster

    __version__: str

__all__ = [
    "ConfigError",
    "DisagreementError",
    "InputError",
    "LinkError",
    "LocalCluster",
    "MpcrtError",
    "PeerFailed",
    "PeerLost",
    "PolicyError",
    "ProtocolError",
    "TraceError",
    "UsageError",
    "UserFunctionError",
    "party",
    "public",
    "spu",
    "statistics",
]


if not TYPE_CHECKING:  # a type checker knows these from above, and refuses any other name

    def __getattr__(name: str) -> Any:
        if name == "LocalCluster":  # what it needs takes a while to import, and parties do without
            from mpcrt.runtime.local import LocalCluster

            return LocalCluster
        if name == "__version__":
            from mpcrt.cluster.version import package_version

            return package_version()
        raise AttributeError(f"module 'mpcrt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
