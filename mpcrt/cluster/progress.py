"""How far a long call is, as one line at the foot of a terminal."""

import io
import os
import shutil
import sys
from typing import Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mpcrt.cluster.sizes import size
from mpcrt.cluster.streams import Unblocked, below
from mpcrt.text import plain

BAR = 24


def at_terminal() -> bool:
    """Whether somebody sees standard error."""
    stream = below(sys.stderr)
    return isinstance(stream, Unblocked) and stream.isatty() and os.environ.get("TERM") != "dumb"


def show(entry: dict[str, Any]) -> None:
    """Shows `call`, `rounds` done `of` so many, `bytes` exchanged and `seconds`; an empty entry takes the line away."""
    stream = below(sys.stderr)
    if isinstance(stream, Unblocked):
        stream.status(line(entry, shutil.get_terminal_size().columns) if entry else "")


def line(entry: dict[str, Any], columns: int) -> str:
    """The line, at most `columns` - 1 wide. Raises ValueError for what is no entry."""
    call, counts = entry.get("call"), [entry.get(key) for key in ("rounds", "of", "bytes", "seconds")]
    if type(call) is not str or not all(type(count) in (int, float) for count in counts):
        raise ValueError("no progress")
    rounds, total, exchanged, seconds = (float(count) for count in counts)  # type: ignore[arg-type]
    done = f"round {rounds:.0f} of {total:.0f}" if total else f"{rounds:.0f} rounds"
    row = [Text(plain(call, 40)), Text(f"{done}, {size(exchanged)}, {seconds:.0f} s", no_wrap=True)]
    if total:
        row.insert(1, ProgressBar(total, min(rounds, total), width=BAR))  # type: ignore[arg-type]
    grid = Table.grid(padding=(0, 1))
    grid.add_row(*row)
    shown = Console(file=io.StringIO(), force_terminal=True, width=max(columns - 1, 20), markup=False, highlight=False)
    with shown.capture() as captured:
        shown.print(grid)
    return captured.get().split("\n")[0].rstrip()
