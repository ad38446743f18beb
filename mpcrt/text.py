"""Text that somebody else wrote, made safe to show: what a peer sent, what a certificate or a profile file says.

Each such text goes through `plain` where it enters an exception, a finding or a table; so do whole messages of errors
and logs. Markup is left as it is, since no terminal of mpcrt's interprets any (`cli/terminal.py`).
"""

import re
from collections.abc import Sequence

LINE = 1 << 14
"""Characters of the longest message."""
_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")
"""What sets a terminal's colour, cursor or screen. Sequences of other kinds, whose end is not sure, lose their first
character, without which they are text."""


def printable(text: str) -> str:
    """`text` with a space for each character that does not print (controls, line separators, directions and other
    invisible ones), and without a terminal's control sequences."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in _SEQUENCE.sub("", text))


def plain(text: object, most: int = 300) -> str:
    """`text` on one line, printable, and cut to `most` characters."""
    line = " ".join(printable(str(text)).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def quoted(value: object, most: int = 100) -> str:
    """Plain data that somebody sent, as Python writes it, on one line and cut to `most` characters."""
    try:
        return plain(repr(value), most)
    except RecursionError:
        return "(something nested too deep to show)"


def listed(names: Sequence[object]) -> str:
    """`alice`, `alice and bob`, `alice, bob and carol`."""
    *first, last = map(str, names)
    return f"{', '.join(first)} and {last}" if first else last
