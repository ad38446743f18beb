"""Plan: typed SSA of primitive ops. Serialisable, verified, hashed, printable; no names in it, no accidental order."""

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import msgpack
import numpy as np

from mpcrt.plan.declare import PlanError, need
from mpcrt.plan.ops import OPS
from mpcrt.plan.types import Type

FORMAT = 1
MAX_NODES = 1 << 20
MAX_DEPTH = 8
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Node:
    """One op: its operands and results are value numbers; results are `first`, `first + 1`, ..."""

    op: str
    operands: tuple[int, ...]
    attrs: dict
    first: int
    results: tuple[Type, ...]

    @property
    def result(self) -> int:
        return self.first


@dataclass(frozen=True)
class Limits:
    """What a process is willing to run for others: elements of the largest value, of all values, and loop trips."""

    value: int = 1 << 31
    total: int = 1 << 36
    trips: int = 1 << 24


@dataclass(frozen=True)
class Plan:
    """`nodes` in topological order; `outputs` are value numbers; `lines[i]` is node i's source line, for people."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    lines: tuple[str, ...] = field(default=(), compare=False)

    @cached_property
    def types(self) -> tuple[Type, ...]:
        """The type of every value number."""
        return tuple(t for node in self.nodes for t in node.results)

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if n.op == "input")

    @property
    def input_types(self) -> tuple[Type, ...]:
        return tuple(n.results[0] for n in self.inputs)

    @property
    def output_types(self) -> tuple[Type, ...]:
        return tuple(self.types[v] for v in self.outputs)

    # -- canonical form

    def encode(self) -> list:
        rows = []
        for n in self.nodes:
            attrs = [n.attrs[k].encode() if k == "body" else n.attrs[k] for k in OPS[n.op].attrs]
            rows.append([n.op, list(n.operands), attrs])
        return [FORMAT, rows, list(self.outputs)]

    @cached_property
    def encoded(self) -> bytes:
        """The canonical bytes."""
        return cast(bytes, msgpack.packb(self.encode(), use_bin_type=True))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical plan: equal plans, and only those, have equal fingerprints."""
        return hashlib.sha256(self.encoded).hexdigest()

    @staticmethod
    def from_bytes(data: bytes, limits: Limits = Limits()) -> "Plan":
        """Decodes and verifies what a peer sent; PlanError names what is wrong. Nothing is allocated by its sizes."""
        need(len(data) <= MAX_BYTES, "plan too large")
        try:
            tree = msgpack.unpackb(data, use_list=False, strict_map_key=True)
        except Exception as error:
            raise PlanError(f"not a plan: {type(error).__name__}") from None
        plan = decode(tree, 0)
        plan.verify(limits)
        need(plan.encoded == data, "plan not in canonical form")
        return plan

    def verify(self, limits: Limits = Limits(), trips: int = 1) -> None:
        """Bounds sizes, loop trips and memory, so that a dealer can refuse a plan before it runs any of it."""
        need(trips <= limits.trips, f"loops of more than {limits.trips} trips in all")
        total = 0
        for node in self.nodes:
            for t in node.results:
                need(t.size <= limits.value, f"{node.op} makes {t.size} elements; at most {limits.value} are allowed")
                total += t.size
            if node.op == "conv":
                wide = dilated(self.types[node.operands[0]], node.attrs)
                need(wide <= limits.value, f"conv pads to {wide} elements; at most {limits.value} are allowed")
            if node.op == "loop":
                node.attrs["body"].verify(limits, trips * max(node.attrs["trips"], 1))
        need(total <= limits.total, f"plan of {total} elements; at most {limits.total} are allowed")

    def __str__(self) -> str:
        return "\n".join(self.format())

    def format(self, indent: str = "") -> list[str]:
        """One line a node: `%3 = mul(%1, %2) : ring.36[4] secret   # file.py:12`."""
        lines = []
        for i, n in enumerate(self.nodes):
            names = ", ".join(f"%{n.first + j}" for j in range(len(n.results)))
            args = [f"%{v}" for v in n.operands]
            args += [f"{k}={brief(v)}" for k, v in n.attrs.items() if k not in ("body", "shape")]
            where = f"   # {self.lines[i]}" if i < len(self.lines) and self.lines[i] else ""
            types = ", ".join(map(str, n.results))
            lines.append(f"{indent}{names} = {n.op}({', '.join(args)}) : {types}{where}")
            if n.op == "loop":
                lines += n.attrs["body"].format(indent + "    ")
        return [*lines, f"{indent}return {', '.join(f'%{v}' for v in self.outputs)}"]


def brief(value: object) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)


def decode(tree: object, depth: int) -> Plan:
    need(depth < MAX_DEPTH, "loops nested too deep")
    need(isinstance(tree, tuple) and len(tree) == 3 and tree[0] == FORMAT, "unknown plan format")
    _, rows, outputs = tree  # type: ignore[misc]
    need(isinstance(rows, tuple) and isinstance(outputs, tuple) and len(rows) <= MAX_NODES, "malformed plan")
    nodes: list[Node] = []
    types: list[Type] = []
    for row in rows:
        known = isinstance(row, tuple) and len(row) == 3 and isinstance(row[0], str) and row[0] in OPS
        need(known, "unknown op")
        name, operands, values = row
        schema = OPS[name]
        need(isinstance(values, tuple) and len(values) == len(schema.attrs), f"malformed {name}")
        known = isinstance(operands, tuple) and all(type(v) is int and 0 <= v < len(types) for v in operands)
        need(known, f"malformed {name}")
        attrs = {k: decode(v, depth + 1) if k == "body" else v for k, v in zip(schema.attrs, values, strict=True)}
        node = make(name, operands, attrs, types)
        nodes.append(node)
        types.extend(node.results)
    need(all(type(v) is int and 0 <= v < len(types) for v in outputs), "malformed outputs")
    return Plan(tuple(nodes), outputs)


def make(name: str, operands: tuple[int, ...], attrs: dict, types: list[Type]) -> Node:
    """The node `name(*operands)` after the values of `types`, its types inferred; PlanError where it cannot be."""
    schema = OPS[name]
    need(schema.operands in (None, len(operands)), f"{name} takes {schema.operands} operands")
    results = schema.infer(tuple(types[v] for v in operands), attrs)
    return Node(name, operands, attrs, len(types), results)


def dilated(x: Type, attrs: dict) -> int:
    """Elements of a convolution's input with its dilation and padding, which the reference kernel lays out."""
    sides = zip(x.shape[1:-1], attrs["lhs_dilation"], attrs["padding"][::2], attrs["padding"][1::2], strict=True)
    space = (max(n - 1, 0) * d + 1 + max(low, 0) + max(high, 0) for n, d, low, high in sides)
    return x.shape[0] * math.prod(space) * x.shape[-1]


def constant_array(node: Node) -> np.ndarray:
    """The value of a constant node, filled to its shape: uint64 of ring elements or uint8 of bits."""
    (t,) = node.results
    data = np.frombuffer(node.attrs["data"], np.dtype("<u8") if t.kind == "ring" else np.uint8)
    if data.size != math.prod(t.shape):
        return np.broadcast_to(data.reshape(()), t.shape)
    return data.reshape(t.shape)
