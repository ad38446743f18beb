"""The command line: help that teaches, usage errors, and how each error ends a process."""

import datetime
import json
import logging
import subprocess
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mpcrt import errors
from mpcrt.cli import main
from mpcrt.cluster import config as configs
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.sockets import close_all, free_ports_cluster, listening_socket


def invoke(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def cluster(tmp_path) -> Path:
    config, sockets = free_ports_cluster(configs.local(2, tls="off"))
    close_all(sockets)
    file = tmp_path / "cluster.yaml"
    file.write_text(config.to_yaml())
    return file


@pytest.fixture
def program(tmp_path) -> Path:
    file = tmp_path / "program.py"
    file.write_text("def main(): ...\n")
    return file


@pytest.fixture
def runtime(monkeypatch):
    """A runtime that does what a test tells it instead of running anything."""
    calls: list[dict[str, object]] = []
    fake = types.SimpleNamespace(calls=calls, result=0)

    def run_party(config, party, program, arguments, *, listen_fd=None, options=None):
        calls.append({"config": config, "party": party, "program": program, "arguments": arguments, "options": options})
        if listen_fd is not None:
            import socket

            with socket.socket(fileno=listen_fd) as made:
                calls[-1]["listens"] = made.getsockname()
        if isinstance(fake.result, BaseException):
            raise fake.result
        return fake.result

    def run_bench(cases, names, config, audience, **options):
        calls.append({"cases": cases, "names": names, **options})
        return fake.result

    def case_names(cases, wanted):
        return list(wanted)

    for name, functions in (("main", (run_party,)), ("bench", (run_bench, case_names))):
        module = types.ModuleType(f"mpcrt.runtime.{name}")
        for function in functions:
            setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield fake
    logger = logging.getLogger("mpcrt")
    logger.handlers.clear()
    logger.propagate = True


@pytest.mark.parametrize(
    ("words", "taught"),
    [
        ((), ["mpcrt run cluster_configs/two_party.yaml program.py", "Exit codes: 0 done", "doctor"]),
        (("run",), ["--party alice -- --epochs 3", "[-- ARGS...]", "The dealer takes no program"]),
        (("bench",), ["--inputs owned --reps 20", "[secret|owned]", "two_party_plain.yaml"]),
        (("profile",), ["mpcrt profile mlp.json --last", "ui.perfetto.dev"]),
        (("certs",), ["mpcrt certs issue alice bob dealer", "DNS name", "keep ca.key to yourself"]),
        (("certs", "init"), ["--directory", "--days"]),
        (("doctor",), ["mpcrt doctor cluster.yaml --party alice", "at the same time"]),
    ],
)
def test_help_teaches(words, taught):
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    for words in taught:
        assert words in " ".join(result.output.split()) or words in result.output
    for hidden in ("--listen-fd", "--lifeline-fd", "--scratch", "--local-processes"):
        assert hidden not in result.output


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (("rnu",), "mpcrt: No such command 'rnu'. Did you mean 'run'? (see `mpcrt --help`)"),
        (("run",), "mpcrt: Missing argument 'CLUSTER' (see `mpcrt run --help`)"),
        (("run", "{cluster}"), "mpcrt: PROGRAM is missing (only a single --party may go without one) (see"),
        (("run", "{cluster}", "{program}", "more"), "mpcrt: Got unexpected extra argument (more)"),
        (("run", "{cluster}", "p.py", "--epochs", "3"), "mpcrt: No such option '--epochs' (options of the program"),
        (("run", "{cluster}", "nowhere.py"), "mpcrt: nowhere.py: no such program file"),
        (("run", "nowhere.yaml", "{program}"), "mpcrt: nowhere.yaml: no such cluster file"),
        (("run", "{cluster}", "{program}", "--party", "bbo"), "mpcrt: bbo: {cluster}:2: parties: no party 'bbo'; did"),
        (("run", "{cluster}", "{program}", "--party", "dealer"), "mpcrt: dealer: dealer is a dealer, which takes no"),
        (("bench", "{program}"), "mpcrt: Missing option '--cluster'"),
        (("bench", "no.py", "--cluster", "{cluster}"), "mpcrt: no.py: no such case file"),
        (("bench", "{program}", "--cluster", "{cluster}", "--inputs", "mine"), "mpcrt: Invalid value for '--inputs'"),
        (("bench", "{program}", "--cluster", "{cluster}", "--reps", "0"), "mpcrt: Invalid value for '--reps'"),
        (("doctor", "nowhere.yaml"), "mpcrt: nowhere.yaml: no such cluster file"),
        (("certs", "issue"), "mpcrt: Missing argument 'PARTY...'"),
        (("certs", "issue", "Alice", "--directory", "{directory}"), "mpcrt: {directory}/ca.pem is missing; `mpcrt"),
        (("certs", "show", "{program}"), "mpcrt: {program}: is not a PEM certificate"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(tmp_path, cluster, program, words, last):
    names = {"cluster": cluster, "program": program, "directory": tmp_path / "none"}
    result = invoke(*(word.format(**names) for word in words))
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(last.format(**names)), lines


def test_usage_errors_are_json_too_where_that_was_asked_for(cluster, program):
    entry = json.loads(invoke("run", cluster, program, "--log-json", "--epochs", "3").stderr)
    assert entry["exit_code"] == 2 and "No such option '--epochs'" in entry["message"]
    result = invoke("run", cluster, program, "--epochs", "3", "--", "--log-json")
    assert result.stderr.startswith("mpcrt: No such option")


def test_no_words_at_all_show_the_help():
    result = invoke()
    assert result.exit_code == 2 and "First steps" in result.stderr


def test_the_program_gets_what_follows_the_dashes(runtime, cluster, program):
    result = invoke("run", cluster, program, "--party", "bob", "-v", "--", "--epochs", "3", "--", "--help")
    assert result.exit_code == 0, result.output
    (call,) = runtime.calls
    assert call["arguments"] == ("--epochs", "3", "--", "--help")
    assert call["party"] == "bob" and call["program"] == program
    assert call["options"] == RunOptions(verbose=True)
    assert call["listens"] == configs.load(cluster).parties["bob"].address


def test_the_dealer_runs_without_a_program(runtime, cluster):
    assert invoke("run", cluster, "--party", "dealer").exit_code == 0
    assert runtime.calls[0]["program"] is None and runtime.calls[0]["arguments"] == ()


def test_a_port_in_use_ends_a_single_party(runtime, cluster, program):
    address = configs.load(cluster).parties["alice"].address
    assert address is not None
    with listening_socket(address, "test"):
        result = invoke("run", cluster, program, "--party", "alice")
    assert result.exit_code == 2 and runtime.calls == []
    assert result.stderr.startswith(f"mpcrt: alice: alice cannot listen on {address}: the port is in use")


def test_a_single_party_needs_certificates(runtime, cluster, program):
    cluster.write_text(cluster.read_text().replace("tls: 'off'\n", ""))
    result = invoke("run", cluster, program, "--party", "alice")
    assert result.exit_code == 2 and runtime.calls == []
    assert "tls: missing: a party that runs alone needs tls" in result.stderr


ERRORS = [
    (errors.UserFunctionError("load_data failed (call 3)"), 1, "load_data failed (call 3)"),
    (errors.InputError("rows['age']: NaN\n at 7"), 1, "rows['age']: NaN at 7"),
    (errors.ConfigError("bad"), 2, "bad"),
    (errors.PeerLost("bob was silent for 60 s", "bob"), 3, "bob was silent for 60 s"),
    (errors.PeerFailed("bob", "load", 2), 3, "bob failed in load (call 2); its own log has the cause"),
    (errors.PeerFailed("bob", "load", 2, 130), 3, "bob was interrupted in load (call 2)"),
    (errors.DisagreementError("call 2 differs"), 4, "call 2 differs"),
    (errors.PolicyError("bob may not see y"), 5, "bob may not see y"),
    (errors.PolicyError(), 5, "PolicyError"),
    (KeyboardInterrupt(), 130, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_end_with_their_code_and_one_line(runtime, cluster, program, error, code, message):
    runtime.result = error
    result = invoke("run", cluster, program, "--party", "alice")
    assert (result.exit_code, result.stderr) == (code, f"mpcrt: alice: {message}\n")
    result = invoke("run", cluster, program, "--party", "alice", "--log-json")
    entry = json.loads(result.stderr)
    assert result.exit_code == code
    assert datetime.datetime.fromisoformat(entry.pop("time")).tzinfo is not None
    assert entry == {"level": "error", "party": "alice", "message": message, "exit_code": code}


def test_tracebacks_come_with_verbose_only(runtime, cluster, program):
    runtime.result = errors.PeerLost("bob was silent", "bob")
    result = invoke("run", cluster, program, "--party", "alice", "-v")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("Traceback") and lines[-1] == "mpcrt: alice: bob was silent"


def test_an_internal_error_keeps_its_message_out_of_the_last_line(runtime, cluster, program):
    runtime.result = ValueError("secret 42")
    result = invoke("run", cluster, program, "--party", "alice")
    last = result.stderr.splitlines()[-1]
    assert result.exit_code == 1 and "internal error: ValueError" in last and "42" not in last


def test_an_exit_code_of_the_run_is_the_process_exit_code(runtime, cluster, program):
    runtime.result = 4
    assert invoke("run", cluster, program, "--party", "alice").exit_code == 4


def test_bench_passes_its_options(runtime, cluster, program):
    result = invoke(
        "bench", program, "a", "b", "--cluster", cluster, "--inputs", "owned", "--reps", "3", "--json", "--offline",
        "--profile", program.with_name("p.json"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    expected = {"inputs": "owned", "reps": 3, "offline": True, "profile": program.with_name("p.json")}
    assert runtime.calls == [{"cases": program, "names": ["a", "b"], **expected}]


def test_certificates_from_the_command_line(tmp_path):
    directory = tmp_path / "certs"
    assert invoke("certs", "init", "--directory", directory).exit_code == 0
    again = invoke("certs", "init", "--directory", directory)
    assert again.exit_code == 2 and "exists" in again.stderr
    issued = invoke("certs", "issue", "alice", "dealer", "--directory", directory, "--days", "3")
    assert issued.exit_code == 0, issued.output
    key = (directory / "alice.key").read_bytes()
    twice = invoke("certs", "issue", "carol", "alice", "--directory", directory)
    assert twice.exit_code == 2 and "--replace makes a new key and certificate for alice" in twice.stderr
    assert (directory / "alice.key").read_bytes() == key and not (directory / "carol.pem").exists()
    renewed = invoke("certs", "issue", "alice", "--directory", directory, "--replace")
    assert renewed.exit_code == 0 and (directory / "alice.key").read_bytes() != key
    shown = invoke("certs", "show", directory / "alice.pem", directory / "ca.pem")
    assert shown.exit_code == 0
    assert "alice" in shown.output and "CN=mpcrt trial" in shown.output and "valid" in shown.output
    assert "an authority" in shown.output


def test_doctor_says_what_to_fix(cluster):
    good = invoke("doctor", cluster)
    assert good.exit_code == 0 and "can be listened on" in good.output
    alone = invoke("doctor", cluster, "--party", "alice", "--wait", "0")
    assert alone.exit_code == 2 and "2 to fix" in alone.output and "nobody listens on the port" in alone.output


def test_version_without_jax():
    """The dealer's machine has no jax: the command line must not need it."""
    script = """
import sys
sys.modules["jax"] = None
from mpcrt.cli import main
try:
    main(["--version"])
finally:
    import mpcrt.cluster.doctor, mpcrt.cluster.launcher
    assert [name for name in sys.modules if name.startswith("jax.")] == []
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mpcrt ")
