"""`mpcrt bench`: each case as a run of its own on local processes and free ports, one JSON object a case."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpcrt.cluster.launcher import run_local
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.sockets import close_all, free_ports_cluster
from mpcrt.errors import UsageError
from mpcrt.runtime import bench_program, programs

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig


class _Results(Relay):
    """Takes the JSON lines that the measuring party prints; keeps what else was said for the case that fails."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self.rows: list[dict] = []
        self.said: list[str] = []

    def out(self, name: str, line: str) -> None:
        if line.startswith(bench_program.MARK):
            self.rows.append(json.loads(line.removeprefix(bench_program.MARK)))

    def err(self, name: str, line: str) -> None:
        if line.strip():
            self.last[name] = line.rstrip()
        self.said.append(f"{name}: {line.rstrip()}")
        del self.said[:-200]

    def say(self, line: str) -> None:
        self.said.append(line)


def run_bench(
    cases: Path,
    names: Sequence[str],
    config: ClusterConfig,
    *,
    inputs: str = "secret",
    reps: int = 5,
    as_json: bool = False,
    offline: bool = False,
    out: io.TextIOBase | None = None,
) -> int:
    """Measure the cases (default: all of the file) and print a line each; the exit code of the last that failed.

    Raises UsageError for a file without cases, a name that is none, or parties that the inputs need and the file lacks.
    """
    known = case_names(cases)
    for name in names:
        if name not in known:
            raise UsageError(f"{cases}: no case {name!r}; the cases are {', '.join(known)}")
    if inputs == "owned" and not {"alice", "bob"} <= set(config.parties) - set(config.dealers):
        raise UsageError(f"{config.file}: owned inputs are alice's and bob's; the file needs these two parties")
    code = 0
    for name in names or known:
        arguments = [str(Path(cases).absolute()), name, inputs, str(reps), "offline" if offline else "online"]
        ended, relay = measure(config, arguments)
        for row in relay.rows:
            print(json.dumps(row) if as_json else brief(row), file=out or sys.stdout, flush=True)
        if ended:
            code = ended
            lines = relay.said if ended == 130 else relay.said[-60:]
            print(*lines, f"mpcrt: case {name} failed", sep="\n", file=sys.stderr, flush=True)
            if ended == 130:
                break
    return code


def case_names(cases: Path) -> list[str]:
    """The names in a case file's dict C."""
    found = getattr(programs.load(cases), "C", None)
    if not isinstance(found, dict) or not found or not all(callable(v) for v in found.values()):
        raise UsageError(f"{cases}: a case file has a dict C of name -> function that returns (fn, args)")
    return list(found)


def measure(config: ClusterConfig, arguments: Sequence[str]) -> tuple[int, _Results]:
    """One case: a run of the measuring program on free ports."""
    local, sockets = free_ports_cluster(config)
    relay = _Results(local.names)
    try:
        options = RunOptions(local_processes=len(local.names))
        program = Path(bench_program.__file__)
        return run_local(local, program, arguments, options=options, relay=relay, sockets=sockets), relay
    finally:
        close_all(sockets)


def brief(row: dict) -> str:
    """A result as a line for people."""
    seconds = sorted(row["seconds"])
    return (
        f"{row['case']:24} {seconds[len(seconds) // 2] * 1e3:10.2f} ms  error {row['max_abs_error']:.1e}  "
        f"{row['rounds']} rounds  {row['party_bytes'] / 1e6:.3f} MB sent, {row['dealer_bytes'] / 1e6:.3f} MB dealt"
    )
