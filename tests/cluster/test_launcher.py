"""Local runs with stand-in programs: exit codes, output, signals, and nothing left behind."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from beside import beside

from mpcrt.cluster import config as configs
from mpcrt.cluster import exit_codes
from mpcrt.cluster.launcher import LocalRun, Start, party_command, run_local
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.sockets import close_all, free_ports_cluster, listening_socket
from mpcrt.errors import ConfigError

STAND_IN = Path(__file__).with_name("stand_in.py")
NAMES = ("alice", "bob", "dealer")


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def eventually(condition: Callable[[], object], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


class World:
    """A free-port cluster whose parties behave as told, and a record of their process ids."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pids = tmp_path / "pids"
        self.temporary = tmp_path / "tmp"
        for directory in (self.pids, self.temporary):
            directory.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(self.temporary))
        self.out, self.err = io.StringIO(), io.StringIO()
        config, sockets = free_ports_cluster(configs.local(2))
        close_all(sockets)
        self.config = config

    def command(self, behaviours: tuple[str, ...]) -> Callable[[Start], list[str]]:
        told: dict[str, str] = dict(zip(NAMES, behaviours, strict=True))

        def command(start: Start) -> list[str]:
            words = [start.party, told[start.party], self.pids, start.scratch, start.lifeline, start.listen]
            return [sys.executable, str(STAND_IN), *(str(word) for word in words if word is not None)]

        return command

    def run(self, *behaviours: str, patience: float | None = None, options: RunOptions | None = None) -> int:
        relay = Relay(NAMES, prefix=options is None or not options.log_json, out=self.out, err=self.err)
        command = self.command(behaviours)
        code = run_local(self.config, None, (), command=command, relay=relay, patience=patience, options=options)
        assert self.left() == []
        return code

    def left(self) -> list[object]:
        """Parties' processes and files that are still there. What a party started is no child of the launcher's: it
        has been killed, but is gone only a moment later."""
        pids = [int((self.pids / name).read_text()) for name in NAMES if (self.pids / name).exists()]
        return [*(pid for pid in pids if not gone(pid)), *self.temporary.iterdir()]


@pytest.mark.parametrize(
    ("behaviours", "code", "verdict"),
    [
        (("exit0", "exit0", "exit0"), 0, None),
        (("exit3", "exit1", "exit3"), 1, "bob: load_data failed (call 1): no such file [exit codes: alice 3, bob 1, "),
        (("exit4", "exit4", "exit3"), 4, "alice: the parties disagree [exit codes: alice 4, bob 4, dealer 3]"),
        (("exit3", "exit5", "exit4"), 4, "dealer: the parties disagree"),
        (("exit3", "exit2", "exit5"), 5, "dealer: refused by policy"),
        (("exit3", "exit2", "exit0"), 2, "bob: bad usage or configuration"),
        (("exit3", "killed", "exit0"), 3, "bob: was killed by SIGKILL [exit codes: alice 3, bob 3, dealer 0]"),
        (("exit77", "exit3", "exit0"), 1, "alice: ends [exit codes: alice 1, bob 3, dealer 0]"),
        (
            ("exit3", "vanish5", "exit3"),
            3,
            "bob: its process ended with code 5 and without a word, as by os._exit(); the last party function that it "
            "began is load_data() [exit codes: alice 3, bob 3, dealer 3]",
        ),
        (("exit3", "vanish0", "exit3"), 3, "bob: its process ended with code 0 and without a word, as by os._exit()"),
        (("exit3", "vanish1", "exit4"), 4, "dealer: the parties disagree"),
    ],
)
def test_the_most_telling_exit_code_wins(world, monkeypatch, behaviours, code, verdict):
    monkeypatch.setattr("mpcrt.cluster.launcher.KILLED_PATIENCE", 60.0)  # starting takes long on a busy machine
    assert world.run(*behaviours) == code
    last = world.err.getvalue().splitlines()[-1:]
    if verdict is None:
        assert last == []
    else:
        assert last[0].startswith(f"mpcrt: {verdict}"), last


def test_output_is_passed_on_and_named(world):
    assert world.run("print", "exit0", "print") == 0
    assert world.out.getvalue() == '{"rows": 3}\n' * 2
    lines = sorted(world.err.getvalue().splitlines())
    assert lines == ["alice  | loaded", "alice  | loading", "dealer | loaded", "dealer | loading"]


def test_json_logs_have_no_prefix(world):
    assert world.run("print", "exit2", "exit0", options=RunOptions(log_json=True)) == 2
    *entries, last = [json.loads(line) for line in world.err.getvalue().splitlines()]
    assert [entry["message"] for entry in entries if entry["party"] == "alice"] == ["loading", "loaded"]
    assert (last["party"], last["exit_code"], last["time"][-6:]) == ("bob", 2, "+00:00")
    assert last["level"] == "error" and last["message"].startswith("bob: bad usage or configuration [exit codes: ")


