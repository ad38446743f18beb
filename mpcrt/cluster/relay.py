"""What local children print: standard output as it is, standard error with the party's name before each line."""

import re
import sys
import threading
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.style import Style

_RUNS = re.compile(r"\bruns ([\w.<>]+\(\)) in plaintext")
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
        self.last: dict[str, str] = {}
        """The last line that each child wrote to standard error."""
        self.words: dict[str, str] = {}
        """What each child said as its last word: why it ends, as every one does that ends with another code than 0."""
        self.began: dict[str, str] = {}
        """The last party function that each child said to run."""
        self._prefixes = self._make_prefixes(names) if prefix else dict.fromkeys(names, "")

    def out(self, name: str, line: str) -> None:
        """A line of a child's standard output: unchanged, so that it stays readable for programs."""
        self._write("out", self._out or sys.stdout, line)

    def err(self, name: str, line: str) -> None:
        """A line of a child's standard error, behind its name."""
        self.note(name, line)
        self._write("err", self._err or sys.stderr, self._prefixes.get(name, "") + line.rstrip("\n") + "\n")

    def note(self, name: str, line: str) -> None:
        """Remember what the line says of its child."""
        if line.strip():
            self.last[name] = line.rstrip()
        if line.startswith("mpcrt: ") or (line.startswith("{") and '"exit_code": ' in line):
            self.words[name] = line.rstrip()
        if found := _RUNS.search(line):
            self.began[name] = found[1]

    def say(self, line: str) -> None:
        """A line of this process's own on standard error."""
        self._write("err", self._err or sys.stderr, line + "\n")

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
