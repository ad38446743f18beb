"""A single party's process under signals, with a runtime that only waits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpcrt.cluster import config as configs
from mpcrt.cluster.sockets import close_all, free_ports_cluster

ROOT = Path(__file__).parents[2]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WAITING = """
import sys, time, types

def run_party(config, party, program, arguments, *, listen_fd=None, options=None):
    try:
        print("up", flush=True)
        for _ in range(600):  # a signal that comes just before a sleep is seen after it
            time.sleep(0.1)
    finally:
        print("closing", flush=True)
        time.sleep({cleanup})
        print("closed", flush=True)

module = types.ModuleType("mpcrt.runtime.main")
module.run_party = run_party
sys.modules[module.__name__] = module
from mpcrt.cli import main
main()
"""


DISPOSE = """
import os, signal, sys
for number in map(int, sys.argv[1].split(",")):
    signal.signal(abs(number), signal.SIG_IGN if number < 0 else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def disposed(words: list, ignored: signal.Signals | None = None) -> list:
    """Python with these words, and with signals as a shell leaves them, but for one that is ignored: what a test under
    `nohup`, or in the background, inherits is not the party's. Without a fork in this process, which may have threads.
    """
    numbers = ",".join(str(-number if number == ignored else int(number)) for number in ENDING)
    return [sys.executable, "-c", DISPOSE, numbers, *words]


class Party:
    """One `mpcrt run --party alice`, whose orderly end takes `cleanup` seconds."""

    def __init__(
        self, tmp_path: Path, cleanup: float, *options: str, ignored: signal.Signals | None = None, **extra
    ) -> None:
        config, sockets = free_ports_cluster(configs.local(2, tls="off"))
        close_all(sockets)
        file, program, script = (tmp_path / name for name in ("cluster.yaml", "program.py", "waiting.py"))
        file.write_text(config.to_yaml())
        program.write_text("")
        script.write_text(WAITING.format(cleanup=cleanup))
        words = disposed([script, "run", file, program, "--party", "alice", *options], ignored)
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **extra
        )

    def expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def end(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=100)
        return self.process.returncode, err.strip()


@pytest.fixture
def start(tmp_path):
    """Starts parties and leaves none behind."""
    parties: list[Party] = []

    def one(*arguments, **extra) -> Party:
        place = tmp_path / str(len(parties))
        place.mkdir()
        parties.append(Party(place, *arguments, **extra))
        return parties[-1]

    yield one
    for party in parties:
        party.process.kill()
        party.process.communicate()


@pytest.mark.parametrize("number", ENDING)
def test_one_signal_is_an_orderly_end(start, number):
    party = start(0)
    party.expect("up")
    party.process.send_signal(number)
    party.expect("closing")
    party.expect("closed")
    assert party.end() == (130, "mpcrt: alice: interrupted")


@pytest.mark.parametrize("ignored", [signal.SIGHUP, signal.SIGINT])
def test_what_is_ignored_from_the_start_stays_so(start, ignored):
    party = start(0, ignored=ignored)  # as nohup does
    party.expect("up")
    party.process.send_signal(ignored)
    time.sleep(0.5)  # longer than its sleeps
    assert party.process.poll() is None
    party.process.send_signal(signal.SIGTERM)
    party.expect("closing")
    party.expect("closed")
    assert party.end() == (130, "mpcrt: alice: interrupted")


@pytest.mark.parametrize("module", ["click", "yaml", "numpy"])
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_during_imports_is_an_end_like_any_other(two_parties, tmp_path, module, number):
    program = tmp_path / "program.py"
    program.write_text("def main(): ...\n")
    words = disposed(["-X", "importtime", "-m", "mpcrt", "run", two_parties, program, "--party", "alice"])
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stderr is not None
        # Python names a module once it is there; what needs it is still being imported
        assert any(f"{module}." in line for line in process.stderr)
        process.send_signal(number)
        _, err = process.communicate(timeout=100)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err.splitlines()[-1]) == (130, "mpcrt: alice: interrupted")


def test_a_second_sigterm_does_not_disturb_the_end_but_a_second_ctrl_c_forces_it(start):
    party = start(0.5)
    party.expect("up")
    party.process.terminate()
    party.expect("closing")
    party.process.terminate()
    party.expect("closed")
    assert party.end() == (130, "mpcrt: alice: interrupted")
    party = start(60)
    party.expect("up")
    party.process.send_signal(signal.SIGINT)
    party.expect("closing")
    party.process.send_signal(signal.SIGINT)
    assert party.end() == (130, "")


@pytest.mark.parametrize(("cleanup", "name"), [(0, "mpcrt-run"), (60, "mpcrt-run"), (0, "data")])
def test_a_broken_lifeline_ends_the_party_and_removes_the_scratch_directory(start, tmp_path, cleanup, name):
    """And no other: whatever the launcher names, only what it makes for a run is removed."""
    read, write = os.pipe()
    scratch = tmp_path / name
    scratch.mkdir()
    options = ("--lifeline-fd", str(read), "--scratch", str(scratch))
    party = start(cleanup, *options, pass_fds=(read,), start_new_session=True)
    os.close(read)
    party.expect("up")
    began = time.monotonic()
    os.close(write)
    code, _ = party.end()
    assert code == (130 if cleanup == 0 else -signal.SIGKILL)
    assert time.monotonic() - began < 40
    assert scratch.exists() == (name == "data")
