"""Log lines name the party, stay lines, and keep what may hold data out of JSON logs."""

import io
import json
import logging

import pytest

from mpcrt.cluster.logs import configure, one_line


@pytest.fixture
def stream():
    yield io.StringIO()
    logger = logging.getLogger("mpcrt")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def test_plain_lines_name_the_party(stream):
    configure("alice", stream=stream)
    log = logging.getLogger("mpcrt.runtime")
    log.info("loads %s", "model")
    log.debug("not shown")
    log.warning("slow")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" alice: loads model") and second.endswith(" alice: warning: slow")
    configure("alice", stream=stream, named=False, verbose=True)
    log.debug("shown")
    assert stream.getvalue().splitlines()[2][8:] == " debug: shown"


def test_json_lines_have_no_exception_message(stream):
    configure("bob", stream=stream, as_json=True)
    log = logging.getLogger("mpcrt")
    try:
        raise ValueError("row 7 is 4711")
    except ValueError:
        log.exception("load_data failed")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert (entry["party"], entry["level"], entry["exception"]) == ("bob", "error", "ValueError")
    assert entry["message"] == "load_data failed" and "test_json_lines" in entry["frames"][0]
    assert entry["time"].endswith("+00:00")
    # the frame quotes the source line of this very test, which names the number; the message is not there
    assert "row 7 is 4711" not in json.dumps({key: value for key, value in entry.items() if key != "frames"})


def test_a_message_cannot_forge_a_line():
    assert one_line("a\nmpcrt: bob: done\r\x1b[2Jb\x00") == "a mpcrt: bob: done  [2Jb "
