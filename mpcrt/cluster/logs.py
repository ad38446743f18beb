"""Logs of one process: lines that name the party, or one JSON object a line. Data and secrets are never logged."""

import contextlib
import datetime
import io
import json
import logging
import re
import sys
import threading
import traceback
import warnings
import weakref
from pathlib import Path
from typing import Any, ClassVar, TextIO

from mpcrt.cluster.streams import Unblocked, below
from mpcrt.errors import UsageError
from mpcrt.text import LINE, plain, printable

_FRAME = re.compile(r'\s+File "[^"]*", line \d+, in \S+$')
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")


def configure(
    party: str,
    *,
    verbose: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    named: bool = True,
    stream: TextIO | None = None,
    file: Path | None = None,
) -> None:
    """Sends the `mpcrt` loggers to standard error: INFO and above, DEBUG if verbose, WARNING if quiet.

    `file` gets the same, but never less than INFO, after what it has. `named=False` leaves the party out of plain
    lines, for a launcher that puts it before each. Where standard error is this process's own, other loggers go there
    too unless the program sends them elsewhere; as JSON so does all else that Python writes to it.
    Raises UsageError for a file that cannot be written.
    """
    level = logging.DEBUG if verbose else logging.INFO
    own = isinstance(below(sys.stderr), Unblocked) and stream is None
    screen = Lines(stream or below(sys.stderr))
    screen.setFormatter(JsonFormatter(party) if as_json else PlainFormatter(party if named else ""))
    screen.setLevel(logging.WARNING if quiet else level)
    handlers = [screen]
    if file is not None:
        handlers.append(_file_handler(file, party, as_json, level))
    logger = logging.getLogger("mpcrt")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    if own:
        logging.lastResort = _Several(handlers)
    if own and as_json:
        sys.stderr = JsonLines(below(sys.stderr), party)
        threading.excepthook = _thread_failed
        warnings.showwarning = _warned


def _file_handler(file: Path, party: str, as_json: bool, level: int) -> "Lines":
    try:
        handler = Lines(open(file, "a", encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115  its own
    except OSError as error:
        raise UsageError(f"--log-file {file}: {error.strerror}") from None
    handler.owner = True
    handler.setFormatter(JsonFormatter(party) if as_json else PlainFormatter(party))
    handler.setLevel(level)
    return handler


class Lines(logging.StreamHandler):
    """Writes nothing once it is closed: what a process says last is its last line, whatever its other threads have to
    log. `owner`: whether it closes its stream."""

    closed = owner = False
    opened: ClassVar["weakref.WeakSet[Lines]"] = weakref.WeakSet()

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.opened.add(self)

    def emit(self, record: logging.LogRecord) -> None:
        if not self.closed:
            super().emit(record)

    def close(self) -> None:
        self.closed = True
        super().close()
        if self.owner:
            self.stream.close()


class _Several(logging.Handler):
    """Hands on what no logger of the program takes, warnings and above."""

    def __init__(self, handlers: list[Lines]) -> None:
        super().__init__(logging.WARNING)
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


class PlainFormatter(logging.Formatter):
    """`2026-11-29 12:00:01+01:00 alice: message`, with the level where it is not INFO."""

    def __init__(self, party: str) -> None:
        super().__init__()
        self.party = party

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created).astimezone().isoformat(" ", "seconds")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        first, *rest = message.split("\n")
        line = f"{time} {self.party + ': ' if self.party else ''}{level}{plain(first, LINE)}"
        # indented, so that no message can pass for another log line
        return "\n".join([line, *("    " + printable(more)[:LINE] for more in rest)])


class JsonFormatter(logging.Formatter):
    """One object a line. Of an exception, or a traceback in the message, it has the type and the places in the code:
    what an exception says may quote data. A record's `fields` are keys of their own."""

    def __init__(self, party: str) -> None:
        super().__init__()
        self.party = party

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = record.getMessage().split("\n")
        entry: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "party": self.party,
            "logger": record.name,
            "message": plain(first, LINE),
        }
        entry |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            rest = traceback.format_exception(*record.exc_info, chain=False)
            rest = "".join(rest).splitlines()
        places = [index for index, line in enumerate(rest) if _FRAME.match(line)]
        if places:
            below = (m[1] for line in rest[places[-1] + 1 :] if (m := _EXCEPTION.match(line)))
            entry["exception"] = next(below, "")
            entry["frames"] = [rest[index].strip() for index in places]
        return json.dumps(entry, ensure_ascii=False)


class JsonLines(io.TextIOBase):
    """Standard error for all that is no log record: each line becomes an object too."""

    def __init__(self, below: TextIO, party: str) -> None:
        self.below = below
        self._party = party
        self._begun = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.below.fileno()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                if line.strip():
                    self.below.write(stray_line(self._party, line) + "\n")
        return len(text)

    def flush(self) -> None:
        self.below.flush()


def stray_line(party: str, line: str) -> str:
    """A line on standard error that is no log record, as an object."""
    entry = {"time": _utc(), "level": "info", "party": party, "logger": "stderr", "message": plain(line, LINE)}
    return json.dumps(entry, ensure_ascii=False)


def _thread_failed(failed: Any) -> None:
    if failed.exc_type is not SystemExit:
        name = failed.thread.name if failed.thread else "a thread"
        about = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        logging.getLogger("mpcrt.cli").error("%s ended by an exception", name, exc_info=about)


def _warned(message: Any, category: type[Warning], name: str, line: int, file: Any = None, text: Any = None) -> None:
    logging.getLogger("py.warnings").warning("%s:%d: %s: %s", name, line, category.__name__, message)


def last_line(party: str, message: str, code: int, as_json: bool) -> str:
    """What a process says last when it fails: `mpcrt: <party>: message`, or an object."""
    message = plain(message, LINE)
    if as_json:
        entry = {"time": _utc(), "level": "error", "party": party, "message": message, "exit_code": code}
        return json.dumps(entry, ensure_ascii=False)
    return f"mpcrt: {party}: {message}" if party else f"mpcrt: {message}"


def say_last(line: str, file: Path | None = None) -> None:
    """Nothing is logged after it. It goes to standard error and to the log file."""
    for handler in list(
        Lines.opened
    ):  # not logging.shutdown(), by which other libraries' handlers close standard error
        handler.close()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    print(line, file=below(sys.stderr), flush=True)
    if file is not None:
        with contextlib.suppress(OSError), open(file, "a", encoding="utf-8") as log:
            log.write(line + "\n")


def _utc(seconds: float | None = None) -> str:
    now = datetime.datetime.now(datetime.UTC)
    moment = now if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")
