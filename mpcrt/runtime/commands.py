"""Commands: what a call asks of the processes of a device. Parties with the program derive them from the call; the
others receive them and execute what every party with the program sends alike.

A command is a row of integers, strings and lists, so that its encoding is canonical. `step` numbers commands in a run
and is the call number of their messages and masks.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import msgpack

from mpcrt.errors import ProtocolError
from mpcrt.plan.types import Type

MAX_BODY = 1 << 22
"""Bytes of one call's commands; msgpack may become sixty times as much in memory."""
MAX_COMMANDS = 1 << 20


@dataclass(frozen=True, slots=True)
class Share:
    """`provider` masks a value of this type; the result is wire `wire`."""

    device: str
    step: int
    wire: int
    provider: str
    type: Type
    name: ClassVar[str] = "share"


@dataclass(frozen=True, slots=True)
class Publish:
    """`provider` sends the encoded public value to all of the device, the dealer too."""

    device: str
    step: int
    wire: int
    provider: str
    type: Type
    name: ClassVar[str] = "publish"


@dataclass(frozen=True, slots=True)
class Ahead:
    """A run that may follow: the step it then has, and its input wires."""

    step: int
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Run the plan with this fingerprint, lowered to the schedule with this digest, on wires; its outputs are new
    wires. `offline`: all corrections are dealt before the first round. `ahead`: what the dealer deals afterwards, in
    case the same plan is run next on what it was run on before; such a run has that step."""

    device: str
    step: int
    fingerprint: str
    lowering: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    offline: bool = False
    ahead: Ahead | None = None
    name: ClassVar[str] = "run"


@dataclass(frozen=True, slots=True)
class Reveal:
    """The receivers, and nobody else, learn the wire."""

    device: str
    step: int
    wire: int
    type: Type
    form: str
    receivers: tuple[str, ...]
    name: ClassVar[str] = "reveal"


@dataclass(frozen=True, slots=True)
class Report:
    """Every process sends its counters to the parties that have the program."""

    step: int
    name: ClassVar[str] = "report"


@dataclass(frozen=True, slots=True)
class Fail:
    """Nothing is done: the call fails at every party with the program, with this kind of error. `reason` is a digest
    of its text, or the call whose result is missing."""

    kind: str
    reason: str
    name: ClassVar[str] = "fail"


@dataclass(frozen=True, slots=True)
class End:
    """The run is over for the sender: nothing follows."""

    name: ClassVar[str] = "end"


Command = Share | Publish | Run | Reveal | Report | Fail | End


def encode(commands: list[Command]) -> list[list[Any]]:
    """Commands as plain rows."""
    return [_row(command) for command in commands]


def _row(command: Command) -> list[Any]:
    match command:
        case Share(device, step, wire, provider, type_) | Publish(device, step, wire, provider, type_):
            return [command.name, device, step, wire, provider, _type_row(type_)]
        case Run(device, step, fingerprint, lowering, inputs, outputs, offline, ahead):
            row = ["run", device, step, fingerprint, lowering, list(inputs), list(outputs), offline]
            return row if ahead is None else [*row, ahead.step, list(ahead.inputs)]
        case Reveal(device, step, wire, type_, form, receivers):
            return ["reveal", device, step, wire, _type_row(type_), form, list(receivers)]
        case Report(step):
            return ["report", step]
        case Fail(kind, reason):
            return ["fail", kind, reason]
        case End():
            return ["end"]


def _type_row(type_: Type) -> list[Any]:
    return [list(type_.shape), type_.kind, type_.fraction, type_.visibility]


def decode(rows: Any) -> list[Command]:
    """What `encode` made, every field checked. Raises ProtocolError."""
    try:
        _need(isinstance(rows, list) and len(rows) <= MAX_COMMANDS)
        return [_command(*row) for row in rows]
    except ProtocolError:
        raise
    except Exception as error:
        raise ProtocolError(f"malformed command: {type(error).__name__}") from None


def _command(name: str, *fields: Any) -> Command:
    if name in ("share", "publish"):
        device, step, wire, provider, type_ = fields
        kind = Share if name == "share" else Publish
        return kind(_text(device), _number(step), _number(wire), _text(provider), _type(type_))
    if name == "run":
        device, step, fingerprint, lowering, inputs, outputs, offline, *rest = fields
        ahead = Ahead(_number(rest[0]), _numbers(rest[1])) if rest else None
        _need(len(rest) in (0, 2))
        _need(isinstance(fingerprint, str) and isinstance(lowering, str) and len(fingerprint) == len(lowering) == 64)
        _need(type(offline) is bool)
        wires = _numbers(inputs), _numbers(outputs)
        return Run(_text(device), _number(step), fingerprint, lowering, *wires, offline, ahead)
    if name == "reveal":
        device, step, wire, type_, form, receivers = fields
        _need(isinstance(receivers, list) and 0 < len(receivers) <= 1000)
        kind, names = _type(type_), tuple(_text(r) for r in receivers)
        return Reveal(_text(device), _number(step), _number(wire), kind, _text(form), names)
    if name == "report":
        (step,) = fields
        return Report(_number(step))
    if name == "fail":
        kind, reason = fields
        return Fail(_text(kind), _text(reason))
    _need(name == "end" and not fields)
    return End()


def _need(condition: bool) -> None:
    if not condition:
        raise ProtocolError("malformed command")


def _number(value: Any) -> int:
    _need(type(value) is int and 0 <= value < 1 << 32)
    return value


def _numbers(values: Any) -> tuple[int, ...]:
    _need(isinstance(values, list) and len(values) <= MAX_COMMANDS)
    return tuple([_number(v) for v in values])


def _text(value: Any) -> str:
    _need(isinstance(value, str) and 0 < len(value) <= 200)
    return value


def _type(row: Any) -> Type:
    shape, kind, fraction, visibility = row
    _need(isinstance(shape, list) and len(shape) <= 64 and all(type(n) is int and 0 <= n < 1 << 40 for n in shape))
    _need(kind in ("ring", "bit") and type(fraction) is int and 0 <= fraction < 64)
    return Type(tuple(shape), kind, fraction, _text(visibility))


def pack(value: Any) -> bytes:
    """Canonical bytes of plain data."""
    packed = msgpack.packb(value, use_bin_type=True)
    assert packed is not None
    return packed


def unpack(data: Any, what: str) -> Any:
    """Plain data from bytes a peer sent; ProtocolError names `what`."""
    try:
        return msgpack.unpackb(bytes(data), strict_map_key=True)
    except Exception as error:
        raise ProtocolError(f"malformed {what}: {type(error).__name__}") from None
