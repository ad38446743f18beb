"""What programs ask of their own run, beside placements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcrt.errors import UsageError
from mpcrt.runtime import current

if TYPE_CHECKING:
    from mpcrt.runtime.counters import Statistics


def statistics() -> Statistics:
    """Rounds and bytes of the run so far, as this process knows them; see `Statistics`. In main or a party function.

    Raises UsageError outside a run.
    """
    session = current.session.get()
    if session is None:
        raise UsageError("mpcrt.statistics() is for programs that run; there is no session here")
    return session.counters()
