"""`mpcrt dealer`: one process, many runs, each with keys of its own; a run's failure is that run's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mpcrt.cluster import certificates, profiles
from mpcrt.cluster import config as configs
from mpcrt.cluster.sockets import close_all, free_ports_cluster

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import mpcrt

alice, bob, spu = mpcrt.party("alice"), mpcrt.party("bob"), mpcrt.spu("spu")

@alice
def number():
    if "fail" in sys.argv:
        raise ValueError("no number today")
    return 20.0

@bob
def other():
    return 22.0

@spu
def total(x, y):
    return x + y

@bob
def report(value):
    print(f"total {float(value):.2f}")

def main():
    report(total(number(), other()).to(bob))
"""


class World:
    """A cluster's files, and processes that never outlive the test."""

    def __init__(self, place: Path) -> None:
        config, sockets = free_ports_cluster(configs.local(2))
        close_all(sockets)
        certificates.throwaway(config.names, place)
        text = config.replace(timeouts=configs.Timeouts(connect=60, idle=20)).to_yaml()
        tls = 'tls: {ca: ca.pem, certificate: "{party}.pem", key: "{party}.key"}\n'
        (place / "cluster.yaml").write_text(text + tls)
        (place / "program.py").write_text(PROGRAM)
        self.place = place
        self.started: list[subprocess.Popen[str]] = []

    def mpcrt(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "mpcrt", *words]
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        made = subprocess.Popen(command, cwd=self.place, stdout=pipe, stderr=pipe, text=True, env=environment)
        self.started.append(made)
        return made

    def run(self, number: int, *arguments: str) -> dict[str, tuple[int, str]]:
        """One run of alice and bob: their exit codes and standard output."""
        parties = {
            name: self.mpcrt(
                "run", "cluster.yaml", "program.py", "--party", name, "--profile", f"{name}{number}.json",
                "--", *arguments,
            )
            for name in ("alice", "bob")
        }  # fmt: skip
        ends = {}
        for name, process in parties.items():
            out, err = process.communicate(timeout=200)
            ends[name] = (process.returncode, out or err.splitlines()[-1])
        return ends


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()


def test_runs_one_after_the_other_each_under_its_own_keys(world):
    dealer = world.mpcrt("dealer", "cluster.yaml")
    assert world.run(1)["bob"] == (0, "total 42.00\n")
    ends = world.run(2, "fail")
    assert ends["alice"][0] == 1 and ends["bob"][0] == 3, ends
    assert world.run(3)["bob"] == (0, "total 42.00\n")
    runs = {profiles.head(world.place / f"bob{number}.json")["run"] for number in (1, 2, 3)}
    assert len(runs) == 3 and "" not in runs, "the nonce, from which all keys come, is a new one every time"
    dealer.send_signal(signal.SIGTERM)
    _, err = dealer.communicate(timeout=60)
    assert dealer.returncode == 0, err
    assert "run 2 ended: alice failed in number (call 1)" in err and "run 3 begins" in err
    assert "stopped" in err.splitlines()[-1]


def test_a_signal_in_a_run_ends_it_everywhere(world):
    (world.place / "program.py").write_text(PROGRAM.replace("return 20.0", "import time; time.sleep(120)"))
    dealer = world.mpcrt("dealer", "cluster.yaml")
    parties = [world.mpcrt("run", "cluster.yaml", "program.py", "--party", name) for name in ("alice", "bob")]
    assert dealer.stderr is not None
    assert any("run 1 begins" in line for line in dealer.stderr)
    dealer.send_signal(signal.SIGTERM)
    _, err = dealer.communicate(timeout=60)
    assert (dealer.returncode, err.splitlines()[-1]) == (130, "mpcrt: dealer: interrupted")
    for process in parties:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3 and "dealer was interrupted in the run" in err.splitlines()[-1], err


def test_its_own_key_is_looked_at_before_anybody_is_dialled(world):
    (world.place / "dealer.key").chmod(0o644)
    process = world.mpcrt("dealer", "cluster.yaml")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "run chmod 600" in err and len(err.splitlines()) == 1, err


@pytest.mark.parametrize(
    ("party", "said"), [("alice", "alice is no dealer of cluster.yaml"), ("dalr", "no party 'dalr'")]
)
def test_who_is_no_dealer_is_told_so(world, party, said):
    process = world.mpcrt("dealer", "cluster.yaml", "--party", party)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and said in err and len(err.splitlines()) == 1, err
