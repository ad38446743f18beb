"""Assembly: appends ops with common subexpressions shared; constants and layout, which have no arithmetic in them."""

from dataclasses import dataclass

import numpy as np

from mpcrt.plan.ops import OPS
from mpcrt.plan.plan import Node, Plan, make
from mpcrt.plan.types import Type


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a builder: its number and type."""

    number: int
    type: Type

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def fraction(self) -> int:
        return self.type.fraction


class Assembly:
    """The nodes of one plan (or loop body) in the making."""

    def __init__(self) -> None:
        self.line = ""
        self._nodes: list[Node] = []
        self._types: list[Type] = []
        self._lines: list[str] = []
        self._made: list[int] = []  # the node that made each value
        self._bases: list[int] = []  # the node behind views and signs of each value: zero where the value is
        self._known: dict[tuple, int] = {}
        self.notes: dict[int, tuple] = {}  # what numerics knows of a value beyond its type
        self.splits: dict[int, tuple[Value, Value]] = {}  # values t s: x s, then t, is a round shorter than x (t s)

    # -- the one way in

    def emit(self, name: str, *operands: Value, **attrs) -> tuple[Value, ...]:
        """Appends op `name`, or finds the same op done before; attributes must be canonical (see plan/ops.py)."""
        numbers = tuple(v.number for v in operands)
        attrs = {k: attrs[k] for k in OPS[name].attrs}
        key = (name, numbers, tuple(v.fingerprint if isinstance(v, Plan) else v for v in attrs.values()))
        if name == "input" or key not in self._known:
            node = make(name, numbers, attrs, self._types)
            base = self._bases[numbers[0]] if name in ("broadcast", "reshape", "transpose", "slice", "neg") else None
            self._made.extend([len(self._nodes)] * len(node.results))
            self._bases.extend([len(self._nodes) if base is None else base] * len(node.results))
            self._nodes.append(node)
            self._types.extend(node.results)
            self._lines.append(self.line)
            self._known[key] = len(self._nodes) - 1
        node = self._nodes[self._known[key]]
        return tuple(Value(node.first + i, t) for i, t in enumerate(node.results))

    def one(self, name: str, *operands: Value, **attrs) -> Value:
        return self.emit(name, *operands, **attrs)[0]

    def finish(self, *outputs: Value) -> Plan:
        """The plan that gives `outputs`: dead ops removed (inputs stay), values renumbered."""
        alive = {v.number for v in outputs}
        kept = []
        for i in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[i]
            if node.op == "input" or any(node.first + j in alive for j in range(len(node.results))):
                kept.append(i)
                alive.update(node.operands)
        numbers: dict[int, int] = {}
        nodes: list[Node] = []
        count = 0
        for i in reversed(kept):
            n = self._nodes[i]
            nodes.append(Node(n.op, tuple(numbers[v] for v in n.operands), n.attrs, count, n.results))
            for j in range(len(n.results)):
                numbers[n.first + j] = count
                count += 1
        lines = tuple(self._lines[i] for i in reversed(kept))
        return Plan(tuple(nodes), tuple(numbers[v.number] for v in outputs), lines)

    # -- sources

    def input(self, type: Type, wire: str | None = None) -> Value:
        """`wire`: "public", "masked" or "shared"; by default what the visibility suggests (masked for any secret)."""
        wire = wire or ("public" if type.public else "masked")
        return self.one(
            "input", shape=type.shape, kind=type.kind, fraction=type.fraction, visibility=type.visibility, wire=wire
        )

    def ring_constant(self, words: np.ndarray, fraction: int = 0, shape: tuple[int, ...] | None = None) -> Value:
        """uint64 words as a constant; an array of one value is stored once."""
        shape = words.shape if shape is None else shape
        words = np.ascontiguousarray(words, np.dtype("<u8"))
        if words.size > 1 and (words == words.flat[0]).all():
            words = words.reshape(-1)[:1]
        return self.one("constant", shape=tuple(shape), kind="ring", fraction=fraction, data=words.tobytes())

    def bit_constant(self, bits: np.ndarray) -> Value:
        flat = np.ascontiguousarray(bits, np.uint8).reshape(-1)
        data = flat[:1] if flat.size > 1 and (flat == flat[0]).all() else flat
        return self.one("constant", shape=tuple(bits.shape), kind="bit", fraction=0, data=data.tobytes())

    def node(self, x: Value) -> Node:
        """The node that made x."""
        return self._nodes[self._made[x.number]]

    def operands(self, x: Value) -> tuple[Value, ...]:
        """The operands of the node that made x."""
        return tuple(Value(v, self._types[v]) for v in self.node(x).operands)

    def behind(self, x: Value, *ops: str) -> Value:
        """The value that x is, apart from `ops` of one operand."""
        while self.node(x).op in ops:
            (x,) = self.operands(x)
        return x

    # -- layout

    def made_plainly(self, x: Value, op: str) -> bool:
        """Whether `op` made x, of which nothing else is known that numerics would look for."""
        return self.node(x).op == op and x.number not in self.notes and x.number not in self.splits

    def reshape(self, x: Value, shape) -> Value:
        if self.made_plainly(x, "reshape"):
            (x,) = self.operands(x)
        return x if tuple(shape) == x.shape else self.one("reshape", x, shape=tuple(shape))

    def transpose(self, x: Value, permutation) -> Value:
        """Of a transposition that made x, both are one; where only axes of length 1 move, it is a reshape."""
        p = tuple(int(i) for i in permutation)
        if self.made_plainly(x, "transpose"):
            node = self.node(x)
            p = tuple(node.attrs["permutation"][i] for i in p)
            (x,) = self.operands(x)
        long = [i for i in p if x.shape[i] != 1]
        if long == sorted(long):
            return self.reshape(x, tuple(x.shape[i] for i in p))
        return self.one("transpose", x, permutation=p)

    def broadcast(self, x: Value, shape, dims=None) -> Value:
        """To `shape`; by default the axes align at the end, as NumPy's."""
        shape = tuple(shape)
        dims = tuple(range(len(shape) - len(x.shape), len(shape))) if dims is None else tuple(dims)
        return x if shape == x.shape else self.one("broadcast", x, shape=shape, dims=dims)

    def slice(self, x: Value, start, limit, stride=None) -> Value:
        stride = tuple(stride) if stride is not None else (1,) * len(x.shape)
        if tuple(start) == (0,) * len(x.shape) and tuple(limit) == x.shape and set(stride) <= {1}:
            return x
        return self.one("slice", x, start=tuple(start), limit=tuple(limit), stride=stride)

    def pad(self, x: Value, low, high, interior=None) -> Value:
        interior = tuple(interior) if interior is not None else (0,) * len(x.shape)
        if not any((*low, *high, *interior)):
            return x
        return self.one("pad", x, low=tuple(low), high=tuple(high), interior=interior)
