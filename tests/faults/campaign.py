"""Faults by the hundred, from one printed seed: `scripts/faults --count 300 --seed N`.

Three kinds: *resident* runs of many calls under faults that a run survives; *single* runs of a few calls with one to
three such faults at any byte from the first on, so that connecting and agreeing are hit too; *fatal* faults that last
for ever, and signals to processes. Ends with a JSON line of counts, and 1 when anything ended as it may not.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from fault_proxy import FOREVER, Fault
from trials import SLACK, Outcome, Setting, Trial, Zygote, parsed, zygote

RESIDENT_FAULTS = 20
START_SECONDS = 30.0


def survivable(rng: random.Random, setting: Setting, at: int = 0) -> Fault:
    """A fault that a run outlives: shorter than `idle` allows."""
    kinds = ["cut", "cut", "close", "one", "one", "stall", "delay", "throttle", "away"] + ["flip"] * (2 * setting.tls)
    kind = rng.choice(kinds)
    lasting = kind in ("stall", "delay", "throttle", "away")
    return Fault(kind, at, rng.uniform(0.1, setting.idle / 2) if lasting else 0.0)


def somewhere(rng: random.Random) -> int:
    """A byte of a single run: half of them before the first input, which is 6 kB in."""
    return int(6000 ** rng.random()) if rng.random() < 0.5 else rng.randrange(6000, 300_000)


def resident(trial: Trial, rng: random.Random, faults: int) -> Outcome:
    """Faults one after another while calls go on; every result has to be right and every process to end well."""
    for _ in range(faults):
        if not trial.wait_bytes(trial.carried + rng.randrange(1, 40_000), time.monotonic() + 2.0) and trial.poll():
            break
        name = rng.choice(list(trial.proxies))
        trial.proxies[name].plan(survivable(rng, trial.setting))
        time.sleep(rng.uniform(0.1, 0.6))
    late = trial.wait(time.monotonic() + 60)
    struck = [at for proxy in trial.proxies.values() for at, _ in proxy.struck]
    outcome = trial.outcome(struck)
    outcome.problems += [f"{name} did not end" for name in late]
    if not outcome.done:
        outcome.problems.append("a fault that a run outlives ended it")
    return outcome


def single(trial: Trial, rng: random.Random) -> Outcome:
    """Up to three faults at random bytes: the right result; damage to a handshake may also end the run, by name."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        name = rng.choice(list(trial.proxies))
        trial.proxies[name].plan(survivable(rng, trial.setting, somewhere(rng)))
    late = trial.wait(time.monotonic() + 60)
    faults = [each for proxy in trial.proxies.values() for each in proxy.struck]
    outcome = trial.outcome([at for at, _ in faults])
    outcome.problems += [f"{name} did not end" for name in late]
    damaged = any(fault.kind == "flip" for _, fault in faults)
    if not outcome.done and not damaged:
        outcome.problems.append("a fault that a run outlives ended it")
    judge_named(trial, outcome, victims=())
    return outcome


def fatal(trial: Trial, rng: random.Random) -> Outcome:
    """A party's port stalls or turns away for ever from a random byte on."""
    name = rng.choice(list(trial.proxies))
    proxy = trial.proxies[name]
    proxy.plan(Fault(rng.choice(["stall", "away"]), somewhere(rng), FOREVER))
    deadline = time.monotonic() + START_SECONDS
    while not proxy.struck and not trial.poll() and time.monotonic() < deadline:
        time.sleep(0.01)
    return ended(trial, [at for at, _ in proxy.struck], victims=())


def struck_down(trial: Trial, rng: random.Random, victim: str, number: signal.Signals) -> Outcome:
    """A process is killed or stopped at a random byte of the run."""
    at = rng.choice([0, somewhere(rng)])
    if not trial.wait_bytes(at, time.monotonic() + START_SECONDS) or victim in trial.endings:
        return ended(trial, [], victims=())
    if at == 0:
        time.sleep(rng.uniform(0.0, 0.5))
    moment = trial.signal(victim, number)
    return ended(trial, [moment], victims=(victim,))


def ended(trial: Trial, struck: list[float], victims: tuple[str, ...]) -> Outcome:
    """Wait for the survivors: within idle + 2 s of the fault, or `connect` and a little where it struck before."""
    setting = trial.setting
    begin = struck[0] if struck else time.monotonic()
    allowed = max(setting.idle, setting.connect) + 2 + SLACK
    while [n for n in trial.pids if n not in trial.endings and n not in victims]:
        trial.poll()
        if time.monotonic() > begin + allowed + 10:
            break
        time.sleep(0.02)
    survivors = [n for n in trial.pids if n not in victims]
    late = [n for n in survivors if n not in trial.endings]
    trial.close()
    outcome = trial.outcome(struck)
    outcome.problems += [f"{name} did not end" for name in late]
    outcome.took = max((trial.endings[n].at for n in survivors), default=begin) - begin
    bound = (setting.connect if "connect" in outcome.phases else setting.idle) + 2 + SLACK
    if struck and outcome.took > bound and not outcome.done:
        outcome.problems.append(f"the last end came after {outcome.took:.1f} s, {bound:g} are allowed")
    judge_named(trial, outcome, victims)
    return outcome


