"""The first messages: who is there, that all mean the same cluster, and the randomness that all keys come from."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mpcrt.errors import DisagreementError, ProtocolError, UsageError
from mpcrt.ring.prg import random_bytes
from mpcrt.runtime.commands import pack, unpack
from mpcrt.text import plain
from mpcrt.transport.link import NONCE_BYTES, Address, Kind, Link

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig

PROTOCOL = 1
SEED_BYTES = 32
HELLO_LIMIT = 1 << 20


@dataclass(frozen=True)
class Roster:
    """Who takes part in this run. `programs` have the program; `seeds` maps each peer to the pair's shared secret."""

    me: str
    names: tuple[str, ...]
    programs: tuple[str, ...]
    nonce: bytes
    seeds: Mapping[str, bytes] = field(repr=False)
    pids: Mapping[str, int] = field(default_factory=dict)

    @property
    def leader(self) -> str:
        """The party that sends what only one needs to send: the first that has the program."""
        return self.programs[0]


def meet(link: Link, config: ClusterConfig, *, has_program: bool, version: str) -> Roster:
    """Open the link and greet. Each hello leaves with its connection and is checked when it comes: where the cluster
    files differ, some links may never come up. Raises what `Link.open` and `greet` do."""
    hellos = Hellos(link, config, has_program, version)
    link.open(hellos.to, hellos.heard)
    return hellos.roster()


def greet(link: Link, config: ClusterConfig, *, has_program: bool, version: str) -> Roster:
    """Exchange hellos with every peer over an open link and agree on the run nonce and pairwise seeds.

    Raises DisagreementError naming the peer and what differs."""
    hellos = Hellos(link, config, has_program, version)
    for peer in link.peers:
        link.send(peer, Address(Kind.HELLO), hellos.to(peer))
    return hellos.roster()


class Hellos:
    """The hellos of one process and of its peers.

    Each process sends every other one its versions, the meaning of its cluster file, its part of the nonce and one
    half of the pair's seed. Raises UsageError for a dealer that is given the program here.
    """

    def __init__(self, link: Link, config: ClusterConfig, has_program: bool, version: str) -> None:
        if has_program and link.name in config.dealers:
            raise UsageError(f"{link.name} is a dealer, which takes no program")
        self._link, self._config, self._version = link, config, version
        self._programs = {link.name: has_program}
        self._parts = {link.name: random_bytes(SEED_BYTES)}
        self._halves = {peer: random_bytes(SEED_BYTES) for peer in link.peers}
        self._theirs: dict[str, bytes] = {}

    def to(self, peer: str) -> bytes:
        """What `peer` is sent."""
        me = self._link.name
        canonical = self._config.canonical()
        return pack([PROTOCOL, self._version, canonical, self._programs[me], self._parts[me], self._halves[peer]])

    def heard(self, peer: str, data: np.ndarray) -> None:
        """Check what `peer` sent. Raises DisagreementError, or ProtocolError for a malformed one."""
        if data.nbytes > HELLO_LIMIT:
            raise ProtocolError(f"{peer} sent a malformed hello")
        self._programs[peer], self._parts[peer], self._theirs[peer] = _check(
            peer, data, self._link.name, self._config, self._version
        )

    def roster(self) -> Roster:
        """Who is there, once all have been heard; from then on the link has the run's nonce."""
        link, me = self._link, self._link.name
        seeds = {}
        for peer in link.peers:
            self.heard(peer, link.recv_one(peer, Address(Kind.HELLO), limit=HELLO_LIMIT))
            first, second = sorted((me, peer))
            mine, theirs = self._halves[peer], self._theirs[peer]
            ordered = (mine, theirs) if first == me else (theirs, mine)
            seeds[peer] = hmac.digest(b"".join(ordered), f"{first}\0{second}".encode(), "sha256")
        names = self._config.names
        having = tuple(n for n in names if self._programs[n])
        if not having:
            raise UsageError("no party of the cluster file was started with a program; give one to `mpcrt run`")
        nonce = hashlib.sha256(pack([[n, self._parts[n]] for n in sorted(names)])).digest()
        link.bind_nonce(nonce[:NONCE_BYTES])
        return Roster(me, names, having, nonce, seeds)


def _check(peer: str, data: np.ndarray, me: str, config: ClusterConfig, version: str) -> tuple[bool, bytes, bytes]:
    fields = unpack(data, f"hello from {peer}")
    if not isinstance(fields, list) or not fields or type(fields[0]) is not int:
        raise ProtocolError(f"{peer} sent a malformed hello")
    if fields[0] != PROTOCOL:
        raise DisagreementError(
            f"{peer} speaks protocol version {fields[0]}, this process {PROTOCOL}; install one mpcrt release"
        )
    try:
        _, theirs, canonical, has_program, part, half = fields
        good = isinstance(theirs, str) and isinstance(canonical, dict) and type(has_program) is bool
        good = good and all(isinstance(b, bytes) and len(b) == SEED_BYTES for b in (part, half))
    except ValueError:
        good = False
    if not good:
        raise ProtocolError(f"{peer} sent a malformed hello")
    if theirs.split(".")[:2] != version.split(".")[:2]:
        raise DisagreementError(f"{peer} runs mpcrt {plain(theirs, 40)}, this process {version}; install one release")
    difference = config.difference(canonical, f"at {me}", f"at {peer}")
    if difference is not None:
        raise DisagreementError(f"{peer} has another cluster file; first difference: {difference}")
    if has_program and peer in config.dealers:
        # who has the program has a say in what is run, and can be sent values in the clear
        raise DisagreementError(f"{peer} is a dealer and says that it has the program; start it without one")
    return has_program, part, half
