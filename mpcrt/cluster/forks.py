"""What a process that is forked from one of a run lets go of: it is no party, and must not pass for one.

Only the thread that forks goes on in the child. Ports, and the pipe by which a launcher's death is noticed, would stay
open for as long as the child lives; a function that comes back in the child would make it a second party.
"""

import contextlib
import functools
import os
import sys
import weakref
from collections.abc import Iterator
from typing import Protocol

from mpcrt.cluster import exit_codes


class Guarded(Protocol):
    """`forked` is called in a child, which must take no lock: nobody would release it."""

    def forked(self) -> None: ...


_guarded: "weakref.WeakSet[Guarded]" = weakref.WeakSet()


def guard(thing: Guarded) -> None:
    """Call `thing.forked()` in every process that is forked from this one while `thing` lives."""
    _register()
    _guarded.add(thing)


@functools.cache
def _register() -> None:
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    for thing in list(_guarded):
        with contextlib.suppress(Exception):
            thing.forked()


@contextlib.contextmanager
def ends_in_child(what: str) -> Iterator[None]:
    """A process that was forked within it ends where it comes back, `what` being the function from which it does."""
    here, code = os.getpid(), exit_codes.USAGE
    try:
        yield
    except SystemExit as end:
        if os.getpid() == here:
            raise
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        if os.getpid() == here:
            raise
    if os.getpid() == here:
        return
    with contextlib.suppress(Exception):
        if code == exit_codes.USAGE:
            print(
                f"mpcrt: a process forked in {what} came back from it and ends: only the process that was started is a "
                "party; end it within the function by os._exit(), or use subprocess or multiprocessing's spawn",
                file=sys.stderr,
            )
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
