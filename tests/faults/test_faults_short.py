"""The fault suite's short version: real processes behind proxies. `scripts/faults` runs hundreds."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import campaign
import pytest
from fault_proxy import FOREVER, Fault
from trials import SLACK, Setting, Trial, Zygote, zygote


@pytest.fixture(scope="module")
def processes() -> Iterator[Zygote]:
    with zygote() as made:
        yield made


@pytest.fixture
def rng() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


def test_a_resident_run_outlives_faults(processes: Zygote, rng: random.Random, tmp_path: Path):
    """Cuts, resets, stalls, delays and flipped bits during many calls: right results, good ends."""
    setting = Setting(idle=6.0, calls=60, pause=0.02)
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        outcome = campaign.resident(trial, rng, 6)
    assert outcome.problems == []
    assert outcome.done and outcome.right == 60
    assert outcome.phases


def test_faults_while_connecting(processes: Zygote, rng: random.Random, tmp_path: Path):
    """At bytes of handshakes, with a party that only dials out."""
    setting = Setting(idle=6.0, dials="alice")
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        outcome = campaign.single(trial, rng)
    assert outcome.problems == []
    assert outcome.phases and set(outcome.phases) <= {"connect", "agree"}


@pytest.mark.parametrize("phase", campaign.PHASES[1:])
def test_faults_in_each_phase(processes: Zygote, rng: random.Random, tmp_path: Path, phase: str):
    """Agreeing, bringing inputs, opening, revealing: the right result."""
    setting = Setting(idle=6.0, holder="bob", holds=((phase, 3, 0.3),))
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        outcome = campaign.single(trial, rng)
    assert outcome.problems == []
    assert outcome.phases


@pytest.mark.parametrize(("victim", "how"), [("dealer", signal.SIGKILL), ("alice", signal.SIGSTOP)])
def test_a_process_that_dies_or_stops_is_named(
    processes: Zygote, rng: random.Random, tmp_path: Path, victim: str, how: signal.Signals
):
    """By every other process, within idle + 2 s, with exit code 3."""
    setting = Setting(idle=4.0, connect=20.0, calls=2000, pause=0.02)
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        assert trial.wait_bytes(50_000, trial.started + 60)
        outcome = campaign.ended(trial, [trial.signal(victim, how)], (victim,), SLACK)
    assert outcome.problems == []
    assert not outcome.done and not outcome.wrong


@pytest.mark.parametrize("busy", ["bob", "dealer"])
def test_who_is_in_a_long_step_ends_in_time_too(processes: Zygote, rng: random.Random, tmp_path: Path, busy: str):
    """It learns from its watcher that alice is gone, and ends under what would keep it for a minute."""
    setting = Setting(idle=4.0, connect=20.0, holder=busy, holds=(("rounds", 2, 60.0),))
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        assert trial.wait_held(1, trial.started + 60)
        outcome = campaign.ended(trial, [trial.signal("alice", signal.SIGKILL)], ("alice",), SLACK)
    assert outcome.problems == []


def test_a_port_that_stalls_for_ever_ends_the_run(processes: Zygote, rng: random.Random, tmp_path: Path):
    """Everybody behind it is named by somebody, in time."""
    setting = Setting(idle=4.0, connect=20.0, calls=2000, pause=0.02)
    with Trial(processes, setting, tmp_path / "run", rng.randrange(2**32)) as trial:
        assert trial.wait_bytes(50_000, trial.started + 60)
        trial.proxies["alice"].plan(Fault("stall", 0, FOREVER))
        trial.wait_bytes(trial.carried + 10**9, trial.started + 60)
        outcome = campaign.ended(trial, [at for at, _ in trial.proxies["alice"].struck], (), SLACK)
    assert outcome.problems == []
    assert not outcome.done and not outcome.wrong
