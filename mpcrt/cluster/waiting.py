"""Why a peer is not there yet: what a look at its port says, while a run waits for it."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from mpcrt.cluster.config import ClusterConfig
from mpcrt.cluster.endpoint import Endpoint
from mpcrt.cluster.introductions import BANNER, ZEROMQ

LOOK, SAY = 3.0, 15.0
"""Seconds between two looks, and between two words on what they found."""
TIMEOUT = 2.0

log = logging.getLogger("mpcrt.run")


def look(endpoint: Endpoint) -> str:
    """What is at an address now, in words. It takes TIMEOUT seconds at most, and a little."""
    try:
        with socket.create_connection(endpoint, timeout=TIMEOUT) as made:
            made.settimeout(TIMEOUT)
            first = made.recv(len(BANNER))
    except TimeoutError:
        return "no answer (a firewall that drops packets looks like this)"
    except ConnectionRefusedError:
        return "the machine answers, but nothing listens on the port"
    except socket.gaierror:
        return "the host name is not known here"
    except OSError as error:
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            return "there is no route to it"
        return error.strerror or str(error)
    if first[:1] == ZEROMQ:
        return "a run listens there, which has not connected: it waits for others, or is another run"
    if BANNER.startswith(first) and first:
        return "its doctor listens there, not its run"
    return "another program answers there"


class Waiting:
    """While a link comes up, says from time to time for whom it waits and why. `missing()` gives the peers' names."""

    def __init__(self, config: ClusterConfig, party: str, missing: Callable[[], Sequence[str]]) -> None:
        self._config, self._party, self._missing = config, party, missing
        self._found: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mpcrt waiting", daemon=True)

    @property
    def reasons(self) -> str:
        """`bob (10.0.0.2:9102): nothing listens ...; carol ...` of those missing now, as last seen; empty without any.

        It asks nobody, so that an end is not put off.
        """
        return "; ".join(
            f"{peer} ({self._config.parties[peer].address or 'which dials this party'}): {self._found[peer]}"
            for peer in self._missing()
            if peer in self._found
        )

    @property
    def advice(self) -> str:
        """What finds out more."""
        return f"`mpcrt doctor {self._config.file} --party {self._party}`, at all parties at once, says what to mend"

    def _watch(self) -> None:
        say_at = time.monotonic()
        pause = min(LOOK, self._config.timeouts.connect / 2)
        while not self._stop.wait(pause):
            for peer in self._missing():
                endpoint = self._config.parties[peer].address
                self._found[peer] = "it has not dialled yet" if endpoint is None else look(endpoint)
            if time.monotonic() >= say_at and not self._stop.is_set() and (reasons := self.reasons):
                log.info("still waiting for %s. %s", reasons, self.advice)
                say_at = time.monotonic() + SAY
            pause = LOOK

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
