"""The exit codes of every mpcrt process, and the one that tells most about a run of several (docs/exit-codes.md)."""

from collections.abc import Iterable

DONE, USER, USAGE, PEER, DISAGREEMENT, POLICY, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

MEANINGS = {
    DONE: "done",
    USER: "the user's function failed here",
    USAGE: "bad usage or configuration",
    PEER: "another party failed or was lost",
    DISAGREEMENT: "the parties disagree",
    POLICY: "refused by policy",
    INTERRUPTED: "interrupted",
}

_TELLING = (INTERRUPTED, USER, DISAGREEMENT, POLICY, USAGE, PEER, DONE)


def from_return_code(code: int) -> int:
    """The exit code that a child's return code stands for: a killed child is a lost party."""
    if code in MEANINGS:
        return code
    return PEER if code < 0 else USER


def most_telling(codes: Iterable[int]) -> int:
    """The code of a whole run: that of the process where the cause lies."""
    return min(codes, key=_TELLING.index, default=DONE)
