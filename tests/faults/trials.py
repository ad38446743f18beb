"""Runs of real processes behind proxies: start them, let faults strike, wait for every end, and judge it."""

from __future__ import annotations

import datetime
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import yaml
from fault_proxy import FaultProxy

from mpcrt.cluster import certificates
from mpcrt.transport.addresses import dialed_by

HERE = Path(__file__).parent
NAMES = ("alice", "bob", "carol", "dealer")
SLACK = 4.0
"""Seconds beyond idle + 2 for a busy machine, in tests; the campaign allows none."""


class Stalls(threading.Thread):
    """Notices when this machine stands still as a whole, as a guest of a busy host does: read beside a finding."""

    LEAST = 0.1

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._noticed: list[tuple[float, float]] = []  # when it went on, and for how long it had stood still
        self.start()

    def run(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(0.01)
            now = time.monotonic()
            if now - last > self.LEAST:
                self._noticed.append((now, now - last))
            last = now

    def since(self, begin: float) -> float:
        """Seconds of standing still since then."""
        return sum(long for at, long in self._noticed if at >= begin)


class Zygote:
    """The process that all others are forks of."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=dict(os.environ) | {"PYTHONPATH": str(HERE.parents[1]), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, request: object) -> object:
        """One request, one answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def close(self) -> None:
        """End it; its children have ended before."""
        assert self._process.stdin is not None
        with self._process:
            try:
                self._process.stdin.close()
                self._process.wait(10)
            finally:
                self._process.kill()


@dataclass
class Setting:
    """What a run is like. `dials` has no address, so it dials everybody. Times in seconds."""

    parties: int = 2
    tls: bool = True
    idle: float = 3.0
    connect: float = 20.0
    calls: int = 6
    pause: float = 0.01
    dials: str = ""
    holder: str = "alice"
    holds: tuple[tuple[str, int, float], ...] = ()
    """Where `holder` waits for a fault: (phase, number of the message in that phase, seconds)."""

    @classmethod
    def drawn(cls, rng: random.Random, **fixed: object) -> Setting:
        """A random one."""
        parties = rng.choice([2, 2, 3])
        drawn = {"parties": parties, "tls": rng.random() < 0.75, "dials": rng.choice(["", "", "alice", "dealer"])}
        drawn["holder"] = rng.choice(NAMES[: int(str(fixed.get("parties", parties)))])
        return cls(**(drawn | fixed))  # type: ignore[arg-type]

    @property
    def names(self) -> tuple[str, ...]:
        return (*NAMES[: self.parties], "dealer")


@dataclass
class Ending:
    """How one process ended: exit code, last line on standard error, and when (monotonic)."""

    code: int
    last: str
    at: float


@dataclass
class Outcome:
    """A run that is over. `problems` are empty when it ended as it may."""

    endings: dict[str, Ending]
    right: int
    wrong: list[str]
    phases: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    took: float = 0.0
    """Seconds from the fault to the last end, for faults that end a run."""

    @property
    def done(self) -> bool:
        return all(ending.code == 0 for ending in self.endings.values())


class Trial:
    """One run: its processes, and a proxy in front of every port that others dial; each link has one of them."""

    def __init__(self, zygote: Zygote, setting: Setting, folder: Path, seed: int) -> None:
        self.setting, self.folder = setting, folder
        self._zygote = zygote
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        listening = [name for name in setting.names if name != setting.dials]
        self.proxies: dict[str, FaultProxy] = {}
        self.pids: dict[str, int] = {}
        self.endings: dict[str, Ending] = {}
        with ExitStack() as ending:
            ending.callback(self.close)
            with ExitStack() as stack:  # until all have theirs, or a proxy might get one of the ports
                held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in listening]
                self.ports = {name: sock.getsockname()[1] for name, sock in zip(listening, held, strict=True)}
                places = {n: f"127.0.0.1:{self.ports[n]}" if n in self.ports else None for n in setting.names}
                dialed = {peer for name in setting.names for peer in dialed_by(name, places)}
                for number, name in enumerate(sorted(dialed)):
                    self.proxies[name] = FaultProxy(self.ports[name], seed + number)
            (folder / "cluster.yaml").write_text(self._cluster())
            self.started = time.monotonic()
            self._clock = time.time() - time.monotonic()
            for name in setting.names:
                self.pids[name] = self._start(name)
            ending.pop_all()  # it is up: who made it closes it

    def _cluster(self) -> str:
        setting, parties = self.setting, {}
        for name in setting.names:
            parties[name] = {}
            if name in self.ports:
                seen = self.proxies[name].port if name in self.proxies else self.ports[name]
                parties[name] = {"address": f"127.0.0.1:{seen}", "listen": f"127.0.0.1:{self.ports[name]}"}
        device = {"parties": list(setting.names[:-1]), "dealer": "dealer", "fraction_bits": 18}
        data = {"name": "faults", "parties": parties, "devices": {"spu": device}}
        data["timeouts"] = {"connect": setting.connect, "idle": setting.idle}
        certs = self.folder.parent / "certs"
        if not certs.exists():
            certs.mkdir()
            certificates.throwaway(NAMES, certs)
        files = {"ca": "ca.pem", "certificate": "{party}.pem", "key": "{party}.key"}
        data["tls"] = {key: str(certs / file) for key, file in files.items()} if setting.tls else "off"
        return yaml.safe_dump(data, sort_keys=False)

    def _start(self, name: str) -> int:
        words = ["run", str(self.folder / "cluster.yaml")]
        program = [] if name == "dealer" else [str(HERE / "resident.py")]
        arguments = [] if name == "dealer" else ["--", str(self.setting.calls), str(self.setting.pause)]
        argv = [*words, *program, "--party", name, "-v", "--log-json", *arguments]
        files = {key: str(self.folder / f"{name}.{key}") for key in ("out", "err")}
        files["trace"] = str(self.folder / f"{name}.trace")
        holds = self.setting.holds if name == self.setting.holder else ()
        number = self._zygote.ask({"argv": argv, "holds": holds, **files})
        assert isinstance(number, int)
        return number

    @property
    def carried(self) -> int:
        """Bytes through all proxies."""
        return sum(proxy.carried for proxy in self.proxies.values())

    def poll(self) -> bool:
        """Whether all have ended."""
        running = [name for name in self.pids if name not in self.endings]
        codes = self._zygote.ask([self.pids[name] for name in running]) if running else []
        assert isinstance(codes, list)
        for name, code in zip(running, codes, strict=True):
            if code is not None:
                self.endings[name] = Ending(code, (self._said(name) or [""])[-1], time.monotonic())
        return len(self.endings) == len(self.pids)

    def wait(self, until: float) -> list[str]:
        """Wait for all to end; those that have not by `until` (monotonic) are killed and returned."""
        while not self.poll():
            if time.monotonic() > until:
                late = [name for name in self.pids if name not in self.endings]
                self.close()
                return late
            time.sleep(0.02)
        return []

    def wait_bytes(self, count: int, until: float) -> bool:
        """Wait until so many bytes have crossed the proxies; False when the run or the time was over before."""
        while self.carried < count:
            if self.poll() or time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    def wait_held(self, count: int, until: float) -> bool:
        """Wait until the holder waits for the `count`-th time; False when the run or the time was over before."""
        file = self.folder / f"{self.setting.holder}.trace"
        while not file.exists() or file.read_text().count("held") < count:
            if self.poll() or time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    def signal(self, name: str, number: signal.Signals) -> float:
        """Send a signal to a process, if it has not ended; when."""
        with suppress(ProcessLookupError):
            os.kill(self.pids[name], number)
        return time.monotonic()

    def close(self) -> None:
        """Kill what is left and close the proxies."""
        for name in self.pids:
            if name not in self.endings:
                self.signal(name, signal.SIGKILL)
        try:
            while not self.poll():
                time.sleep(0.01)
        finally:
            for proxy in self.proxies.values():
                proxy.close()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def _said(self, name: str, stream: str = "err") -> list[str]:
        """Lines of a process; none when it was killed before it had a file."""
        file = self.folder / f"{name}.{stream}"
        return file.read_text().splitlines() if file.exists() else []

    def outcome(self, struck: Sequence[float] = ()) -> Outcome:
        """What bob printed, how all ended, and in which phases the faults struck."""
        lines = self._said("bob", "out")
        right = sum(line.startswith("right ") for line in lines)
        wrong = [line for line in lines if not line.startswith("right ")]
        outcome = Outcome(dict(self.endings), right, wrong, self._phases(struck))
        problems = outcome.problems
        if wrong:
            problems.append(f"wrong results: {wrong}")
        for name, ending in self.endings.items():
            if ending.code == 1000:
                problems.append(f"{name} left processes behind")
            if ending.code == 0 and name == "bob" and right != self.setting.calls:
                problems.append(f"bob ended well after {right} of {self.setting.calls} calls")
        for name, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    problems.append(f"{name}'s port is still bound")
        return outcome

    def _phases(self, struck: Sequence[float]) -> list[str]:
        """The phase of the run at each moment: connecting until all are, then what the computing parties were at."""
        events: list[tuple[float, str]] = []
        links: dict[str, float] = {}
        for name in self.setting.names:
            for line in self._said(name):
                entry = parsed(line)
                message = entry.get("message", "")
                if "time" in entry and message.startswith("connected to"):
                    when = datetime.datetime.fromisoformat(entry["time"]).timestamp() - self._clock
                    links.setdefault(f"{name} {message.split()[2]}", when)  # not when it is connected again
            file = self.folder / f"{name}.trace"
            if name != "dealer" and file.exists():
                words = map(str.split, file.read_text().splitlines())
                events += [(float(when), phase) for when, phase, *_ in words]
        if len(links) < len(self.setting.names) * (len(self.setting.names) - 1):
            return ["connect" for _ in struck]
        up = max(links.values())
        events.sort()
        latest = [next((phase for at, phase in reversed(events) if at <= moment), "agree") for moment in struck]
        return ["connect" if moment < up else phase for moment, phase in zip(struck, latest, strict=True)]


def parsed(line: str) -> dict[str, str]:
    """A log line as an object."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A zygote that is ended."""
    made = Zygote()
    try:
        yield made
    finally:
        made.close()
