"""A resident dealer: one process that serves runs one after the other, each over a link and with keys of its own."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from typing import TYPE_CHECKING

from mpcrt.errors import MpcrtError
from mpcrt.runtime.account import Account
from mpcrt.runtime.hello import Roster
from mpcrt.runtime.links import make_link
from mpcrt.runtime.main import connect, serve, use_threads
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.session import exit_code

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

log = logging.getLogger("mpcrt.run")

PAUSE, LONGEST_PAUSE = 1.0, 8.0
"""Seconds between two runs: processes of the one that ended are gone before they are dialled for the next. It grows
while runs end before all are connected, as they do at once where a certificate is refused."""


def serve_runs(config: ClusterConfig, dealer: str, listening: socket.socket | None) -> int:
    """Serves runs until a signal: 0 between two runs, KeyboardInterrupt in one, which ends with it.

    Every run has a link, nonce and seeds of its own, and no wire or mask outlives it; what ends a run with an error is
    logged, and the next one is awaited. `listening` stays open all the while. Raises ConfigError for certificates that
    cannot be used.
    """
    use_threads(1)
    number, pause = 0, PAUSE
    while True:
        number += 1
        greeted = False
        link = make_link(config, dealer, os.dup(listening.fileno()) if listening else None, connect=math.inf)

        def start() -> Roster:
            nonlocal greeted, pause
            roster = connect(config, link, has_program=False)  # noqa: B023  called before the next turn
            greeted, pause = True, PAUSE
            log.info("run %d begins", number)  # noqa: B023
            return roster

        account = Account()
        try:
            serve(config, link, start, Profile(), account)
            account.close(link, 0)
        except MpcrtError as failure:
            account.close(link, exit_code(failure))
            log.error("run %d ended: %s", number, failure)
            pause = pause if greeted else min(2 * pause, LONGEST_PAUSE)
        except KeyboardInterrupt:
            if greeted:
                raise
            log.info("stopped before run %d", number)
            return 0
        try:
            time.sleep(pause)
        except KeyboardInterrupt:
            log.info("stopped after run %d", number)
            return 0
