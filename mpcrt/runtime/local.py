"""LocalCluster: the parties as real processes on this machine, for notebooks and tests."""

from __future__ import annotations

import contextlib
import inspect
import io
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
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
from mpcrt.runtime.profile import Profile
from mpcrt.runtime.session import Session
from mpcrt.runtime.values import Handle, parts

DRIVER = "driver"
P = ParamSpec("P")
CLOSE_SECONDS = 5.0
POLL_SECONDS = 0.2


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
        self._recorder = Profile()
        self._run: LocalRun | None = None
        self._session: Session | None = None
        self._engine: Engine | None = None
        self._lock = threading.Lock()

    # -- life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> Session:
        """Start the processes, if they do not run yet. Called by the first `secure` call."""
        if self._session is not None:
            return self._session
        joined = self.config.replace(parties={**self.config.parties, DRIVER: Party()})
        config, sockets = free_ports_cluster(joined)
        relay = quiet_relay(self.config.names, self._verbose)
        options = RunOptions(verbose=self._verbose, profile=self._profile, local_processes=len(self.config.names))
        self._run = LocalRun(config, sockets, names=self.config.names, options=options, relay=relay)
        try:
            link = make_link(self._run.config, DRIVER)
            part = self._run.profile_part(DRIVER) if self._profile is not None else None
            self._recorder = profile_of(self._run.config, DRIVER, part)
            self._recorder.watch(link)
            session = Session(self._run.config, DRIVER)
            link.on_failure = lambda error: void(session.fail(error))
            self._engine = Engine(
                session, lambda: (link, connect(session.config, link, has_program=True)), self._recorder
            )
            self._engine.link = link
            self._engine.thread.start()
        except BaseException:
            self._run.close()
            raise
        self._session = session
        threading.Thread(target=watch, args=(session, self._run), name="mpcrt children", daemon=True).start()
        return session

    def close(self) -> None:
        """End all processes. After a failure they are ended at once."""
        session, run, engine = self._session, self._run, self._engine
        self._session = self._run = self._engine = None
        if run is None:
            return
        try:
            if session is not None and session.failure is None:
                session.thread = threading.get_ident()
                with contextlib.suppress(MpcrtError):
                    session.finish()
            if engine is not None and engine.link is not None:
                with contextlib.suppress(MpcrtError):
                    engine.link.close()
            if session is not None and session.failure is None:
                run.processes.wait(CLOSE_SECONDS)
            self._recorder.write()
        finally:
            run.close()

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
            with self._lock:
                return self._secure(placements.Spu(name), function, static, args, kwargs)

        return call

    def _secure(
        self, device: placements.Spu, function: Callable, static: placements.Static, args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        function, args, fixed = by_position(function, static, args, kwargs)
        names = function.names_of(len(args)) if isinstance(function, ByName) else range(len(args))
        session = self.start()
        session.thread = threading.get_ident()
        try:
            given = [
                argument if i in fixed else session.inject(argument, DRIVER, f"argument {name}")
                for i, (name, argument) in enumerate(zip(names, args, strict=True))
            ]
            shown = session.secure_call(device, function, placements.Static(fixed), tuple(given), {})
            value, _ = parts(shown.to(placements.Party(DRIVER)))
            session.wait_leaves(value)
            return session.subtree(Handle(session, value))
        except MpcrtError as error:
            raise self._explained(error) from None

    @property
    def statistics(self) -> Statistics:
        """Rounds and bytes of all secure calls so far, of all processes."""
        with self._lock:
            session = self.start()
            session.thread = threading.get_ident()
            value = session.report()
            session.wait_leaves(value)
            assert value.leaves is not None
            return total(value.leaves[0])

    def run(self, program: str | Path | Callable[[], Any], args: Sequence[str] = ()) -> None:
        """Run a program file, or a module-level function in place of its `main`, at every party, as `mpcrt run` does.

        Raises MpcrtError saying what failed where, when a process ends with another code than 0.
        """
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
        run = self._run
        if run is None:
            return error
        run.processes.wait(0.5)
        for name, code in run.processes.poll().items():
            if code < 0 and isinstance(error, PeerLost | LinkError):
                return PeerLost(f"{name}'s process was killed by signal {-code}", name)
            last = run.relay.last.get(name, "")
            if last.startswith(f"mpcrt: {name}: ") and isinstance(error, PeerFailed) and error.party == name:
                error.add_note(last)
        return error


def watch(session: Session, run: LocalRun) -> None:
    """Until the run ends: a child that is killed ends it at once, without waiting for its silence."""
    while session.failure is None and not session.finished:
        for name, code in run.processes.poll().items():
            if code < 0:
                session.fail(PeerLost(f"{name}'s process was killed by signal {-code}", name))
        time.sleep(POLL_SECONDS)


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


def program_name(program: str | Path | Callable[[], Any]) -> str:
    return placements.function_name(program) if callable(program) else str(program)


@contextlib.contextmanager
def program_file(program: str | Path | Callable[[], Any]):
    """The path of a program file; for a function, a file that runs it instead of main.

    Raises UsageError for what other processes could not import.
    """
    if not callable(program):
        path = Path(program)
        if not path.is_file():
            raise UsageError(f"{path}: no such program file")
        yield path
        return
    path = module_file(program)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mpcrt-program-") as folder:
        stub = Path(folder) / f"run_{path.stem}.py"
        stub.write_text(
            "from pathlib import Path\n\nfrom mpcrt.runtime import programs\n\n"
            f"main = getattr(programs.load(Path({str(path)!r})), {program.__name__!r})\n",
            encoding="utf-8",
        )
        yield stub


def module_file(function: Callable[..., Any]) -> Path:
    """The file of a module-level function. Raises UsageError for closures, lambdas, and functions of `__main__`."""
    name = placements.function_name(function)
    module: ModuleType | None = sys.modules.get(getattr(function, "__module__", ""))
    remedy = "save it to a file, as a function of a module, and pass that function or the file"
    if module is None or module.__name__ == "__main__":
        raise UsageError(f"{name} is defined in this notebook or script, which other processes cannot import; {remedy}")
    if getattr(module, name, None) is not function or not getattr(module, "__file__", None):
        raise UsageError(f"{name} is no module-level function, so other processes cannot import it; {remedy}")
    return Path(inspect.getfile(module))
