"""Every decoder of bytes that this process did not make, as a function that raises only what it should not.

`TARGETS[name](data)` feeds `data` to one of them. `seeds(name)` are well-formed inputs to start from.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
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
def _tls() -> dict[str, TlsContext]:
    names = ("alice", "bob")
    with tempfile.TemporaryDirectory() as folder:
        certificates.throwaway(names, Path(folder))
        return {name: TlsContext(f"{folder}/ca.pem", f"{folder}/{name}.pem", f"{folder}/{name}.key") for name in names}


def tls(data: bytes) -> None:
    """The first bytes of a TLS session, at either end."""
    for dialing in (False, True):
        channel = TlsChannel(_tls()["alice"], dialing=dialing)
        if dialing:
            channel.start()
        with contextlib.suppress(Refused, Cut, ProtocolError):
            channel.unwrap([data[:200], data[200:]], 4096)
            channel.replies()
        assert not channel.established


SENT = [[10], [9000, 9000], [0], [20000], [5, 9000, 0, 1]]
"""The buffers, in bytes, of the messages that an honest peer sends."""
Sent = list[list[bytes]]


def _session() -> tuple[TlsChannel, TlsChannel]:
    """Bob's end, which dialed, and alice's, after their handshake."""
    client, server = TlsChannel(_tls()["bob"], dialing=True), TlsChannel(_tls()["alice"], dialing=False)
    flight = client.start()
    while flight:
        for frames in flight:
            server.unwrap(frames, LIMIT)
        for frames in server.replies():
            client.unwrap(frames, LIMIT)
        flight = client.replies()
    return client, server


def _said(channel: TlsChannel) -> Sent:
    """The messages of SENT as they leave."""
    made = (codec.encode(Address(Kind.OPEN, n), _buffers(n)) for n in range(len(SENT)))
    return [[bytes(frame) for frame in frames] for encoded in made for frames in channel.wrap(encoded)]


def _buffers(number: int) -> list[bytes]:
    """Each unlike all others."""
    return [bytes((16 * number + place,)) * size for place, size in enumerate(SENT[number])]


def _moves(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """What to do, with which message, and some bytes."""
    for _ in range(64):
        if len(data) < 3:
            return
        what, which, size = data[:3]
        yield what, which, data[3 : 3 + size]
        data = data[3 + size :]


def _network(wire: Sent, back: Sent, data: bytes) -> Iterator[list[bytes]]:
    """Passes messages on in any order, again, cut, altered, joined, to their sender, or made up."""
    place = 0
    for what, which, some in _moves(data):
        frames, other = wire[which % len(wire)], wire[len(some) % len(wire)]
        before, last = frames[:-1], frames[-1]
        match what % 9:
            case 0:
                yield wire[place % len(wire)]
                place += 1
            case 1:
                yield frames
            case 2:
                yield [*before, last[: len(last) * len(some) // 256]]
            case 3:
                at = int.from_bytes(some, "big") % max(1, len(last))
                yield [*before, last[:at] + bytes(byte ^ 1 << which % 8 for byte in last[at : at + 1]) + last[at + 1 :]]
            case 4:
                yield [*before, last + some]
            case 5:
                yield frames + other
            case 6:
                yield before + other
            case 7:
                yield back[which % len(back)]
            case _:
                yield [*before, some] if which & 1 else [some]


def _intruder(client: TlsChannel, data: bytes) -> Iterator[list[bytes]]:
    """A peer that keeps to TLS and to its key, and to nothing else."""
    for what, which, some in _moves(data):
        match what % 4:
            case 0 | 1 as checked:  # behind a prefix with the right checksum, where bytes alone would seldom get
                inline = bool(which & 1)
                head = some + bytes(-(12 + len(some)) % 8)
                client._write(PREFIX.pack(b"mpc", inline, len(some), zlib.crc32(head)) + head if checked else some)
                yield [client._written()]
            case 2:
                yield [bytes(client._sealing.close(memoryview(some)))]
            case _:
                yield [bytes(client._sealing.close(memoryview(bytes(which * len(some)))))]


def sealed(data: bytes) -> None:
    """After the handshake: records and sealed pieces as a network, or a peer, may make them of an honest peer's."""
    client, server = _session()
    intruder = data[:1] > b"\x7f"
    left = _intruder(client, data[1:]) if intruder else _network(_said(client), _said(server), data[1:])
    arrived, broken = 0, False
    for frames in left:
        try:
            got = server.unwrap(frames, LIMIT)
        except (Cut, Refused, ProtocolError):
            broken = True
            continue
        finally:
            assert server.arriving is None or server.arriving.header.layout.payload <= LIMIT
        assert not (broken and got)
        for made, _ in got if not intruder else ():
            assert [array.tobytes() for array in made.arrays] == _buffers(arrived)
            arrived += 1


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
        hello._check("bob", np.frombuffer(data, np.uint8), "alice", _config(), "0.1.0")


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
    "message": message, "greeting": greeting, "tls": tls, "sealed": sealed, "plan": plan, "call": call,
    "metadata": metadata, "hello": hellos, "cluster": cluster, "introduction": introduction,
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
            (hello_frames,) = TlsChannel(_tls()["alice"], dialing=True).start()
            return [bytes(hello_frames[0]), b"\x15\x03\x03\x00\x02\x02\x28"]
        case "sealed":
            in_order = bytes(3) * 12  # eight that leave, and four of them again
            first = bytes(codec.encode(Address(Kind.OPEN, 1), [bytes(9000)]).frames[0])
            header = first[12 : 12 + first[4]]
            piece = bytes((3, 36, 250))  # 9000 zeros
            return [
                b"\0" + in_order,
                b"\0" + in_order[:9] + b"\1\3\0" + in_order,
                b"\0\0\0\0\6\1\2qq\1\2\0",
                b"\0\1\0\0\2\2\x80" + bytes(200),
                b"\xff\1\0" + first[4:5] + header + piece + bytes(250),
            ]
        case "plan":
            return _plans()
        case "call":
            rows = commands.encode(asked)  # type: ignore[arg-type]
            body = commands.pack([1, bytes(32), "f(#1) on spu", rows, [["argument 1", bytes(16)]]])
            return [body, commands.pack(rows), Extras([1, 2], [("spu", 3)]).encode()]
        case "metadata":
            structure, leaves = trees.flatten({"a": [1.0, None], "b": (np.zeros(3), True)})
            return [trees.encode(structure, tuple(map(trees.leaf_type, leaves)))]
        case "hello":
            fields = [hello.PROTOCOL, "0.1.0", _config().canonical(), True, bytes(32), bytes(32)]
            start = [bytes(32), bytes(32), [["model/net.py", bytes(32)]], bytes(32)]
            return [commands.pack(fields), commands.pack(start)]
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
