"""One party's process: with a program, the engine and `main`; without one, the dealer or a worker."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpcrt.cluster.forks import ends_in_child
from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, UsageError, UserFunctionError
from mpcrt.runtime import current, programs
from mpcrt.runtime.engine import DISAGREEMENT_SECONDS, Engine, failure_of
from mpcrt.runtime.follower import Service
from mpcrt.runtime.hello import Roster, greet
from mpcrt.runtime.links import make_link
from mpcrt.runtime.profile import Profile, Recorder
from mpcrt.runtime.session import Session, exit_code
from mpcrt.text import LINE, plain
from mpcrt.transport.link import Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig
    from mpcrt.cluster.options import RunOptions

log = logging.getLogger("mpcrt.run")

GRACE = 1.0
"""Seconds that user code, or a long step, has to come back after the run has failed; then the process ends under it."""


def run_party(
    config: ClusterConfig,
    party: str,
    program: Path | None,
    arguments: Sequence[str] = (),
    *,
    listen_fd: int | None = None,
    options: RunOptions | None = None,
) -> int:
    """One party's run, to its end; 0 when done. Raises what ended it: an MpcrtError, or KeyboardInterrupt.

    When user code does not come back after a failure, prints the error line and ends the process.
    """
    use_threads(options.local_processes if options else 1)
    link = make_link(config, party, listen_fd)
    profile = profile_of(config, party, options.profile if options else None)
    profile.watch(link)
    last_word = LastWord(party, options is not None and options.log_json, profile)
    try:
        if program is None:
            link.on_failure = last_word.start
            return serve(config, link, lambda: connect(config, link, has_program=False), profile)
        return run_program(config, link, program, arguments, last_word, profile)
    except BaseException as failure:
        if isinstance(failure, MpcrtError):
            last_word.start(failure, anew=True)
        leave(failure)
        raise
    finally:
        profile.write()


def profile_of(config: ClusterConfig, party: str, file: Path | None) -> Profile:
    """A recorder, if there is a file to write."""
    return Profile() if file is None else Recorder(file, party, config.names.index(party) + 1)


def use_threads(local_processes: int) -> None:
    """Share this machine's cores among its processes of the run, and keep freed memory: a first touch is slow."""
    with contextlib.suppress(ImportError):
        from mpcrt.ring import compiled

        compiled.threads = max(1, len(os.sched_getaffinity(0)) // max(local_processes, 1))
        compiled.keep_memory()


class LastWord:
    """Ends the process, with its last line, when something would keep it after the run has failed: user code, a long
    step, or what still happens while it unwinds."""

    def __init__(self, party: str, as_json: bool, profile: Profile) -> None:
        self._party, self._json, self._profile = party, as_json, profile
        self._timer: threading.Timer | None = None

    def start(self, failure: BaseException, anew: bool = False) -> None:
        """Wait GRACE seconds for an orderly end, from now on if `anew`, then end the process."""
        if self._timer is not None and anew:
            self._timer.cancel()
        if self._timer is None or anew:
            self._timer = threading.Timer(GRACE, self._end, (failure,))
            self._timer.daemon = True
            self._timer.start()

    def _end(self, failure: BaseException) -> None:
        code = exit_code(failure)
        message = plain(public_failure(failure), LINE)
        line = f"mpcrt: {self._party}: {message}"
        if self._json:
            line = json.dumps({"level": "error", "party": self._party, "message": message, "exit_code": code})
        with contextlib.suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            print(line, file=sys.stderr, flush=True)
            self._profile.write()
        os._exit(code)


def connect(config: ClusterConfig, link: Link, has_program: bool) -> Roster:
    """Bring up the link and greet everybody."""
    from mpcrt.cluster.version import package_version

    log.info("waiting for %s", ", ".join(link.peers))
    link.open()
    roster = greet(link, config, has_program=has_program, version=package_version())
    return roster


# -- without a program


def serve(config: ClusterConfig, link: Link, start: Callable[[], Roster], profile: Profile = Profile()) -> int:
    """The dealer, or a worker; `start` brings up the link."""
    service: Service | None = None
    try:
        service = Service(config, link, start(), profile=profile)
        service.serve()
        log.info("the run is over")
        return 0
    except BaseException as error:
        number, text = (service.number, service.text) if service else (0, "")
        if isinstance(error, DisagreementError):
            time.sleep(2 * DISAGREEMENT_SECONDS)
        failure = as_failure(error, f"call {number}", MpcrtError)
        if not isinstance(failure, PeerFailed):
            link.abort(failure_of(failure, link.name, text.split("(")[0], number))
        raise public_failure(failure) from error
    finally:
        close(link)


# -- with a program


def run_program(
    config: ClusterConfig, link: Link, program: Path, arguments: Sequence[str], last_word: LastWord, profile: Profile
) -> int:
    """`main()` of the program in this thread, its calls in the engine's."""
    session = Session(config, link.name)
    session.on_failure = last_word.start

    def start() -> tuple[Link, Roster]:
        return link, connect(config, link, has_program=True)

    def lost(error: MpcrtError) -> None:
        session.fail(engine.located(error))

    engine = Engine(session, start, profile)
    link.on_failure = lost
    engine.link = link
    engine.thread.start()
    token = current.session.set(session)
    try:
        with ends_in_child("main()"):
            run_main(session, program, arguments)
        session.finish()
        return 0
    except BaseException as error:
        failure = as_failure(error, "main()", UserFunctionError) if session.failure is None else session.failure
        if session.failure is None:
            if not isinstance(failure, KeyboardInterrupt):
                engine.opened.wait(config.timeouts.connect + GRACE)  # or the others would wait for this party in vain
            engine.tell(failure, "main", session.number)
        session.fail(failure, "main", session.number)
        raise public_failure(failure) from error
    finally:
        current.session.reset(token)
        if engine.opened.is_set():
            close(link)
        engine.thread.join(0.2)


def leave(failure: BaseException) -> None:
    """After a failure end the process as soon as everything is said: threads may still be in user code or in JAX, and
    unwinding them there says more than the last line, or crashes."""
    code = exit_code(failure)

    def end() -> None:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    atexit.register(end)


def run_main(session: Session, program: Path, arguments: Sequence[str]) -> None:
    """Import the program, let it be compared with the others', and run its main; sys.exit() in it is an end like any
    other."""
    sys.argv = [str(program), *arguments]
    try:
        try:
            main = programs.main_of(programs.load(program), program)
        except SystemExit:
            session.begin(programs.files_of(program), arguments)  # the others wait for it before they end
            raise
        except MpcrtError:
            raise
        except Exception as error:
            raise as_failure(error, f"importing {program.name}", UserFunctionError) from error
        session.begin(programs.files_of(program), arguments)
        programs.call_main(main, arguments)
    except SystemExit as end:
        if end.code in (None, 0):
            return
        if end.code == UsageError.exit_code:
            raise UsageError(f"{program.name} refused its arguments (those after `--`)") from None
        raise UserFunctionError(f"{program.name} ended with sys.exit({end.code!r})"[:200]) from None


def as_failure(error: BaseException, where: str, kind: type[MpcrtError]) -> BaseException:
    """What ended the run: mpcrt's own errors and interrupts as they are, anything else, logged, as one of `kind`."""
    if isinstance(error, MpcrtError | KeyboardInterrupt):
        return error
    log.error("%s failed", where, exc_info=error)
    return kind(f"{where} failed: {type(error).__name__}; the traceback is in this log")


def public_failure(failure: BaseException) -> BaseException:
    """As this process ends with it: a disagreement that a peer found first is a disagreement here."""
    if isinstance(failure, PeerFailed) and failure.code == DisagreementError.exit_code:
        return DisagreementError(str(failure))
    return failure


def close(link: Link) -> None:
    with contextlib.suppress(MpcrtError):
        link.close()
