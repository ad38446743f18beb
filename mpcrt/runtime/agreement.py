"""Agreement: every call, the same at every party, or the run ends at the first that differs.

For call n each party with the program sends every process one message: a digest of the message before it, a
description for people, the commands that follow from the call, and its facts (digests of what was given to it and of
what is computed beside the plan; `facts.py`). Equal bytes mean agreement on everything up to call
n. Beside the body travels what need not be equal: counters and dropped wires. A plan for those who have no program
follows in a message of its own, from one party, once that party has found that all agree.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import msgpack

from mpcrt.errors import DisagreementError, ProtocolError, UsageError
from mpcrt.plan import Plan
from mpcrt.runtime.commands import MAX_BODY, Command, decode, encode, pack, unpack
from mpcrt.runtime.facts import ARGUMENT, Fact
from mpcrt.runtime.refusals import KINDS
from mpcrt.text import plain, quoted
from mpcrt.transport.link import Address, Kind, Link

MAX_EXTRAS = 1 << 22
MAX_RELEASED = 1 << 14
MAX_PLAN = 1 << 30
"""Bytes of the plan that comes after one call."""
DIFFERENCE_LIMIT = 1 << 24
DIFFERENCE, PLAN = 1, 2
"""Paths in the addresses of what follows a call's message: between parties whose plans differ, and to the others."""
FACT_BYTES = 16
MAX_FACTS = 1 << 12


@dataclass
class Extras:
    """What a call's message carries that is not compared. `refused`: the kind of error for which its sender cannot give
    an input of this call, or nothing."""

    counters: list[int] = field(default_factory=list)
    released: list[tuple[str, int]] = field(default_factory=list)
    refused: str = ""

    def encode(self) -> bytes:
        return pack([self.counters, self.released, self.refused])

    @staticmethod
    def decode(data: Any, peer: str) -> Extras:
        try:
            if memoryview(data).nbytes > MAX_EXTRAS:
                raise ValueError
            counters, released, refused = msgpack.unpackb(bytes(data))
            if len(counters) > 16 or len(released) > MAX_RELEASED or refused not in ("", *KINDS):
                raise ValueError
            for n in counters:
                if type(n) is not int or not 0 <= n < 1 << 63:
                    raise ValueError
            for device, wire in released:
                if type(device) is not str or type(wire) is not int:
                    raise ValueError
            return Extras(list(counters), [(device, wire) for device, wire in released], refused)
        except Exception:
            raise ProtocolError(f"{peer} sent a malformed call") from None


