"""What a run cost: rounds and bytes here, what the others last said of theirs, and full reports when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from mpcrt.errors import ProtocolError
from mpcrt.runtime.commands import pack, unpack
from mpcrt.transport.link import Address, Kind, Link
from mpcrt.transport.statistics import Count

if TYPE_CHECKING:
    from mpcrt.cluster.config import ClusterConfig
    from mpcrt.runtime.executor import Devices

PARTY_KINDS = frozenset(map(int, (Kind.INPUT, Kind.OPEN, Kind.REVEAL, Kind.PUBLISH)))
REPORT_LIMIT = 1 << 16


@dataclass(frozen=True)
class Statistics:
    """`rounds` of openings so far; `party_bytes` sent between computing parties, `dealer_bytes` sent by dealers.

    Headers are included. Agreement and metadata are not counted, nor what others did since their last message."""

    rounds: int = 0
    party_bytes: int = 0
    dealer_bytes: int = 0

    def __sub__(self, other: Statistics) -> Statistics:
        return Statistics(*(a - b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class Report:
    """One process's counters. `started` and `ended` bound its last run of a plan, on this machine's monotonic clock."""

    rounds: int = 0
    party_bytes: int = 0
    dealer_bytes: int = 0
    peak_rss_mb: float = 0.0
    started: float = 0.0
    ended: float = 0.0


class Counters:
    """The counters of one process; `others` holds what the other parties' calls carried."""

    def __init__(self, link: Link, devices: Devices, config: ClusterConfig) -> None:
        self._link, self._devices = link, devices
        self._computes = link.name in config.computing
        self._shared = [(party, kind) for party in config.computing if party != link.name for kind in PARTY_KINDS]
        self._dealt = [(dealer, int(Kind.DEAL)) for dealer in config.dealers]
        self.others: Mapping[str, list[int]] = {}

    def mine(self) -> list[int]:
        """[rounds, bytes sent to computing parties, bytes received from dealers] of this process."""
        if not self._computes:
            return [0, 0, 0]
        statistics = self._link.statistics
        return [self._devices.rounds, crossed(statistics.sent, self._shared), crossed(statistics.received, self._dealt)]

    def totals(self) -> Statistics:
        """Over all parties, as far as this process has heard."""
        rows = [self.mine(), *(row for row in self.others.values() if len(row) == 3)]
        return Statistics(max(r[0] for r in rows), sum(r[1] for r in rows), sum(r[2] for r in rows))

    def report(self) -> Report:
        from mpcrt.cluster.memory import peak_rss_mb

        rounds, sent, dealt = self.mine()
        return Report(rounds, sent, dealt, peak_rss_mb(), self._devices.started, self._devices.ended)

    def exchange(self, step: int, peers: Iterable[str], programs: Iterable[str]) -> dict[str, Report]:
        """Send this process's report to those with a program; who has one gets everybody's."""
        programs = tuple(programs)
        mine = self.report()
        peers = tuple(peers)
        for peer in peers:
            if peer in programs:
                self._link.send(peer, Address(Kind.RESULT, step, 0, 1), pack(list(asdict(mine).values())))
        if self._link.name not in programs:
            return {}
        reports = {self._link.name: mine}
        for peer in peers:
            data = self._link.recv_one(peer, Address(Kind.RESULT, step, 0, 1), limit=REPORT_LIMIT)
            reports[peer] = _report(unpack(data, f"report from {peer}"), peer)
        return reports


def crossed(counts: Mapping[tuple[str, int], Count], keys: Iterable[tuple[str, int]]) -> int:
    """Bytes under these keys."""
    return sum([count.bytes for key in keys if (count := counts.get(key)) is not None])


def _report(row: Any, peer: str) -> Report:
    fields = asdict(Report())
    good = isinstance(row, list) and len(row) == len(fields)
    if not good or not all(type(v) in (int, float) and 0 <= v < 1 << 62 for v in row):
        raise ProtocolError(f"{peer} sent a malformed report")
    return replace(Report(), **dict(zip(fields, row, strict=True)))


def total(reports: Mapping[str, Report]) -> Statistics:
    """The sum over processes."""
    rows = list(reports.values())
    return Statistics(
        max((r.rounds for r in rows), default=0), sum(r.party_bytes for r in rows), sum(r.dealer_bytes for r in rows)
    )