@pytest.mark.parametrize("laggard", ["sleep", "stopped"])
def test_who_outstays_a_failure_is_ended(world, laggard):
    began = time.monotonic()
    assert world.run(laggard, "exit1", "exit0", patience=0.3) == 1
    assert time.monotonic() - began < 60
    assert "mpcrt: bob: load_data failed" in world.err.getvalue().splitlines()[-1]


def test_a_killed_process_ends_the_others_before_idle(world, monkeypatch):
    monkeypatch.setattr("mpcrt.cluster.launcher.KILLED_PATIENCE", 0.3)
    began = time.monotonic()
    assert world.run("sleep", "killed", "sleep") == 3
    assert time.monotonic() - began < 50 < world.config.timeouts.idle
    last = world.err.getvalue().splitlines()[-1]
    assert last == "mpcrt: bob: was killed by SIGKILL [exit codes: alice 3, bob 3, dealer 3]"


def test_grandchildren_end_with_their_party(world):
    assert world.run("grandchild", "exit0", "exit0") == 0
    assert eventually(lambda: gone(int((world.pids / "alice-child").read_text())))


@pytest.mark.parametrize("behaviours", [("sleep",) * 3, ("polite", "stubborn", "stopped")])
def test_closing_ends_every_child(world, behaviours):
    relay = Relay(NAMES, out=world.out, err=world.err)
    config, sockets = free_ports_cluster(world.config)
    with LocalRun(config, sockets, command=world.command(behaviours), relay=relay) as run:
        assert eventually(lambda: len(list(world.pids.iterdir())) == 3)
        run.close(grace=0.3)
    assert world.left() == []
    assert set(run.processes.return_codes) == set(NAMES)


def test_of_a_progress_bar_the_last_state_is_shown_behind_the_name(world):
    relay = Relay(NAMES, out=world.out, err=world.err)
    relay.err("bob", "\r 10%\r 90%\r100%\n")
    relay.err("bob", "written on Windows\r\n")
    assert [line.split("| ")[1] for line in world.err.getvalue().splitlines()] == ["100%", "written on Windows"]


def test_a_child_that_cannot_start_ends_the_others(world):
    def command(start: Start) -> list[str]:
        return world.command(("sleep",) * 3)(start) if start.party == "alice" else ["/nonexistent/program"]

    with pytest.raises(FileNotFoundError):
        run_local(world.config, None, command=command, relay=Relay(NAMES, out=world.out, err=world.err))
    assert world.left() == []


def test_a_local_run_does_not_need_the_ports_of_the_file(world):
    taken = world.config.parties["bob"].bind
    relay = Relay(NAMES, out=world.out, err=world.err)
    with listening_socket(taken, "test"):
        assert run_local(world.config, None, command=world.command(("exit0",) * 3), relay=relay) == 0