class Ledger:
    """The calls of one process: what it announced, and what it has checked of the others'."""

    def __init__(self, link: Link, programs: Sequence[str], seed: bytes) -> None:
        self._link = link
        self._others = tuple(p for p in programs if p != link.name)
        # those without a program first: the dealer starts when it has everybody's
        self._order = sorted(link.peers, key=self._others.__contains__)
        self._digest = hashlib.sha256(b"mpcrt calls\0" + seed).digest()
        self._bodies: dict[int, bytes] = {}
        self._checked = dict.fromkeys(self._others, 0)
        self._settled = 0
        self.counters: dict[str, list[int]] = {}
        self.refused: dict[int, dict[str, str]] = {}
        """Who cannot give an input of a call, and the kind of the error there."""
        self.plans: dict[int, Plan] = {}
        self.salt = b""
        """What facts are hashed with. The dealer, who sees them too, does not know it, or it could try values."""

    def announce(
        self, number: int, description: str, commands: list[Command], extras: Extras, facts: Sequence[Fact] = ()
    ) -> None:
        """Send call `number` to everybody.

        Raises UsageError for a call with more values than one message describes.
        """
        rows = encode(commands)
        if len(facts) > MAX_FACTS:
            rest = hashlib.sha256(b"".join([d for _, d in facts[MAX_FACTS - 1 :]])).digest()
            facts = [*facts[: MAX_FACTS - 1], (f"a later {ARGUMENT}", rest)]
        shown = [[what[:200], hmac.digest(self.salt, d, "sha256")[:FACT_BYTES]] for what, d in facts]
        body = pack([number, self._digest, description, rows, shown])
        if len(body) > MAX_BODY:
            raise UsageError(f"call {number} brings too many values at once; stack some of its {len(rows)} arrays")
        beside, address = extras.encode(), Address(Kind.STEP, number)
        for peer in self._order:
            self._link.send(peer, address, body, beside)
        self._bodies[number] = body
        self._digest = hashlib.sha256(body).digest()

    def send_plan(self, number: int, plan: Plan) -> list[str]:
        """The plan of an agreed call to those without a program, who are returned."""
        receivers = [p for p in self._order if p not in self._others]
        for peer in receivers:
            self._link.send(peer, Address(Kind.STEP, number, PLAN), plan.encoded)
        return receivers

    def agree(self, number: int, peers: Sequence[str] | None = None) -> None:
        """Wait for every call up to `number` of the others (or of `peers`), and compare. Raises DisagreementError."""
        for peer in self._others if peers is None else peers:
            while peer in self._checked and self._checked[peer] < number:
                self._compare(peer, self._checked[peer] + 1)
                self._checked[peer] += 1
        done = min(self._checked.values(), default=number)
        while self._settled < done:
            self._settled += 1
            self._bodies.pop(self._settled, None)
            self.plans.pop(self._settled, None)

    def awaited(self, number: int) -> list[tuple[str, Address]]:
        """The messages that `agree` waits for: every call up to `number` of the others."""
        return [
            (peer, Address(Kind.STEP, n))
            for peer, checked in self._checked.items()
            for n in range(checked + 1, number + 1)
        ]

    def _compare(self, peer: str, number: int) -> None:
        received = self._link.recv(peer, Address(Kind.STEP, number), limit=MAX_BODY + MAX_EXTRAS)
        if len(received) != 2:
            raise ProtocolError(f"{peer} sent a malformed call")
        body, extras = received
        beside = Extras.decode(extras, peer)
        self.counters[peer] = beside.counters
        if beside.refused:
            self.refused.setdefault(number, {})[peer] = beside.refused
        mine = self._bodies[number]
        if bytes(body) != mine:
            self._differ(peer, number, read_body(body, peer), read_body(mine, self._link.name))

    def _differ(self, peer: str, number: int, theirs: tuple, mine: tuple) -> None:
        (_, _, their_text, their_rows, their_facts), (_, _, my_text, my_rows, my_facts) = theirs, mine
        if their_text != my_text:
            raise DisagreementError(
                f"the parties run different programs: call {number} is {my_text} here and {their_text} at {peer}"
            )
        fails = [row[0][1] if row and row[0][0] == "fail" else "" for row in (my_rows, their_rows)]
        if fails[0] != fails[1]:
            here, there = [f"fails with {kind}" if kind else "does not fail" for kind in fails]
            raise DisagreementError(
                f"call {number}, {my_text}, {here} at {self._link.name} and {there} at {peer}; the log of the party at "
                "which it fails has the cause"
            )
        pairs = zip_longest(my_facts, their_facts, fillvalue=("its arguments", b""))
        different = [a[0] for a, b in pairs if list(a) != list(b)]
        for what in [w for w in different if ARGUMENT in w][:1]:
            raise DisagreementError(
                f"call {number}, {my_text}: {what} is another here than at {peer}; main gives functions the same at "
                "all parties, and what one of them alone knows is made inside the function"
            )
        for mine_, theirs_ in zip(my_rows, their_rows, strict=False):
            if mine_ != theirs_ and mine_[0] == theirs_[0] == "run":
                where = self._plan_difference(peer, number)
                raise DisagreementError(f"call {number}, {my_text}, has another plan here than at {peer}{where}")
            if mine_ != theirs_:
                raise DisagreementError(
                    f"call {number}, {my_text}, asks for {_brief(mine_)} here and for {_brief(theirs_)} at {peer}"
                )
        if len(my_rows) != len(their_rows):
            raise DisagreementError(
                f"call {number}, {my_text}, has {len(my_rows)} steps here and {len(their_rows)} at {peer}"
            )
        if different:
            raise DisagreementError(f"call {number}, {my_text}: {different[0]} differs between this process and {peer}")
        raise DisagreementError(f"{peer} has another history before call {number}, {my_text}, than this process")

    def _plan_difference(self, peer: str, number: int) -> str:
        """Both sides see the difference, so both send what tells their plans apart: a hash a node."""
        plan = self.plans.get(number)
        hashes = plan_hashes(plan) if plan is not None else []
        for other in self._others:
            self._link.send(other, Address(Kind.STEP, number, DIFFERENCE), pack(hashes))
        data = self._link.recv_one(peer, Address(Kind.STEP, number, DIFFERENCE), limit=DIFFERENCE_LIMIT)
        theirs = unpack(data, f"plan difference from {peer}")
        if plan is None or not isinstance(theirs, list) or not theirs:
            return "; the function or what it closes over changed since its first call"
        for i, digest in enumerate(hashes):
            if i >= len(theirs) or theirs[i] != digest:
                node = plan.nodes[i]
                line = os.path.basename(plan.lines[i]) if i < len(plan.lines) else ""  # the others are told it too
                return f"; the first op that differs is {node.op} of {node.results[0]}{f' in {line}' if line else ''}"
        return "; there it has more ops"


