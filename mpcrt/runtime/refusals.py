"""Calls that fail before anything of them is shared: they are skipped everywhere, and `main` may catch their error.

Two kinds. Where every party fails alike (a function that cannot be traced), the call is announced as one that fails,
with the kind of the error and a digest of its text, and compared like any other. Where one party cannot give an input
(NaN in its data), it says so beside its announcement: the others know that, and no more, before they share anything.
"""

from __future__ import annotations

import hashlib
import re

from mpcrt.errors import InputError, MpcrtError, PeerLost, TraceError, UsageError, UserFunctionError

KINDS: dict[str, type[MpcrtError]] = {e.__name__: e for e in (TraceError, InputError, UserFunctionError, UsageError)}
LOCAL = re.compile(r"[^\s('\"`]*[/\\]|\b0x[0-9a-fA-F]+|\bid=\d+")
"""What differs between machines in an error's text: folders, addresses."""


class Skipped(Exception):
    """Ends a call of which `culprit` cannot give an input; `error` is what this party's `main` gets."""

    def __init__(self, error: MpcrtError, culprit: str) -> None:
        super().__init__(str(error))
        self.error, self.culprit = error, culprit


def kind_of(error: BaseException) -> str | None:
    """The name under which an error is told to others, or None for one that ends the run."""
    return next((name for name, kind in KINDS.items() if isinstance(error, kind)), None)


def digest(error: BaseException) -> str:
    """Equal at all parties for the same error, in whatever folder the program lies."""
    return hashlib.sha256(LOCAL.sub("", str(error)).encode()).hexdigest()[:16]


def refused_by(party: str, kind: str, name: str, number: int) -> MpcrtError:
    """What the others' `main` gets for an input that `party` cannot give; uncaught, it ends them with code 3."""
    error = KINDS[kind](f"{party} cannot give its input of {name}() (call {number}: {kind}); its own log has the cause")
    error.exit_code = PeerLost.exit_code
    return error


def failed_beforehand(cause: Exception, name: str, number: int) -> MpcrtError:
    """An error that is not mpcrt's own, as that of a call that was not announced yet: a program's code runs where
    arguments are taken apart, put together and compared."""
    error = UserFunctionError(
        f"{name}() failed in call {number} before anything of it was shared: {type(cause).__name__}; the traceback is "
        "in this log"
    )
    error.__cause__ = cause
    return error
