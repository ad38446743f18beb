"""Every decoder of bytes that this process did not make, as a function that raises only what it should not.

`TARGETS[name](data)` feeds `data` to one of them. `seeds(name)` are well-formed inputs to start from.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from mpcrt.cluster import certificates, introductions
from mpcrt.cluster import config as configs
from mpcrt.errors import ConfigError, DisagreementError, PeerFailed, PeerLost, ProtocolError
from mpcrt.plan import Builder, Limits, Plan, PlanError, Type
from mpcrt.plan.schedule import schedule
from mpcrt.runtime import commands, hello, trees
from mpcrt.runtime.agreement import Extras, read_body
from mpcrt.transport import codec
from mpcrt.transport.channel import Cut, PlainChannel, Refused
from mpcrt.transport.connection import Greeting, refusal_text, said
from mpcrt.transport.header import PREFIX, Control
from mpcrt.transport.link import UNBOUND, Address, Kind
from mpcrt.transport.session import Session
from mpcrt.transport.tls import TlsChannel, TlsContext

LIMIT = 1 << 20
PLAN_LIMITS = Limits(value=1 << 20, total=1 << 24, trips=1 << 10)


def message(data: bytes) -> None:
    """The codec: raw, and behind a prefix with the right checksum, whole or in frames; then the session."""
    mode, data = data[:1], data[1:]
    frames = [data]
    if mode and mode[0] & 1 and len(data) >= 2:
        length, rest = struct.unpack("<H", data[:2])[0], data[2:]
        head, tail = (rest, b"") if mode[0] & 2 else (rest[: length + -(12 + length) % 8], rest[length:])
        frames = [PREFIX.pack(b"mpc", bool(mode[0] & 2), length, zlib.crc32(head)) + head]
        frames += [tail[n : n + 100] for n in range(0, len(tail), 100)]
    with contextlib.suppress(ProtocolError):
        made = codec.read_message(frames, LIMIT)
        assert sum(array.nbytes for array in made.arrays) <= LIMIT
        session = Session("peer", inbox_limit=LIMIT)
        session.incoming(made, frames[0])
        with contextlib.suppress(PeerLost):
            session.take(made.header.address, LIMIT, UNBOUND)


def greeting(data: bytes) -> None:
    """What a stranger may send first, in plaintext: greetings, refusals, aborts."""
    channel = PlainChannel()
    for kind in (Control.GREETING, Control.REFUSE, Control.ABORT):
        frames = [data] if data[:3] == b"mpc" else codec.encode(Address(kind), [data]).frames
        refusal_text(frames)
        with contextlib.suppress(Refused, Cut, ProtocolError):
            for got, _ in channel.unwrap(frames, 4096):
                match got.header.address.kind:
                    case Control.GREETING:
                        Greeting.decode(got)
                    case Control.REFUSE:
                        said(got)
                    case Control.ABORT:
                        str(PeerFailed(*codec.control_fields(got, str, str, int, int, str), reporter="bob"))


@cache
def _tls() -> TlsContext:
    with tempfile.TemporaryDirectory() as folder:
        certificates.throwaway(["alice"], Path(folder))
        return TlsContext(f"{folder}/ca.pem", f"{folder}/alice.pem", f"{folder}/alice.key")


def tls(data: bytes) -> None:
    """The first bytes of a TLS session, at either end."""
    for dialing in (False, True):
        channel = TlsChannel(_tls(), dialing=dialing)
        if dialing:
            channel.start()
        with contextlib.suppress(Refused, Cut, ProtocolError):
            channel.unwrap([data[:200], data[200:]], 4096)
            channel.replies()
        assert not channel.established


def plan(data: bytes) -> None:
    """A plan from a peer, and the schedule that a dealer makes of it."""
    with contextlib.suppress(PlanError):
        made = Plan.from_bytes(data, PLAN_LIMITS)
        if len(made.nodes) < 200:
            schedule(made, 2)


def call(data: bytes) -> None:
    """A call's announcement with its commands, and what travels beside it."""
    with contextlib.suppress(ProtocolError):
        commands.decode(read_body(data, "bob")[3])
    with contextlib.suppress(ProtocolError):
        commands.decode(commands.unpack(data, "commands"))
    with contextlib.suppress(ProtocolError):
        Extras.decode(data, "bob")


