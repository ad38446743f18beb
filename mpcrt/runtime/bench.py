"""`mpcrt bench`: each case as a run of its own on local processes and free ports; a row of results a case."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mpcrt.cluster import profiles
from mpcrt.cluster.launcher import run_local
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.sockets import close_all, free_ports_cluster
from mpcrt.errors import UsageError
from mpcrt.runtime import bench_program, programs

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig


class Audience(Protocol):
    """Who is told how a benchmark goes; `repetition` may come from another thread."""

    def case(self, name: str) -> None:
        """A case begins."""

    def repetition(self, done: int) -> None:
        """So many repetitions are done."""

    def row(self, row: dict) -> None:
        """A case's results."""

    def failed(self, name: str, said: Sequence[str]) -> None:
        """A case failed; what its processes said last."""


class _Results(Relay):
    """Takes what the measuring party prints; keeps what else was said for the case that fails."""

    def __init__(self, names: Sequence[str], audience: Audience) -> None:
        super().__init__(names)
        self._audience = audience
        self.rows: list[dict] = []
        self.said: list[str] = []

    def out(self, name: str, line: str) -> None:
        if line.startswith(bench_program.MARK):
            self.rows.append(json.loads(line.removeprefix(bench_program.MARK)))
        elif line.startswith(bench_program.DONE):
            self._audience.repetition(int(line.removeprefix(bench_program.DONE)))

    def log(self, name: str, line: str) -> None:
        self.said.append(f"{name}: {line}")
        del self.said[:-200]

    def say(self, line: str) -> None:
        self.said.append(line)


def run_bench(
    cases: Path,
    names: Sequence[str],
    config: ClusterConfig,
    audience: Audience,
    *,
    inputs: str = "secret",
    reps: int = 5,
    offline: bool = False,
    profile: Path | None = None,
) -> int:
    """Measure the cases `names`; the exit code of the last that failed. `profile`: a file of where all time went.

    Raises UsageError for parties that the inputs need and the file lacks.
    """
    if inputs == "owned" and not {"alice", "bob"} <= set(config.parties) - set(config.dealers):
        raise UsageError(f"{config.file}: owned inputs are alice's and bob's; the file needs these two parties")
    code = 0
    with tempfile.TemporaryDirectory(prefix="mpcrt-bench-") as folder:
        parts = [Path(folder) / f"{number}.json" for number, _ in enumerate(names)]
        try:
            for name, part in zip(names, parts, strict=True):
                audience.case(name)
                arguments = [str(Path(cases).absolute()), name, inputs, str(reps), "offline" if offline else "online"]
                ended, relay = measure(config, arguments, audience, part if profile is not None else None)
                for row in relay.rows:
                    audience.row(row)
                if ended:
                    code = ended
                    audience.failed(name, relay.said if ended == 130 else relay.said[-60:])
                    if ended == 130:
                        break
        finally:
            if profile is not None:
                profiles.merge(profile, [part for part in parts if part.exists()])
    return code


def case_names(cases: Path, wanted: Sequence[str] = ()) -> list[str]:
    """The names in a case file's dict C, or those wanted of them. Raises UsageError for what is none."""
    found = getattr(programs.load(cases), "C", None)
    if not isinstance(found, dict) or not found or not all(callable(v) for v in found.values()):
        raise UsageError(f"{cases}: a case file has a dict C of name -> function that returns (fn, args)")
    for name in wanted:
        if name not in found:
            raise UsageError(f"{cases}: no case {name!r}; the cases are {', '.join(found)}")
    return list(wanted or found)


def measure(
    config: ClusterConfig, arguments: Sequence[str], audience: Audience, profile: Path | None
) -> tuple[int, _Results]:
    """One case: a run of the measuring program on free ports."""
    local, sockets = free_ports_cluster(config)
    relay = _Results(local.names, audience)
    try:
        options = RunOptions(profile=profile, local_processes=len(local.names))
        program = Path(bench_program.__file__)
        return run_local(local, program, arguments, options=options, relay=relay, sockets=sockets), relay
    finally:
        close_all(sockets)
