"""A local run: every party and dealer of a cluster file as a process on this machine."""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mpcrt.cluster import exit_codes, profiles
from mpcrt.cluster.config import ClusterConfig
from mpcrt.cluster.logs import last_line
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.processes import GRACE, POLL, Processes
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.scratch import Scratch
from mpcrt.cluster.signals import terminating_signals
from mpcrt.cluster.sockets import close_all, free_ports_cluster

FAILURE_SLACK = 5.0
KILLED_PATIENCE = 5.0
SAID = 1.0
"""Seconds within which a process's last word is here once it has ended."""


@dataclass(frozen=True)
class Start:
    """All that one child's command line depends on."""

    file: Path
    scratch: Path
    party: str
    program: Path | None
    arguments: tuple[str, ...]
    lifeline: int
    listen: int | None
    options: RunOptions


def party_command(start: Start) -> list[str]:
    """`mpcrt run FILE [PROGRAM] --party P ...` as this interpreter runs it."""
    command = [sys.executable, "-P", "-m", "mpcrt", "run", str(start.file)]
    if start.program is not None:
        command.append(str(start.program))
    command += ["--party", start.party, "--lifeline-fd", str(start.lifeline), "--scratch", str(start.scratch)]
    command += ["--local-processes", str(start.options.local_processes)]
    if start.listen is not None:
        command += ["--listen-fd", str(start.listen)]
    for chosen in ("verbose", "quiet", "log_json", "progress"):
        if getattr(start.options, chosen):
            command.append("--" + chosen.replace("_", "-"))
    if start.options.log_file is not None:
        command += ["--log-file", str(start.options.log_file.absolute())]
    if start.options.profile is not None:
        command += ["--profile", str(profile_part(start.scratch, start.party))]
    return [*command, "--", *start.arguments]


def profile_part(scratch: Path, party: str) -> Path:
    """Where a process of a local run writes its part of the profile."""
    return scratch / f"profile.{party}.json"