def metadata(data: bytes) -> None:
    """The description of a value."""
    with contextlib.suppress(ProtocolError):
        structure, types = trees.decode(data)
        trees.describe(structure, types)
        trees.unflatten(structure, [0] * len(types))


@cache
def _config() -> configs.ClusterConfig:
    return configs.local(2, tls="off")


def hellos(data: bytes) -> None:
    """A hello."""
    with contextlib.suppress(ProtocolError, DisagreementError):
        hello._check("bob", np.frombuffer(data, np.uint8), _config(), "0.1.0")


def cluster(data: bytes) -> None:
    """A cluster file."""
    with contextlib.suppress(ConfigError):
        config = configs.loads(data.decode("utf-8", "replace"))
        config.digest()
        assert configs.loads(config.to_yaml()).digest() == config.digest()


def introduction(data: bytes) -> None:
    """What a peer's doctor says."""
    with contextlib.suppress(introductions.Mismatch):
        made = introductions.Introduction.read(data)
        _config().difference(made.canonical)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message, "greeting": greeting, "tls": tls, "plan": plan, "call": call, "metadata": metadata,
    "hello": hellos, "cluster": cluster, "introduction": introduction,
}  # fmt: skip


def seeds(name: str) -> list[bytes]:
    """Well-formed inputs."""
    kind = Type((2, 3), "ring", 18, "secret")
    asked = [
        commands.Share("spu", 1, 2, "alice", kind), commands.Run("spu", 5, "0" * 64, "1" * 64, (2,), (6,)),
        commands.Reveal("spu", 7, 6, kind, "shared", ("bob",)), commands.Report(8), commands.End(),
    ]  # fmt: skip
    match name:
        case "message":
            (small,) = codec.encode(Address(Kind.OPEN, 1, 2, 3), [bytes(5), np.eye(2)], sequence=1).frames
            large = codec.encode(Address(Kind.DEAL, 1), [bytes(9000)], sequence=1).frames
            length = struct.pack("<H", struct.unpack("<I", small[4:8])[0])
            head = bytes(large[0])
            front = struct.pack("<H", struct.unpack("<I", head[4:8])[0]) + head[12:]
            return [b"\0" + bytes(small), b"\3" + length + bytes(small)[12:], b"\1" + front + bytes(300)]
        case "greeting":
            fields = [("alice", "bob", bytes(16), 0), ("no",), ("alice", "f", 3, 1, "carol was lost")]
            return [*map(codec.packed, map(list, fields)), bytes(codec.control(Control.REFUSE, ("no",)).frames[0])]
        case "tls":
            (hello_frames,) = TlsChannel(_tls(), dialing=True).start()
            return [bytes(hello_frames[0]), b"\x15\x03\x03\x00\x02\x02\x28"]
        case "plan":
            return _plans()
        case "call":
            rows = commands.encode(asked)  # type: ignore[arg-type]
            body = commands.pack([1, bytes(32), "f(#1) on spu", rows])
            return [body, commands.pack(rows), Extras([1, 2], [("spu", 3)]).encode()]
        case "metadata":
            structure, leaves = trees.flatten({"a": [1.0, None], "b": (np.zeros(3), True)})
            return [trees.encode(structure, tuple(map(trees.leaf_type, leaves)))]
        case "hello":
            fields = [hello.PROTOCOL, "0.1.0", _config().canonical(), True, bytes(32), bytes(32)]
            return [commands.pack(fields)]
        case "cluster":
            folder = Path(__file__).parents[2] / "cluster_configs"
            return [_config().to_yaml().encode(), (folder / "two_party.yaml").read_bytes()]
        case _:
            return [introductions.Introduction.of(_config(), "bob").line()]


def _plans() -> list[bytes]:
    from mpcrt import numerics

    made = [Plan((), ()).encoded]
    for function in (numerics.relu, numerics.exp, numerics.sigmoid, numerics.sqrt):
        builder = Builder()
        made.append(builder.finish(function(builder, builder.input(Type((4,), fraction=18)))).encoded)
    b, inner = Builder(), Builder()
    carry = inner.input(Type((1, 2, 4), fraction=18))
    body = inner.finish(inner.truncate(inner.mul(carry, carry)))
    made.append(b.finish(*b.loop(body, 3, (), (b.input(Type((1, 2, 4), fraction=18)),), ())).encoded)
    return made