LAUNCHER = """
import sys
from pathlib import Path
from mpcrt.cluster import config as configs
from mpcrt.cluster.launcher import run_local

def command(start):
    behaviour = dict(zip(("alice", "bob", "dealer"), {behaviours!r}))[start.party]
    words = [start.party, behaviour, {pids!r}, start.scratch, start.lifeline, start.listen]
    return [sys.executable, {stand_in!r}, *map(str, words)]

sys.exit(run_local(configs.load({file!r}), None, command=command))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_orphans_whatever_ends_the_launcher(world, tmp_path, number):
    behaviours = ("polite", "stubborn", "sleep") if number == signal.SIGKILL else ("polite", "sleep", "sleep")
    file = tmp_path / "cluster.yaml"
    file.write_text(world.config.to_yaml())
    script = tmp_path / "launch.py"
    script.write_text(
        LAUNCHER.format(behaviours=behaviours, pids=str(world.pids), stand_in=str(STAND_IN), file=str(file))
    )
    root = Path(__file__).parents[2]
    environment = dict(os.environ) | {"TMPDIR": str(world.temporary), "PYTHONPATH": str(root)}
    launcher = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert eventually(lambda: len(list(world.pids.iterdir())) == 3)
        time.sleep(0.2)
        launcher.send_signal(number)
        _, err = launcher.communicate(timeout=100)
    finally:
        launcher.kill()
        launcher.communicate()
    if number == signal.SIGKILL:
        assert launcher.returncode == -signal.SIGKILL
    else:
        assert launcher.returncode == exit_codes.INTERRUPTED
        assert err.splitlines()[-1] == "mpcrt: interrupted; every process of the run has ended"
    assert eventually(lambda: world.left() == []), world.left()


def test_no_key_is_left_when_every_process_is_killed_at_once(world, tmp_path):
    file, script = tmp_path / "cluster.yaml", tmp_path / "launch.py"
    file.write_text(world.config.to_yaml())
    words = {"behaviours": ("sleep",) * 3, "pids": str(world.pids), "stand_in": str(STAND_IN), "file": str(file)}
    script.write_text(LAUNCHER.format(**words))
    environment = dict(os.environ) | {"TMPDIR": str(world.temporary), "PYTHONPATH": str(Path(__file__).parents[2])}
    launcher = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL, env=environment)
    pids: list[int] = []
    try:
        assert eventually(lambda: len(list(world.pids.iterdir())) == 3)
        pids = [int(pid.read_text()) for pid in world.pids.iterdir()]
        for pid in (*pids, launcher.pid):  # nobody is left to clean up
            os.kill(pid, signal.SIGSTOP)
        (scratch,) = world.temporary.iterdir()
        key = Path(os.readlink(scratch / "alice.key"))
        alice = int((world.pids / "alice").read_text())
        held = Path(f"/proc/{alice}/fd/{key.name}")
        assert b"PRIVATE KEY" in held.read_bytes() and held.stat().st_mode & 0o077 == 0
        assert not Path(f"/proc/{int((world.pids / 'bob').read_text())}/fd/{key.name}").exists(), "alice's key is hers"
    finally:
        for pid in (launcher.pid, *pids):
            os.kill(pid, signal.SIGKILL)
        launcher.wait(20)
    assert all(eventually(lambda pid=pid: gone(pid)) for pid in pids)
    left = [path for path in world.temporary.rglob("*") if path.is_file()]
    assert {path.name for path in left} >= {"ca.pem", "alice.pem"}
    assert not [path for path in left if b"PRIVATE KEY" in path.read_bytes()]


def test_a_run_in_a_thread_leaves_signals_alone(world):
    before = signal.getsignal(signal.SIGTERM)
    codes: list[int] = []
    with beside(lambda: codes.append(world.run("exit0", "exit0", "exit0"))):
        pass
    assert codes == [0] and signal.getsignal(signal.SIGTERM) is before


def test_the_generated_cluster_file_has_throwaway_certificates(world):
    relay = Relay(NAMES, out=world.out, err=world.err)
    config, sockets = free_ports_cluster(world.config)
    with LocalRun(config, sockets, command=world.command(("sleep",) * 3), relay=relay) as run:
        assert configs.load(run.file).digest() == run.config.digest() == config.digest()
        files = run.config.tls_files("bob")
        assert files is not None and files.certificate.is_file()
        assert files.ca.parent.stat().st_mode & 0o077 == 0
    assert not files.ca.exists()
    assert world.left() == []


def test_some_names_only_and_sockets_for_the_caller():
    config, sockets = free_ports_cluster(configs.local(2, tls="off"))
    try:
        script = "import sys; sys.exit(0)"
        with LocalRun(
            config, sockets, names=("alice", "dealer"), command=lambda start: [sys.executable, "-c", script]
        ) as run:
            assert run.processes.wait(100) and run.processes.return_codes == {"alice": 0, "dealer": 0}
            assert sockets["bob"].fileno() >= 0 and sockets["alice"].fileno() < 0
            assert run.config.tls == "off"
    finally:
        close_all(sockets)


def test_the_command_of_a_party(tmp_path):
    options = RunOptions(verbose=True, profile=tmp_path / "p.json", local_processes=3)
    start = Start(tmp_path / "c.yaml", tmp_path, "bob", tmp_path / "prog.py", ("--epochs", "3"), 7, 9, options)
    words = party_command(start)
    assert words[:5] == [sys.executable, "-P", "-m", "mpcrt", "run"]
    assert words[5:9] == [str(tmp_path / "c.yaml"), str(tmp_path / "prog.py"), "--party", "bob"]
    assert words[-3:] == ["--", "--epochs", "3"]
    assert str(tmp_path / "profile.bob.json") in words and "--verbose" in words
    assert words[words.index("--listen-fd") + 1] == "9"


def test_free_ports_do_not_collide_and_keep_what_must_be_agreed():
    config = configs.local(3)
    free, sockets = free_ports_cluster(config)
    other, more = free_ports_cluster(config)
    try:
        ports = {party.address.port for party in (*free.parties.values(), *other.parties.values())}  # pyright: ignore
        assert len(ports) == 8
        assert free.devices == config.devices and free.names == config.names
        for name, made in sockets.items():
            assert made.getsockname() == free.parties[name].address
            assert not made.getblocking()
    finally:
        close_all(sockets)
        close_all(more)


def test_listening_errors_say_what_to_do():
    with pytest.raises(ConfigError, match=r"alice cannot listen on 203\.0\.113\.1:9101: it is not an address of this"):
        listening_socket(configs.Endpoint("203.0.113.1", 9101), "alice")
    with pytest.raises(ConfigError, match=r"this machine does not know the name no-such-host\.invalid"):
        listening_socket(configs.Endpoint("no-such-host.invalid", 9101), "alice")


def test_a_reader_that_went_away_silences_the_relay():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        relay = Relay(NAMES, out=stream, err=io.StringIO())
        relay.out("alice", "x\n")
        relay.out("alice", "y\n")
        # what is buffered for the closed pipe must not fail the test run
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), write)


def test_exit_codes_are_documented():
    text = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"| {code} | {meaning}" in text
    assert exit_codes.most_telling([]) == 0


def test_nothing_here_imports_jax():
    script = textwrap.dedent(
        """
        import sys
        import mpcrt.cluster.launcher, mpcrt.cluster.certificates, mpcrt.cluster.config
        assert "jax" not in sys.modules
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=200)