class LocalRun:
    """The children of a local run with their generated files; `close` ends and removes all of it.

    With `options.profile` it also makes one profile file of all parts that processes left.

    `names` are the parties to start (default: all). `sockets` already listen on the configuration's addresses; those
    of started parties are closed here once inherited, the others stay the caller's. `config` is what the children
    read, with throwaway certificates when the file names none.
    """

    def __init__(
        self,
        config: ClusterConfig,
        sockets: Mapping[str, socket.socket],
        program: Path | None = None,
        arguments: Sequence[str] = (),
        *,
        names: Sequence[str] | None = None,
        options: RunOptions | None = None,
        command: Callable[[Start], Sequence[str]] = party_command,
        relay: Relay | None = None,
    ) -> None:
        self.names = tuple(names if names is not None else config.names)
        options = options or RunOptions(local_processes=len(self.names))
        started = {name: made for name, made in sockets.items() if name in self.names}
        self.relay = relay or Relay(self.names, prefix=not options.log_json)
        self._profile = options.profile
        try:
            self._scratch = Scratch(config)
            self.config, self.file = self._scratch.config, self._scratch.file
            try:
                self.processes = Processes(
                    self.names,
                    lambda name, inherited: command(
                        Start(
                            file=self.file,
                            scratch=self._scratch.directory,
                            party=name,
                            program=None if name in config.dealers else program,
                            arguments=() if name in config.dealers else tuple(arguments),
                            lifeline=inherited["lifeline"],
                            listen=inherited.get("listen"),
                            options=options,
                        )
                    ),
                    self.relay,
                    sockets=started,
                    keys={name: held.fileno() for name, held in self._scratch.keys.items()},
                    environment=child_environment(),
                )
            except BaseException:
                self._scratch.close()
                raise
        finally:
            close_all(started)

    def close(self, grace: float = GRACE) -> None:
        """Ends every child and removes the generated files."""
        try:
            self.processes.stop(grace)
            self._merge_profiles()
        finally:
            self._scratch.close()

    def profile_part(self, party: str) -> Path:
        """Where a process that joins this run writes its part of the profile."""
        return profile_part(self._scratch.directory, party)

    def _merge_profiles(self) -> None:
        if self._profile is None:
            return
        parts = sorted(self._scratch.directory.glob("profile.*.json"))
        found = {part.name.split(".")[1] for part in parts}
        try:
            profiles.merge(self._profile, parts, missing=set(self.names) - found)
        except OSError as error:
            self.relay.say(f"mpcrt: the profile {self._profile} cannot be written: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def child_environment() -> dict[str, str]:
    """This process's environment, with unbuffered output and this very mpcrt importable."""
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1"}
    root = Path(__file__).absolute().parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = str(root) + (os.pathsep + inherited if inherited else "")
    return environment


def run_local(
    config: ClusterConfig,
    program: Path | None,
    arguments: Sequence[str] = (),
    *,
    options: RunOptions | None = None,
    command: Callable[[Start], Sequence[str]] = party_command,
    relay: Relay | None = None,
    patience: float | None = None,
    sockets: Mapping[str, socket.socket] | None = None,
) -> int:
    """Runs a program at every party here and returns the most telling exit code; 130 when interrupted.

    The processes meet on free loopback ports, so that runs of one cluster file do not meet each other; or on the file's
    addresses, if the caller has `sockets` that listen there. Once a process has failed the others have `patience`
    seconds to end by themselves (default: `idle` and a little; less when one was killed).
    """
    patience = config.timeouts.idle + FAILURE_SLACK if patience is None else patience
    options = options or RunOptions(local_processes=len(config.names))
    relay = relay or Relay(config.names, prefix=not options.log_json)
    with terminating_signals():
        try:
            if sockets is None:
                config, sockets = free_ports_cluster(config)
            with LocalRun(config, sockets, program, arguments, options=options, command=command, relay=relay) as run:
                ended_here = _wait(run, patience)
                run.processes.close()
                returned = run.processes.return_codes
                codes = {name: exit_codes.from_return_code(returned[name]) for name in run.names}
                lost = {
                    name: code for name, code in returned.items() if name not in ended_here and _lost(name, code, relay)
                }
                codes |= dict.fromkeys((*ended_here, *lost), exit_codes.PEER)
        except KeyboardInterrupt:
            interrupted = "interrupted; every process of the run has ended"
            _say("", interrupted, exit_codes.INTERRUPTED, options, relay)
            return exit_codes.INTERRUPTED
    code = exit_codes.most_telling(codes.values())
    if code != exit_codes.DONE:
        culprit, message = _verdict(codes, code, lost, relay)
        _say(culprit, message, code, options, relay)
    return code


def _wait(run: LocalRun, patience: float) -> tuple[str, ...]:
    """Until all have ended; returns those that had to be ended because they outstayed another's failure."""
    deadline: float | None = None
    seen: dict[str, float] = {}
    failed = False
    while running := run.processes.running:
        now, codes = time.monotonic(), run.processes.return_codes
        for name, code in codes.items():
            if _lost(name, code, run.relay) and now - seen.setdefault(name, now) >= (SAID if code >= 0 else 0):
                patience, failed = min(patience, KILLED_PATIENCE), True  # the others could only wait for `idle`
        if failed or any(codes.values()):
            deadline = min(deadline or now + patience, now + patience)
        if deadline is not None and now > deadline:
            run.processes.stop()
            return running
        time.sleep(POLL)
    return ()


def _verdict(codes: Mapping[str, int], code: int, lost: Mapping[str, int], relay: Relay) -> tuple[str, str]:
    """The culprit, and what it said last, else what its code means; then every code."""
    culprit = next(name for name in codes if codes[name] == code)
    if code == exit_codes.PEER and lost:  # the others only report that they lost it
        culprit = next(iter(lost))
    if culprit in lost:
        message = _end(lost[culprit], relay.began.get(culprit))
    else:
        message = relay.ended.get(culprit, (code, ""))[1] or exit_codes.MEANINGS[code]
    listed = ", ".join(f"{name} {value}" for name, value in codes.items())
    return culprit, f"{culprit}: {message} [exit codes: {listed}]"


def _lost(name: str, code: int, relay: Relay) -> bool:
    """Whether a process has ended otherwise than it can: it was killed, or has not said that it ends."""
    return code < 0 or (code != exit_codes.INTERRUPTED and name not in relay.ended)


def _end(returned: int, began: str | None) -> str:
    """How a process ended that had no last word."""
    where = f"; the last party function that it began is {began}" if began else ""
    if returned < 0:
        return f"was killed by {_signal_name(-returned)}{where}"
    return f"its process ended with code {returned} and without a word, as by os._exit(){where}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _say(party: str, message: str, code: int, options: RunOptions, relay: Relay) -> None:
    """The launcher's last line; `party` is who it is about."""
    line = last_line(party if options.log_json else "", message, code, options.log_json)
    relay.say(line)
    if options.log_file is not None:
        with contextlib.suppress(OSError), open(options.log_file, "a", encoding="utf-8") as log:
            log.write(line + "\n")