def judge_named(trial: Trial, outcome: Outcome, victims: tuple[str, ...]) -> None:
    """Each process that did not end well ends with code 3 and a line that names the victim, or another party."""
    for name, ending in outcome.endings.items():
        if ending.code == 0 or name in victims:
            continue
        last = parsed(ending.last)
        said = last.get("message", "")
        named = victims or tuple(n for n in trial.setting.names if n != name)
        if ending.code != 3 or not any(n in said for n in named):
            outcome.problems.append(f"{name} ended with {ending.code}: {ending.last[:300]}")


class Campaign:
    """Runs trials and counts."""

    def __init__(self, made: Zygote, folder: Path, seed: int) -> None:
        self.zygote, self.folder, self.rng = made, folder, random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.phases: collections.Counter[str] = collections.Counter()
        self.faults = self.runs = 0
        self.took: list[float] = []
        self.problems: list[str] = []

    def run(self, kind: str, victim: str = "", number: signal.Signals = signal.SIGKILL) -> Outcome:
        """One run of a kind, with the setting drawn."""
        rng = random.Random(self.rng.randrange(2**32))
        fixed: dict[str, object] = {"idle": rng.choice([2.0, 3.0]), "connect": 4.0}
        if kind == "resident":
            fixed |= {"idle": 4.0, "connect": 20.0, "calls": 350, "pause": 0.02}
        elif kind == "single":
            fixed |= {"idle": 4.0, "connect": 20.0}
        if victim:
            fixed |= {"parties": 3 if victim == "carol" else 2}
        setting = Setting.drawn(rng, **fixed)
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        with Trial(self.zygote, setting, folder, rng.randrange(2**32)) as trial:
            if kind == "resident":
                outcome = resident(trial, rng, RESIDENT_FAULTS)
            elif kind == "single":
                outcome = single(trial, rng)
            elif kind == "fatal":
                outcome = fatal(trial, rng)
            else:
                outcome = struck_down(trial, rng, victim, number)
            faults = [str(fault) for proxy in trial.proxies.values() for _, fault in proxy.struck]
        self._count(kind, outcome, f"{number.name} {victim}" if victim else "; ".join(faults), setting)
        return outcome

    def _count(self, kind: str, outcome: Outcome, what: str, setting: Setting) -> None:
        self.faults += len(outcome.phases)
        self.phases.update(outcome.phases)
        self.counts[f"{kind}: {'right result' if outcome.done else 'named error'}"] += 1
        if outcome.took and not outcome.done and "connect" not in outcome.phases:
            self.took.append(outcome.took - setting.idle)
        verdict = "PROBLEM" if outcome.problems else "right" if outcome.done else "named"
        print(f"{self.runs} {kind} {verdict} {outcome.took:.1f} s {setting} {what}", flush=True)
        for problem in outcome.problems:
            print("   ", problem, flush=True)
            self.problems.append(f"run {self.runs} ({kind}; {what}): {problem}")
        for name, ending in outcome.endings.items() if outcome.problems else ():
            print(f"    {name} {ending.code} {ending.last[:300]}", flush=True)

    def summary(self) -> dict[str, object]:
        """Counts for the note."""
        took = sorted(self.took)
        beyond = {"median": round(took[len(took) // 2], 2), "max": round(took[-1], 2)} if took else {}
        return {
            "runs": self.runs, "faults": self.faults, "phases": dict(self.phases), "ends": dict(self.counts),
            "seconds_beyond_idle": beyond, "problems": self.problems,
        }  # fmt: skip


def main() -> int:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="faults on the network")
    parser.add_argument("--points", type=int, default=20, help="points at which each process is killed, and stopped")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--only", choices=["resident", "single", "fatal", "signals"], default=None)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpcrt-faults-") as folder, zygote() as made:
        campaign = Campaign(made, Path(folder), options.seed)

        def until(kind: str, share: float) -> None:
            goal = campaign.faults + int(options.count * share)
            while options.only in (None, kind) and campaign.faults < goal:
                campaign.run(kind)

        until("resident", 0.5)
        until("single", 0.3)
        until("fatal", 0.2)
        for victim in ("alice", "bob", "carol", "dealer") if options.only in (None, "signals") else ():
            for number in (signal.SIGKILL, signal.SIGSTOP):
                for _ in range(options.points):
                    campaign.run(number.name, victim, number)
    print(json.dumps({"seed": options.seed, "seconds": round(time.monotonic() - start)} | campaign.summary()))
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
