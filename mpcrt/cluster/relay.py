"""What local children print: standard output as it is, standard error with the party's name before each line."""

import contextlib
import json
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.style import Style

from mpcrt.cluster import progress
from mpcrt.cluster.logs import stray_line
from mpcrt.cluster.streams import CONTROL, below, clear_status
from mpcrt.text import LINE, plain

_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "bright_red")


class Relay:
    """Writes whole lines of several children to this process's streams.

    A reader that went away (a closed pipe) silences the stream; the children go on.
    """

    def __init__(
        self, names: Sequence[str], *, prefix: bool = True, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self._out, self._err = out, err
        self._lock = threading.Lock()
        self._silent: set[str] = set()
        self.began: dict[str, str] = {}
        """The party function that each child last said to begin."""
        self.ended: dict[str, tuple[int, str]] = {}
        """The exit code with which each child said that it ends, and its last line, without its name, if it had one."""
        self._json = not prefix
        self._first = ""
        self._prefixes = self._make_prefixes(names) if prefix else dict.fromkeys(names, "")

    def out(self, name: str, line: str) -> None:
        """A line of a child's standard output: unchanged, so that it stays readable for programs."""
        clear_status()
        self._write("out", self._out or sys.stdout, line)

    def err(self, name: str, line: str) -> None:
        """A line of a child's standard error: to be shown, or for the launcher."""
        if line.startswith(CONTROL):
            self._control(name, line)
        elif line.strip():
            self.log(name, line.rstrip().rsplit("\r", 1)[-1])  # of a progress bar what a terminal would show last

    def log(self, name: str, line: str) -> None:
        """Shows it behind its name; without names, for JSON logs, as an object."""
        if self._json and not line.startswith("{"):  # what native code writes
            line = stray_line(name, line)
        self._write("err", self._err or below(sys.stderr), self._prefixes.get(name, "") + line + "\n")

    def say(self, line: str) -> None:
        """A line of this process's own on standard error."""
        self._write("err", self._err or below(sys.stderr), line + "\n")

    def _control(self, name: str, line: str) -> None:
        with contextlib.suppress(ValueError, OverflowError, RecursionError):
            match json.loads(line[1:]):
                case {"begin": str(function)}:
                    self.began[name] = plain(function)
                case {"end": int(code), "said": str(said)}:
                    self.ended[name] = code, plain(said, LINE)
                case {"progress": dict(entry)} if self._first in (name, ""):
                    self._first = name  # all are about equally far
                    progress.show(entry)

    def _make_prefixes(self, names: Sequence[str]) -> dict[str, str]:
        width = max(map(len, names), default=0)
        console = Console(file=self._err or sys.stderr, markup=False)
        coloured = console.is_terminal and not console.no_color
        prefixes: dict[str, str] = {}
        for index, name in enumerate(names):
            text = f"{name:<{width}} | "
            style = Style(color=_COLOURS[index % len(_COLOURS)])
            prefixes[name] = style.render(text) if coloured else text
        return prefixes

    def _write(self, key: str, stream: TextIO, text: str) -> None:
        with self._lock:
            if key in self._silent:
                return
            try:
                stream.write(text)
                stream.flush()
            except (OSError, ValueError):
                self._silent.add(key)
