"""The exception tree. Every error mpcrt raises on purpose is one of these.

MpcrtError
├── UsageError           2  a call or command line that cannot be meant
│   └── ConfigError      2  the cluster file
├── UserFunctionError    1  a party function raised here
├── TraceError           1  the function cannot be traced to a plan
├── InputError           1  a value that cannot be shared (NaN, range, shape)
├── LinkError            3  a link could not be set up, or its peer refused it
├── PeerLost             3  a peer did not come up, was killed or fell silent
├── PeerFailed           3  another party reported that it failed
├── ProtocolError        3  a peer sent bytes that break the protocol
├── DisagreementError    4  parties run different programs, plans, cluster files or releases
└── PolicyError          5  refused by this party's policy

The number is the exit code of a process that ends with the error (docs/exit-codes.md).
"""

from mpcrt.text import LINE, plain


class MpcrtError(Exception):
    """Base of every error that mpcrt raises on purpose."""

    exit_code = 1


class UsageError(MpcrtError):
    """A call or command line that cannot be meant."""

    exit_code = 2


class ConfigError(UsageError):
    """A cluster file that is missing, malformed or contradictory."""


class UserFunctionError(MpcrtError):
    """A party function raised in this process; the cause is chained and stays here."""


class TraceError(MpcrtError):
    """A secure function uses something that has no plan."""


class InputError(MpcrtError):
    """A value that cannot be encoded in the ring, or has the wrong shape."""


class _OfPeers(MpcrtError):
    """What others did or said. The message may quote them, so it is one line that no terminal obeys."""

    exit_code = 3

    def __init__(self, message: str, peer: str = "") -> None:
        super().__init__(plain(message, LINE))
        self.peer = peer


class LinkError(_OfPeers):
    """A link could not be set up: a certificate or a name. `peer` is who is to blame, if that is known."""


class PeerLost(_OfPeers):
    """A peer did not come up within `connect`, or was silent for longer than `idle`."""


class PeerFailed(_OfPeers):
    """Another party reported a failure: who failed, in which function, at which call.

    With a `reason`, the links' own words, `reporter` found that `party` is gone or was refused.
    """

    def __init__(
        self, party: str, function: str, number: int, code: int = 1, reason: str = "", reporter: str = ""
    ) -> None:
        party, function, reason = plain(party, 100), plain(function, 100), plain(reason)
        by = f" (so {reporter} says)" if reporter not in ("", party) else ""
        where = f"in {function or 'the run'} (call {number}){by}"
        text = (
            f"{party} was interrupted {where}" if code == 130 else f"{party} failed {where}; its own log has the cause"
        )
        super().__init__(f"{reporter or party} reports: {reason}" if reason else text)
        self.party, self.function, self.number, self.code = party, function, number, code
        self.reporter, self.reason = reporter or party, reason


class ProtocolError(_OfPeers):
    """A peer sent something the protocol does not allow."""


class DisagreementError(_OfPeers):
    """The parties do not run the same program, plan, cluster file or release. `peer` is who differs, where one does."""

    exit_code = 4


class PolicyError(MpcrtError):
    """Refused by this party's policy."""

    exit_code = 5
