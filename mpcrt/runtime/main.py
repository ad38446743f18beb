"""One party's process: with a program, the engine and `main`; without one, the dealer or a worker."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mpcrt.cluster import streams
from mpcrt.cluster.forks import ends_in_child
from mpcrt.cluster.logs import last_line, say_last
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.waiting import Waiting
from mpcrt.errors import DisagreementError, MpcrtError, PeerFailed, PeerLost, UsageError, UserFunctionError
from mpcrt.runtime import current, programs
from mpcrt.runtime.account import Account
from mpcrt.runtime.engine import DISAGREEMENT_SECONDS, Engine, failure_of
from mpcrt.runtime.follower import Service
from mpcrt.runtime.hello import Roster, meet
from mpcrt.runtime.links import make_link
from mpcrt.runtime.profile import Profile, Recorder
from mpcrt.runtime.progress import watching
from mpcrt.runtime.session import Session, exit_code
from mpcrt.text import LINE, plain
from mpcrt.transport.link import Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

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
    options = options or RunOptions()
    use_threads(options.local_processes)
    link, account = make_link(config, party, listen_fd), Account()
    profile = profile_of(config, party, options.profile)
    profile.watch(link)
    last_word = LastWord(link, options, profile, account)
    try:
        if program is None:
            link.on_failure = last_word.start
            serve(config, link, lambda: connect(config, link, has_program=False), profile, account)
        else:
            run_program(config, link, program, arguments, last_word, profile, account, options)
        account.close(link, 0)
        return 0
    except BaseException as failure:
        if isinstance(failure, MpcrtError):
            last_word.start(failure, anew=True)
        account.close(link, exit_code(failure))
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

    def __init__(self, link: Link, options: RunOptions, profile: Profile, account: Account) -> None:
        self._link, self._options, self._profile, self._account = link, options, profile, account
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
        code, shown, said = exit_code(failure), self._options, plain(public_failure(failure), LINE)
        with contextlib.suppress(Exception):
            self._account.close(self._link, code)
            say_last(last_line(self._link.name, said, code, shown.log_json), shown.log_file)
            streams.ends(code, said)
            self._profile.write()
        os._exit(code)


def connect(config: ClusterConfig, link: Link, has_program: bool) -> Roster:
    """Bring up the link and greet everybody."""
    from mpcrt.cluster.version import package_version

    log.info("waiting for %s", ", ".join(link.peers))
    with Waiting(config, link.name, lambda: link.missing) as waiting:
        try:
            return meet(link, config, has_program=has_program, version=package_version())
        except PeerLost as error:
            if not (reasons := waiting.reasons):
                raise
            raise PeerLost(f"{error}. Last seen: {reasons}. {waiting.advice}", error.peer) from None


# -- without a program


def serve(
    config: ClusterConfig,
    link: Link,
    start: Callable[[], Roster],
    profile: Profile = Profile(),
    account: Account | None = None,
) -> None:
    """The dealer, or a worker; `start` brings up the link."""
    service: Service | None = None
    try:
        service = Service(config, link, start(), profile=profile, account=account)
        service.serve()
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
    config: ClusterConfig,
    link: Link,
    program: Path,
    arguments: Sequence[str],
    last_word: LastWord,
    profile: Profile,
    account: Account,
    options: RunOptions,
) -> None:
    """`main()` of the program in this thread, its calls in the engine's."""
    session = Session(config, link.name, account)
    session.on_failure = last_word.start

    def start() -> tuple[Link, Roster]:
        return link, connect(config, link, has_program=True)

    def lost(error: MpcrtError) -> None:
        session.fail(engine.located(error))

    engine = Engine(session, start, profile)
    link.on_failure = lost
    engine.link = link
    engine.thread.start()
    before = current.session.get()
    try:
        with watching(engine, options):
            with ends_in_child("main()"):
                run_main(session, program, arguments)
            session.finish()
    except BaseException as error:
        failure = as_failure(error, "main()", UserFunctionError) if session.failure is None else session.failure
        if session.failure is None:
            if not isinstance(failure, KeyboardInterrupt):
                engine.opened.wait(config.timeouts.connect + GRACE)  # or the others would wait for this party in vain
            engine.tell(failure, "main", session.number)
        session.fail(failure, "main", session.number)
        raise public_failure(failure) from error
    finally:
        current.session.set(before)
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
    """Import the program, let it be compared with the others', and run its main, which makes placement calls: none is
    made while the program is imported. sys.exit() in it is an end like any other."""
    sys.argv = [str(program), *arguments]
    try:
        try:
            main = programs.main_of(programs.load(program), program)
        except SystemExit:
            session.begin(programs.files_of(program), arguments)  # the others wait for it before they end
            raise
        except UsageError as error:
            error.args = (f"{error}{programs.line_of(error)}",)
            raise
        except MpcrtError:
            raise
        except Exception as error:
            failure = as_failure(error, f"importing {program.name}", UserFunctionError)
            if program.stem in sys.stdlib_module_names:
                failure = UserFunctionError(
                    f"{failure}; Python has a module {program.stem!r}: give the file another name"
                )
            raise failure from error
        session.begin(programs.files_of(program), arguments)
        current.session.set(session)
        try:
            programs.call_main(main, arguments)
        except UsageError as error:
            error.args = (f"{error}{programs.line_of(error)}",)
            raise
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
