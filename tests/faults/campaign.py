"""Faults by the hundred, from one printed seed: `scripts/faults --count 300 --seed N`.

Three kinds: *resident* runs of many calls under faults that a run survives; *single* runs of a few calls with three
such faults; *fatal* faults that last for ever, and signals to processes. All but the first kind strike at a byte of
connecting, or while a party is held in a given phase, so that each phase gets its share. Ends with a JSON line of
counts, and 1 when anything ended as it may not.
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
from trials import SLACK, Outcome, Setting, Stalls, Trial, Zygote, parsed, zygote

RESIDENT_FAULTS = 20
START_SECONDS = 30.0
HOLD_SECONDS = 0.3
PHASES = ("connect", "agree", "input", "rounds", "reveal")
MESSAGES = {"agree": 30, "input": 8, "rounds": 40, "reveal": 8}
"""How many messages of each phase are looked at by a party: a call and peer have one reveal, but many rounds."""


def survivable(rng: random.Random, setting: Setting, at: int = 0) -> Fault:
    """A fault that a run outlives: shorter than `idle` allows."""
    kinds = ["cut", "cut", "close", "one", "one", "stall", "delay", "throttle", "away"] + ["flip"] * (2 * setting.tls)
    kind = rng.choice(kinds)
    lasting = kind in ("stall", "delay", "throttle", "away")
    return Fault(kind, at, rng.uniform(0.1, setting.idle / 2) if lasting else 0.0)


def connecting(rng: random.Random, setting: Setting) -> int:
    """A byte of a port's connections before all are up; TLS takes about 3 kB for each."""
    return rng.randrange(1, 3000 if setting.tls else 150)


def strike(trial: Trial, proxy: str, fault: Fault, rng: random.Random) -> None:
    """Let a fault happen now, or a few bytes later: in the midst of a message."""
    port = trial.proxies[proxy]
    at = 0 if rng.random() < 0.5 else port.carried + rng.randrange(1, 500)
    port.plan(Fault(fault.kind, at, fault.seconds))


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
    """A fault at each hold, or at bytes of connecting: the right result; damage to a handshake may also end the run,
    by name."""
    setting = trial.setting
    if not setting.holds:
        for name in list(trial.proxies):
            trial.proxies[name].plan(survivable(rng, setting, connecting(rng, setting)))
    for number in range(len(setting.holds)):
        if not trial.wait_held(number + 1, time.monotonic() + 60):
            break
        strike(trial, rng.choice(list(trial.proxies)), survivable(rng, setting), rng)
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
    """A party's port stalls or turns away for ever, from a byte of connecting or a hold on."""
    name = rng.choice(list(trial.proxies))
    proxy, kind = trial.proxies[name], rng.choice(["stall", "away"])
    deadline = time.monotonic() + START_SECONDS
    if not trial.setting.holds:
        proxy.plan(Fault(kind, connecting(rng, trial.setting), FOREVER))
    elif trial.wait_held(1, deadline):
        strike(trial, name, Fault(kind, 0, FOREVER), rng)
    while not proxy.struck and not trial.poll() and time.monotonic() < deadline:
        time.sleep(0.01)
    return ended(trial, [at for at, _ in proxy.struck], victims=())


def struck_down(trial: Trial, rng: random.Random, victim: str, number: signal.Signals) -> Outcome:
    """A process is killed or stopped, while connecting or at a hold of it or another."""
    deadline = trial.started + START_SECONDS
    if not trial.setting.holds:
        reached = trial.wait_bytes(rng.choice([0, connecting(rng, trial.setting)]), deadline)
    else:
        reached = trial.wait_held(1, deadline)
        time.sleep(rng.uniform(0.0, HOLD_SECONDS))
    if trial.poll() or not reached or victim in trial.endings:
        return ended(trial, [], victims=())
    return ended(trial, [trial.signal(victim, number)], victims=(victim,))


