"""What the command line asks of one party's run, beyond the program and its arguments."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOptions:
    """Options of `mpcrt run`. `local_processes` is how many processes of the run share this machine's cores;
    `progress`: the launcher wants to hear how far long calls are."""

    verbose: bool = False
    quiet: bool = False
    log_json: bool = False
    log_file: Path | None = None
    profile: Path | None = None
    local_processes: int = 1
    progress: bool = False
