"""Logs of one process: lines that name the party, or one JSON object a line. Data and secrets are never logged."""

import datetime
import json
import logging
import re
import sys
import traceback
from typing import TextIO

from mpcrt.text import LINE, plain, printable

_FRAME = re.compile(r'\s+File "[^"]*", line \d+, in \S+$')
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")


def configure(
    party: str, *, verbose: bool = False, as_json: bool = False, named: bool = True, stream: TextIO | None = None
) -> None:
    """Sends the `mpcrt` loggers to standard error: INFO and above, or DEBUG if verbose.

    `named=False` leaves the party out of plain lines, for a launcher that puts it before each.
    """
    handler = Lines(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(party) if as_json else PlainFormatter(party if named else ""))
    logger = logging.getLogger("mpcrt")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


class Lines(logging.StreamHandler):
    """Writes nothing once it is closed, as by `logging.shutdown()`: what a process says last is its last line, whatever
    its other threads still have to log."""

    closed = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.closed:
            super().emit(record)

    def close(self) -> None:
        self.closed = True
        super().close()


class PlainFormatter(logging.Formatter):
    """`12:00:01 alice: message`, with the level where it is not INFO."""

    def __init__(self, party: str) -> None:
        super().__init__()
        self.party = party

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
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
    what an exception says may quote data."""

    def __init__(self, party: str) -> None:
        super().__init__()
        self.party = party

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = record.getMessage().split("\n")
        entry: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "party": self.party,
            "logger": record.name,
            "message": plain(first, LINE),
        }
        if record.exc_info and record.exc_info[0] is not None:
            rest = traceback.format_exception(*record.exc_info, chain=False)
            rest = "".join(rest).splitlines()
        places = [index for index, line in enumerate(rest) if _FRAME.match(line)]
        if places:
            below = (m[1] for line in rest[places[-1] + 1 :] if (m := _EXCEPTION.match(line)))
            entry["exception"] = next(below, "")
            entry["frames"] = [rest[index].strip() for index in places]
        return json.dumps(entry, ensure_ascii=False)
