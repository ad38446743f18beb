"""Standard error that nobody reads, or that is not there, holds nobody up."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpcrt.cluster import streams
from mpcrt.cluster.streams import PIECE, Unblocked

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pipe():
    """The two ends of a pipe."""
    read, write = os.pipe()
    yield read, write
    for descriptor in (read, write):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def drain(descriptor: int, seconds: float = 10) -> bytes:
    """What comes until nothing has come for a while."""
    os.set_blocking(descriptor, False)
    data, quiet_since = b"", time.monotonic()
    while time.monotonic() - quiet_since < 0.5:
        try:
            data += os.read(descriptor, 1 << 20)
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    return data


def test_what_is_read_is_written_at_once_and_in_order(pipe):
    stream = Unblocked(pipe[1])
    for number in range(100):
        print(number, file=stream)
    assert os.read(pipe[0], 1 << 16) == b"".join(b"%d\n" % n for n in range(100))


def test_nobody_reads_and_nobody_waits(pipe, monkeypatch):
    monkeypatch.setattr(streams, "WAITING_BYTES", 1 << 18)
    stream = Unblocked(pipe[1])
    line = "x" * 999
    started = time.monotonic()
    for _ in range(2000):
        print(line, file=stream, flush=True)
    assert time.monotonic() - started < 10, "a pipe holds 64 KiB; one flush waits, later ones do not"
    found = drain(pipe[0])
    lines = found.decode().splitlines()
    lost = next(text for text in lines if text.startswith("mpcrt: "))
    assert set(lines) == {line, lost} and len(found) > PIECE
    assert int(lost.split()[1]) + len(lines) - 1 == 2000, "what is dropped is counted"
    print("after", file=stream, flush=True)
    assert drain(pipe[0]) == b"after\n"


def test_a_reader_that_went_away_is_no_error(pipe):
    stream = Unblocked(pipe[1])
    os.close(pipe[0])
    for _ in range(3):
        print("x", file=stream, flush=True)


def test_a_forked_child_writes_for_itself(pipe):
    script = (
        "import os, sys\nfrom mpcrt.cluster import streams\nstreams.prepare()\n"
        "print('parent', file=sys.stderr)\n"
        "if os.fork() == 0:\n    print('child', file=sys.stderr, flush=True)\n    os._exit(0)\nos.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.stderr.split() == ["parent", "child"] and done.returncode == 0


def test_streams_that_are_closed_are_replaced():
    script = (
        "import os, sys\nfrom mpcrt.cluster import streams\nstreams.prepare()\n"
        "assert os.open('/', os.O_RDONLY) > 2\n"
        "print('x'); print('y', file=sys.stderr, flush=True); assert sys.stdin.read() == ''\n"
        "sys.exit(7)\n"
    )
    closing = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", closing, "sh", sys.executable, "-c", script], cwd=ROOT, timeout=100)
    assert done.returncode == 7
