"""Log lines name the party, stay lines, and keep what may hold data out of JSON logs."""

import datetime
import io
import json
import logging
import traceback

import pytest

from mpcrt.cluster.logs import configure
from mpcrt.errors import UsageError


@pytest.fixture
def stream():
    yield io.StringIO()
    logger = logging.getLogger("mpcrt")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def test_nothing_follows_what_is_said_last(stream):
    configure("alice", stream=stream)
    log = logging.getLogger("mpcrt.transport")
    log.info("before")
    logging.getLogger("mpcrt").handlers[0].close()  # logging.shutdown() does, and so the last line begins
    log.info("after")
    assert "before" in stream.getvalue() and "after" not in stream.getvalue()


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
    time, message = stream.getvalue().splitlines()[2].split(" debug: ")
    assert message == "shown" and datetime.datetime.fromisoformat(time).tzinfo is not None


def test_quiet_leaves_out_what_the_file_has(stream, tmp_path):
    file = tmp_path / "run.log"
    file.write_text("from before\n")
    configure("alice", stream=stream, quiet=True, file=file, named=False)
    log = logging.getLogger("mpcrt.run")
    log.info("waiting")
    log.warning("slow")
    configure("alice", stream=stream)  # closes the file
    assert [line.split(" ", 2)[2] for line in stream.getvalue().splitlines()] == ["warning: slow"]
    before, *lines = file.read_text().splitlines()
    assert before == "from before"
    assert [line.split(" ", 2)[2] for line in lines] == ["alice: waiting", "alice: warning: slow"]


def test_a_log_file_that_cannot_be_written_is_bad_usage(tmp_path):
    with pytest.raises(UsageError, match=r"--log-file .*No such file or directory"):
        configure("alice", file=tmp_path / "nowhere" / "run.log")


@pytest.mark.parametrize("how", ["exc_info", "in the message"])
def test_json_lines_have_no_exception_message(stream, how):
    configure("bob", stream=stream, as_json=True)
    log = logging.getLogger("mpcrt")
    secret = "4711"
    try:
        raise ValueError(f"row is {secret}\nname: {secret}")
    except ValueError:
        if how == "exc_info":
            log.exception("load_data failed")
        else:
            log.error("load_data failed\n%s", traceback.format_exc())
    (line,) = stream.getvalue().splitlines()
    assert secret not in line
    entry = json.loads(line)
    assert (entry["party"], entry["level"]) == ("bob", "error")
    assert entry["exception"] == "ValueError"
    assert entry["message"] == "load_data failed" and "in test_json_lines" in entry["frames"][0]
    assert entry["time"].endswith("+00:00")


def test_a_single_line_exception_keeps_its_type(stream):
    configure("bob", stream=stream, as_json=True)
    try:
        json.loads("{")
    except ValueError:
        logging.getLogger("mpcrt").exception("failed")
    entry = json.loads(stream.getvalue())
    assert entry["exception"] == "json.decoder.JSONDecodeError" and len(entry["frames"]) > 2


def test_tracebacks_stay_readable_in_plain_logs(stream):
    configure("bob", stream=stream)
    logging.getLogger("mpcrt").error("failed\n%s", "Traceback\n  File x\nmpcrt: alice: done\x1b[2J")
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("bob: error: failed")
    assert lines[1:] == ["    Traceback", "      File x", "    mpcrt: alice: done"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_message_cannot_forge_a_line(stream, as_json):
    configure("bob", stream=stream, as_json=as_json)
    logging.getLogger("mpcrt").info("a\u2028mpcrt: bob: done\r\x1b[2Jb\u202e\x00c%s", "x" * 10**6)
    written = stream.getvalue()
    assert len(written) < 1 << 15 and written.count("\n") == 1 and written.rstrip("\n").isprintable()
    assert written.count("mpcrt: bob: done") == 1 and "\n    mpcrt" not in written
