"""The check that runs around every test sees each kind of thing that one may leave, and waits for what is ending."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import leaks
import pytest
from beside import beside

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sockets and children are seen in /proc")


def test_a_thread_is_seen_and_waited_for():
    before, stop = leaks.held(), threading.Event()
    with beside(stop.wait) as (thread,):
        assert leaks.left(before, 0.05) == [f"thread {thread.name!r}"]
        stop.set()
        assert leaks.left(before) == []


@needs_proc
def test_a_socket_is_seen():
    before = leaks.held()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (found,) = leaks.left(before, 0.05)
        assert found.startswith("socket:[") and found.endswith(f"descriptor {listening.fileno()}")
    assert leaks.left(before) == []


@needs_proc
@pytest.mark.parametrize("program", ["import time; time.sleep(300)", ""])
def test_a_child_is_seen_and_ended_even_if_nobody_waited_for_it(program):
    before = leaks.held()
    with subprocess.Popen([sys.executable, "-c", program]) as child:
        while not program and Path(f"/proc/{child.pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z":
            time.sleep(0.01)
        (found,) = leaks.left(before, 0.05)
        assert found.startswith(f"child {child.pid}: ") and ("sleep(300)" if program else "nobody waited") in found
        assert leaks.left(before) == []


def test_a_thread_beside_is_over_however_the_block_ends():
    before, stop = leaks.held(), threading.Event()
    with pytest.raises(ZeroDivisionError), beside(stop.wait):
        stop.set()
        _ = 1 / 0
    with pytest.raises(ZeroDivisionError), beside(lambda: 1 / 0):
        pass
    with pytest.raises(AssertionError, match="did not end within"), beside(lambda: time.sleep(0.3), seconds=0.01):
        pass
    assert leaks.left(before) == []
