"""Worlds for the runtime's tests: all parties as threads on in-memory links, or as real processes."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mpcrt.cluster import config as configs
from mpcrt.cluster.config import ClusterConfig, Party
from mpcrt.cluster.sockets import close_all, free_ports_cluster
from mpcrt.errors import UserFunctionError
from mpcrt.runtime import current, main
from mpcrt.runtime.engine import Engine
from mpcrt.runtime.hello import greet
from mpcrt.runtime.session import Session
from mpcrt.transport.memory import MemoryNetwork


@dataclass
class World:
    """What each party's `main` returned, or what ended it."""

    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)
    engines: dict[str, Engine] = field(default_factory=dict)

    def check(self) -> "World":
        """Raise the failure that lies deepest: not one that another party only reports."""
        for failure in sorted(self.failures.values(), key=lambda e: type(e).__name__ in ("PeerFailed", "PeerLost")):
            raise failure
        return self


def run_world(
    program: Callable[..., Any] | dict[str, Callable[..., Any]],
    parties: int = 2,
    *,
    outside: tuple[str, ...] = (),
    workers: tuple[str, ...] = (),
    versions: dict[str, str] | None = None,
    clusters: dict[str, Any] | None = None,
    config: ClusterConfig | None = None,
    idle: float = 20.0,
    tamper: dict[str, Any] | None = None,
) -> World:
    """Run `program(session)` (or one a party) at every party in a thread, the dealer in another."""
    config = config or configs.local(parties, tls="off")
    config = config.replace(parties={**config.parties, **{name: Party() for name in outside}})
    network = MemoryNetwork(config.names, idle=idle)
    world = World()

    def body(name: str) -> None:
        link, mine = network[name], (clusters or {}).get(name, config)
        link.tamper = (tamper or {}).get(name)
        version = (versions or {}).get(name, "1.2.3")
        if name in config.dealers or name in workers:
            return serve(name, link, mine, version)
        session = Session(mine, name)
        engine = Engine(session, lambda: (link, greet(link, mine, has_program=True, version=version)))
        engine.link = world_link(world, name, engine, link)
        engine.thread.start()
        current.session.set(session)
        chosen = program[name] if isinstance(program, dict) else program
        try:
            session.begin({}, [])
            world.results[name] = chosen(session)
            session.finish()
        except BaseException as error:
            failure = session.failure or main.as_failure(error, "main()", UserFunctionError)
            if session.failure is None:
                engine.opened.wait(5)
                engine.tell(failure, "main", session.number)
            session.fail(failure, "main", session.number)
            world.failures[name] = failure
        finally:
            engine.thread.join(5)
            link.close()

    def serve(name: str, link: Any, mine: Any, version: str) -> None:
        try:
            main.serve(mine, link, lambda: greet(link, mine, has_program=False, version=version))
        except BaseException as error:
            world.failures[name] = error

    threads = [threading.Thread(target=body, args=(name,), daemon=True) for name in config.names]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    hanging = [name for name, thread in zip(config.names, threads, strict=True) if thread.is_alive()]
    for name in hanging:  # what waits on its link ends by that
        network[name].close()
    for thread in threads:
        thread.join(5)
    assert not hanging, f"{', '.join(hanging)} hang: {world.failures}"
    return world


def world_link(world: World, name: str, engine: Engine, link: Any) -> Any:
    world.engines[name] = engine
    return link


@dataclass
class Ended:
    """A run of real processes that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    def last(self, party: str) -> str:
        """The last line of a party's log."""
        lines = [line.split("| ", 1)[1] for line in self.err.splitlines() if line.startswith(party) and "| " in line]
        return lines[-1] if lines else ""


class Launcher:
    """Starts `mpcrt run` on free ports, and leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[str]] = []

    def cluster(self, parties: int = 2, outside: tuple[str, ...] = (), idle: float = 5.0, tls: Any = "off") -> Path:
        """A cluster file on free ports."""
        config = configs.local(parties, tls=tls)
        timeouts = config.timeouts.model_copy(update={"idle": idle, "connect": 20})
        config = config.replace(parties={**config.parties, **{n: Party() for n in outside}}, timeouts=timeouts)
        config, sockets = free_ports_cluster(config)
        close_all(sockets)
        path = self.folder / f"cluster{len(list(self.folder.glob('cluster*.yaml')))}.yaml"
        path.write_text(config.to_yaml())
        return path

    def start(self, *arguments: Any, cwd: Path | None = None) -> subprocess.Popen[str]:
        """`mpcrt ARGUMENTS` in its own session."""
        command = [sys.executable, "-m", "mpcrt", *map(str, arguments)]
        root = str(Path(__file__).parents[2])
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            cwd=cwd or self.folder, env=dict(os.environ) | {"PYTHONPATH": root, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._children.append(child)
        return child

    def end(self, child: subprocess.Popen[str], timeout: float = 200.0) -> Ended:
        """Wait for it."""
        start = time.monotonic()
        out, err = child.communicate(timeout=timeout)
        return Ended(child.returncode, out, err, time.monotonic() - start)

    def run(self, *arguments: Any, timeout: float = 200.0) -> Ended:
        """Start and wait."""
        return self.end(self.start(*arguments), timeout)

    def program(self, text: str, name: str = "program.py") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def close(self) -> None:
        for child in self._children:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.communicate()


@pytest.fixture
def launcher(tmp_path):
    made = Launcher(tmp_path)
    yield made
    made.close()


@pytest.fixture
def world():
    return run_world
