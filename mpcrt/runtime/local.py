"""LocalCluster: the parties as real processes on this machine, for notebooks and tests."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, Self, TextIO, cast

from mpcrt.cluster import config as configs
from mpcrt.cluster.config import ClusterConfig, Party
from mpcrt.cluster.launcher import LocalRun, run_local
from mpcrt.cluster.options import RunOptions
from mpcrt.cluster.relay import Relay
from mpcrt.cluster.sockets import close_all, free_ports_cluster
from mpcrt.errors import LinkError, MpcrtError, PeerFailed, PeerLost, UsageError, UserFunctionError
from mpcrt.runtime import placements
from mpcrt.runtime.binding import ByName, by_position
from mpcrt.runtime.counters import Statistics, total
from mpcrt.runtime.engine import Engine
from mpcrt.runtime.links import make_link
from mpcrt.runtime.main import connect, profile_of
from mpcrt.runtime.program_files import program_file, program_name
from mpcrt.runtime.session import Session
from mpcrt.runtime.started import DRIVER, Started, watch
from mpcrt.runtime.values import Handle, parts

P = ParamSpec("P")


class LocalCluster:
    """A context manager: starts every party and dealer as `python -m mpcrt run ... --party P`, without a program.

    The caller joins as one more party, `driver`, which gives inputs, gets outputs and does not compute. `cluster` is a
    file, a ClusterConfig, or None for `parties` computing parties and a dealer; ports are free ones. `tls="off"` makes
    plaintext links, for measurements; otherwise certificates are made for the occasion. `verbose` shows the logs.
    `profile`: a file that shows, once all has ended, where the time of all processes went (docs/performance.md).
    """

    def __init__(
        self,
        cluster: str | Path | ClusterConfig | None = None,
        *,
        parties: int = 2,
        fraction_bits: int = 18,
        tls: Literal["off"] | None = None,
        verbose: bool = False,
        profile: str | Path | None = None,
    ) -> None:
        if cluster is None:
            config = configs.local(parties, fraction_bits=fraction_bits, tls=tls)
        else:
            config = cluster if isinstance(cluster, ClusterConfig) else configs.load(cluster)
            config = config.replace(tls="off") if tls == "off" else config
        if DRIVER in config.parties:
            raise UsageError(f"{config.file} has a party {DRIVER!r}, the name under which the caller joins; rename it")
        self.config = config
        self._verbose, self._profile = verbose, Path(profile) if profile is not None else None
        self._started: Started | None = None
        self._finalizer: weakref.finalize | None = None
        self._lock = threading.Lock()
        self._caller = 0  # the thread that has it
        self._calls, self._calling, self._ended, self._closed = 0, "", "", False

    # -- life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> Session:
        """Start the processes, if they do not run yet. Called by the first `secure` call.

        Raises UsageError, saying which call ended it, for a cluster that is closed or has failed.
        """
        self._require_usable()
        if self._started is None:
            self._started = self._start()
            self._finalizer = weakref.finalize(self, self._started.abandon)
        return self._started.session

    def _start(self) -> Started:
        joined = self.config.replace(parties={**self.config.parties, DRIVER: Party()})
        config, sockets = free_ports_cluster(joined)
        relay = quiet_relay(self.config.names, self._verbose)
        options = RunOptions(verbose=self._verbose, profile=self._profile, local_processes=len(self.config.names))
        run = LocalRun(config, sockets, names=self.config.names, options=options, relay=relay)
        started: Started | None = None
        try:
            link = make_link(run.config, DRIVER)
            recorder = profile_of(run.config, DRIVER, run.profile_part(DRIVER) if self._profile is not None else None)
            recorder.watch(link)
            session = Session(run.config, DRIVER)
            link.on_failure = lambda error: void(session.fail(error))
            engine = Engine(session, lambda: (link, connect(session.config, link, has_program=True)), recorder)
            engine.link = link
            started = Started(os.getpid(), run, session, engine, recorder)
            engine.thread.start()
            threading.Thread(target=watch, args=(session, run), name="mpcrt children", daemon=True).start()
            return started
        except BaseException:
            if started is not None:  # its engine may be dialing
                started.cancel("interrupted while it started")
            run.close()
            raise

    def close(self) -> None:
        """End all processes, at once if a call failed or still runs in another thread; no call is taken any more."""
        started, self._closed = self._started, True
        if started is None or started.pid != os.getpid():
            return
        held = self._lock.acquire(blocking=False)
        if not held:
            started.cancel("the LocalCluster was closed while a call ran")
            held = not self._within_call() and self._lock.acquire()
        try:
            self._started = None
            started.finish()
            if self._finalizer is not None:
                self._finalizer.detach()
        finally:
            if held:
                self._lock.release()

    def _require_usable(self) -> None:
        remedy = "make another one with mpcrt.LocalCluster(...)"
        if self._started is not None and self._started.pid != os.getpid():
            raise UsageError(
                f"this LocalCluster belongs to process {self._started.pid}, from which this one was forked; "
                "make one in this process"
            )
        if self._started is not None and (failure := self._started.session.failure) is not None:
            where = self._ended or "between calls"
            self._ended = where
            raise UsageError(f"this LocalCluster ended {where}: {failure}; {remedy}") from failure
        if self._closed:
            raise UsageError(f"this LocalCluster is closed{f' (it ended {self._ended})' * bool(self._ended)}; {remedy}")

    @contextlib.contextmanager
    def _call(self, name: str):
        """One call at a time. What ends the cluster within it is remembered; an interrupt ends it."""
        self._require_usable()  # before the lock: in a forked child nobody would ever release it
        if self._within_call():
            raise UsageError(f"{name} is called within a call of the same LocalCluster; let that end first")
        with self._lock:
            session, where = None, ""
            try:
                self._caller = threading.get_ident()
                session = self.start()
                session.thread = self._caller
                self._calls += 1
                where = f"in call {self._calls}, {name}"
                yield session
            except MpcrtError as error:
                raise self._explained(error) from None
            except BaseException as error:
                if not isinstance(error, Exception) and self._started is not None:
                    self._started.cancel(f"interrupted by {type(error).__name__}")
                raise
            finally:
                self._caller = 0
                if session is not None and session.failure is not None:
                    self._ended = self._ended or where

    def _within_call(self) -> bool:
        """Whether this thread runs a call, as in a function that is traced or a signal's handler: it would wait for
        itself."""
        started, here = self._started, threading.get_ident()
        return here == self._caller or (started is not None and here == started.session.busy_thread)

    # -- what it is for

    def secure(
        self,
        function: Callable[P, Any],
        static_argnums: int | Sequence[int] = (),
        *,
        static_argnames: str | Sequence[str] = (),
        device: str | None = None,
    ) -> Callable[P, Any]:
        """`function` on shares: its arguments become secrets without an owner, its result is plain JAX's pytree.

        Arguments named by `static_argnums` and `static_argnames` go to the function as they are, as with `jax.jit`.
        The result's leaves are NumPy arrays.
        """
        name = device or next(iter(self.config.devices))
        static = placements.Static.of(static_argnums, static_argnames)

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            if self._started is not None and self._started.session.tracing(placements.Spu(name)):
                return function(*args, **kwargs)  # a part of the function that calls it
            with self._call(f"{placements.short_name(function)}()") as session:
                return secure(session, placements.Spu(name), function, static, args, kwargs)

        return call

    @property
    def statistics(self) -> Statistics:
        """Rounds and bytes of all secure calls so far, of all processes."""
        with self._call("statistics") as session:
            value = session.report()
            session.wait_leaves(value)
            assert value.leaves is not None
            return total(value.leaves[0])

    def run(self, program: str | Path | Callable[[], Any], args: Sequence[str] = ()) -> None:
        """Run a program file, or a module-level function in place of its `main`, at every party, as `mpcrt run` does.

        Of a function of a notebook or script, its source and that of what it uses are written to a file.
        Raises MpcrtError saying what failed where, when a process ends with another code than 0.
        """
        self._require_usable()
        with program_file(program) as path:
            config, sockets = free_ports_cluster(self.config)
            relay = quiet_relay(config.names, self._verbose)
            said = _Last()
            relay.say = said  # type: ignore[method-assign]
            try:
                options = RunOptions(verbose=self._verbose, profile=self._profile, local_processes=len(config.names))
                code = run_local(config, path, [str(a) for a in args], options=options, relay=relay, sockets=sockets)
            finally:
                close_all(sockets)
        if code:
            kinds = {1: UserFunctionError, 2: UsageError, 130: KeyboardInterrupt}
            raise kinds.get(code, LinkError)(f"{program_name(program)} ended with code {code}: {said.line}")

    def _explained(self, error: MpcrtError) -> MpcrtError:
        """The error, with what a child that ended said last."""
        started = self._started
        if started is None or started.session.failure is None:
            return error
        run = started.run
        run.processes.wait(0.5)
        for name, code in run.processes.poll().items():
            if code < 0 and isinstance(error, PeerLost | LinkError):
                return PeerLost(f"{name}'s process was killed by signal {-code}", name)
            _, said = run.relay.ended.get(name, (code, ""))
            if said and isinstance(error, PeerFailed) and error.party == name:
                error.add_note(f"mpcrt: {name}: {said}")
        return error


def secure(
    session: Session, device: placements.Spu, function: Callable, static: placements.Static, args: tuple,
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """One secure call: arguments in, result out."""
    function, args, fixed = by_position(function, static, args, kwargs)
    names = function.names_of(len(args)) if isinstance(function, ByName) else range(len(args))
    given = [
        argument if i in fixed else session.inject(argument, DRIVER, f"argument {name}")
        for i, (name, argument) in enumerate(zip(names, args, strict=True))
    ]
    shown = session.secure_call(device, function, placements.Static(fixed), tuple(given), {})
    value, _ = parts(shown.to(placements.Party(DRIVER)))
    session.wait_leaves(value)
    return session.subtree(Handle(session, value))


def quiet_relay(names: Sequence[str], verbose: bool) -> Relay:
    """Shows the children's logs only if `verbose`; their last lines are kept in any case."""
    return Relay(names, err=None if verbose else cast(TextIO, _Nowhere()))


class _Nowhere(io.TextIOBase):
    """A text stream that forgets."""

    def write(self, text: str) -> int:  # type: ignore[override]
        return len(text)


class _Last:
    """Keeps the last thing said."""

    line = ""

    def __call__(self, line: str) -> None:
        self.line = line.removeprefix("mpcrt: ")


def void(_: object) -> None:
    return None