def ended(trial: Trial, struck: list[float], victims: tuple[str, ...], slack: float = 0.0) -> Outcome:
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
    bound = (max(setting.connect, setting.idle) if "connect" in outcome.phases else setting.idle) + 2 + slack
    if struck and outcome.took > bound and not outcome.done:
        outcome.problems.append(f"the last end came after {outcome.took:.2f} s, {bound:g} are allowed")
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
        self.phases: dict[str, collections.Counter[str]] = {
            kind: collections.Counter() for kind in ("resident", "single", "fatal", "SIGKILL", "SIGSTOP")
        }
        self.parties: collections.Counter[str] = collections.Counter()
        self.runs = 0
        self.took: dict[str, list[float]] = collections.defaultdict(list)
        self.problems: list[str] = []
        self.stalls = Stalls()

    def run(self, kind: str, phase: str = "", victim: str = "", number: signal.Signals = signal.SIGKILL) -> Outcome:
        """One run of a kind, with the setting drawn and the faults in `phase`."""
        rng = random.Random(self.rng.randrange(2**32))
        fixed: dict[str, object] = {"idle": rng.choice([2.0, 3.0]), "connect": 4.0}
        if kind == "resident":
            fixed |= {"idle": 4.0, "connect": 20.0, "calls": 350, "pause": 0.02}
        elif kind == "single":
            fixed |= {"idle": 4.0, "connect": 20.0}
        if victim:
            fixed |= {"parties": 3 if victim == "carol" else rng.choice([2, 3])}
        if phase not in ("", "connect"):
            places = rng.sample(range(1, MESSAGES[phase] + 1), 3 if kind == "single" else 1)
            fixed["holds"] = tuple((phase, place, HOLD_SECONDS) for place in sorted(places))
            fixed |= {"connect": 20.0, "calls": 12}
        setting = Setting.drawn(rng, **fixed)
        self.runs += 1
        folder, begin = self.folder / f"run{self.runs}", time.monotonic()
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
        what = f"{number.name} {victim}" if victim else "; ".join(faults)
        if outcome.problems:
            what += f"; the machine stood still for {self.stalls.since(begin):.2f} s"
        self._count(kind, outcome, what, setting)
        return outcome

    def struck(self, *kinds: str, phase: str = "") -> int:
        """Faults of these kinds so far, in a phase or in all."""
        return sum(n for kind in kinds for name, n in self.phases[kind].items() if phase in ("", name))

    def _count(self, kind: str, outcome: Outcome, what: str, setting: Setting) -> None:
        self.phases[kind].update(outcome.phases)
        for phase in outcome.phases if kind in ("resident", "single", "fatal") else ():
            self.parties[f"{setting.parties} parties: {phase}"] += 1
        self.counts[f"{kind}: {'right result' if outcome.done else 'named error'}"] += 1
        if outcome.took and not outcome.done and "connect" not in outcome.phases:
            self.took[kind].append(outcome.took - setting.idle)
        verdict = "PROBLEM" if outcome.problems else "right" if outcome.done else "named"
        phases = ",".join(outcome.phases)
        print(f"{self.runs} {kind} {verdict} {phases} {outcome.took:.2f} s {setting} {what}", flush=True)
        for problem in outcome.problems:
            print("   ", problem, flush=True)
            self.problems.append(f"run {self.runs} ({kind}; {what}): {problem}")
        for name, ending in outcome.endings.items() if outcome.problems else ():
            print(f"    {name} {ending.code} {ending.last[:300]}", flush=True)

    def summary(self) -> dict[str, object]:
        """Counts for the note."""
        beyond = {
            kind: {"median": round(sorted(took)[len(took) // 2], 2), "max": round(max(took), 2)}
            for kind, took in self.took.items()
        }
        return {
            "runs": self.runs, "faults": self.struck("resident", "single", "fatal"),
            "phases": {kind: dict(counter) for kind, counter in self.phases.items()},
            "parties": dict(sorted(self.parties.items())), "ends": dict(self.counts),
            "seconds_beyond_idle": beyond, "problems": self.problems,
        }  # fmt: skip


def main() -> int:
    """The long version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="faults on the network")
    parser.add_argument("--points", type=int, default=20, help="points at which each process is killed, and stopped")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--only", choices=["resident", "single", "fatal", "signals"], default=None)
    parser.add_argument("--victims", nargs="+", default=["alice", "bob", "carol", "dealer"])
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mpcrt-faults-") as folder, zygote() as made:
        campaign = Campaign(made, Path(folder), options.seed)

        def until(kind: str, share: float, phase: str = "") -> None:
            goal = campaign.struck(kind, phase=phase) + int(options.count * share + 0.5)
            tries = 0
            while options.only in (None, kind) and campaign.struck(kind, phase=phase) < goal and tries < options.count:
                campaign.run(kind, phase)
                tries += 1

        until("resident", 0.2)
        for phase in PHASES:
            until("single", 0.12, phase)
            until("fatal", 0.04, phase)
        for victim in options.victims if options.only in (None, "signals") else ():
            for number in (signal.SIGKILL, signal.SIGSTOP):
                for point in range(options.points):
                    campaign.run(number.name, PHASES[point % len(PHASES)], victim, number)
    print(json.dumps({"seed": options.seed, "seconds": round(time.monotonic() - start)} | campaign.summary()))
    return 1 if campaign.problems else 0


if __name__ == "__main__":
    sys.exit(main())