def plan_hashes(plan: Plan) -> list[bytes]:
    """Eight bytes of hash for each node, to find where two plans part."""
    return [hashlib.sha256(pack(row)).digest()[:8] for row in plan.encode()[1]]


def _brief(row: list) -> str:
    return plain(", ".join([field if isinstance(field, str) else quoted(field) for field in row[:20]]), 200)


def read_body(data: Any, peer: str) -> tuple[int, bytes, str, list, list]:
    """(number, digest, description, made plain, command rows, facts) of a call's message. Raises ProtocolError."""
    if (size := memoryview(data).nbytes) > MAX_BODY:
        raise ProtocolError(f"{peer} sent a call of {size} bytes; at most {MAX_BODY} are allowed")
    fields = unpack(data, f"call from {peer}")
    good = isinstance(fields, list) and len(fields) == 5
    if not good or type(fields[0]) is not int or not isinstance(fields[1], bytes) or not isinstance(fields[2], str):
        raise ProtocolError(f"{peer} sent a malformed call")
    if not isinstance(fields[3], list) or not all(isinstance(row, list) and row for row in fields[3]):
        raise ProtocolError(f"{peer} sent a malformed call")
    number, digest, text, rows, facts = fields
    if not isinstance(facts, list) or len(facts) > MAX_FACTS or not all(map(_is_fact, facts)):
        raise ProtocolError(f"{peer} sent a malformed call")
    return number, digest, plain(text, 1000), rows, facts


def _is_fact(row: Any) -> bool:
    return (
        isinstance(row, list) and [type(v) for v in row] == [str, bytes]
        and len(row[0]) <= 200 and len(row[1]) == FACT_BYTES
    )  # fmt: skip


class Follower:
    """The calls as a process without a program receives them."""

    def __init__(self, link: Link, programs: Sequence[str]) -> None:
        self._link, self._programs, self._leader = link, tuple(programs), programs[0]
        self._number = 0
        self.refused = False
        """Whether a party cannot give an input of the last call, which nobody executes then."""
        self.released: list[tuple[str, str, int]] = []
        """Wires dropped with the last call: (party, device, number)."""

    def next(self) -> tuple[int, str, list[Command]]:
        """The next call that every party with the program sends. Raises DisagreementError where they differ.

        The first party's is read while the others' are on their way; theirs are only compared with it.
        """
        self._number += 1
        self.released.clear()
        self.refused = False
        first = self._receive(self._leader)
        number, _, text, rows, _ = read_body(first, self._leader)
        if number != self._number:
            raise ProtocolError(f"call {self._number} has number {number}")
        asked = decode(rows)
        for peer in self._programs[1:]:
            if (body := self._receive(peer)) != first:
                theirs = read_body(body, peer)[2]
                what = "its plan or its arguments" if text == theirs else "the call"
                raise DisagreementError(
                    f"{self._leader} and {peer} run different programs: call {self._number} is {text} at "
                    f"{self._leader} and {theirs} at {peer} ({what} differs)"
                )
        return number, text, asked

    def plan(self, fingerprint: str) -> bytes:
        """The plan of the last call; its first party sends it when all agree. Raises ProtocolError for another."""
        data = self._link.recv_one(self._leader, Address(Kind.STEP, self._number, PLAN), limit=MAX_PLAN).tobytes()
        if hashlib.sha256(data).hexdigest() != fingerprint:
            raise ProtocolError(f"call {self._number} runs plan {fingerprint[:8]}, but {self._leader} sent another")
        return data

    def _receive(self, peer: str) -> bytes:
        """A party's message of this call; takes what came beside the body, which it gives."""
        received = self._link.recv(peer, Address(Kind.STEP, self._number), limit=MAX_BODY + MAX_EXTRAS)
        if len(received) != 2:
            raise ProtocolError(f"{peer} sent a malformed call")
        body, extras = received
        beside = Extras.decode(extras, peer)
        self.released += [(peer, device, wire) for device, wire in beside.released]
        self.refused = self.refused or bool(beside.refused)
        return bytes(body)
