"""Builder: appends ops with common subexpressions shared, and keeps the fixed-point books.

`mul` of fractions f and g gives f+g; `add` aligns by an exact shift; a truncation is inserted, once a value, at the
first use that needs it, so that a sum of products is truncated once. Numeric functions (mpcrt/numerics) build on it.
"""

import math

import numpy as np

from mpcrt.plan.assembly import Assembly, Value
from mpcrt.plan.plan import Plan
from mpcrt.ring.codec import encode

MAX_CONSTANT_FRACTION = 40
MAX_FINE_FRACTION = 46
"""The most fraction bits with which a secret value meets a public one in a sum: 2^62 is then a magnitude of 2^16."""


class Builder(Assembly):
    """Builds one plan (or loop body). `fraction` is the fraction bits of ordinary reals."""

    def __init__(self, fraction: int = 18) -> None:
        super().__init__()
        self.fraction = fraction

    # -- numbers

    def real(self, values, fraction: int | None = None) -> Value:
        """Real numbers as a constant of `fraction` bits (default: this builder's)."""
        fraction = self.fraction if fraction is None else fraction
        return self.ring_constant(encode(values, fraction, "a constant"), fraction)

    def integer(self, values) -> Value:
        return self.ring_constant(encode(np.asarray(values, np.int64), 0, "a constant"), 0)

    def factor(self, values) -> Value:
        """Real numbers as a constant that will multiply: as many fraction bits as keep `fraction` significant bits of
        the largest, and no more than exactness needs (1/2 takes one, an integer none)."""
        values = np.asarray(values, np.float64)
        top = float(np.max(np.abs(values), initial=0.0))
        if top == 0.0:
            return self.ring_constant(np.zeros(values.shape, np.uint64), 0)
        bits = min(self.fraction + max(0, -math.frexp(top)[1] + 1), MAX_CONSTANT_FRACTION)
        words = encode(values, bits, "a constant").view(np.int64)
        spare = int(np.bitwise_or.reduce(words, axis=None))
        spare = min((spare & -spare).bit_length() - 1, bits) if spare else bits
        return self.ring_constant((words >> np.int64(spare)).view(np.uint64), bits - spare)

    def number(self, x: Value) -> float | None:
        """The number that all of x is, where x is a constant, perhaps broadcast or scaled."""
        node = self.node(self.behind(x, "broadcast", "reshape", "scale"))
        if node.op != "constant" or x.type.kind == "bit" or len(node.attrs["data"]) != 8:
            return None
        return math.ldexp(int.from_bytes(node.attrs["data"], "little", signed=True), -x.fraction)

    def is_zero(self, x: Value) -> bool:
        """Whether x is a constant of zeros, perhaps broadcast."""
        node = self._nodes[self._bases[x.number]]
        return node.op == "constant" and not any(node.attrs["data"])

    # -- fixed-point books

    def truncate(self, x: Value, fraction: int | None = None) -> Value:
        """x with at most `fraction` bits (default: this builder's)."""
        fraction = self.fraction if fraction is None else fraction
        return x if x.fraction <= fraction else self.one("truncate", x, bits=x.fraction - fraction)

    def align(self, x: Value, fraction: int) -> Value:
        """x with exactly `fraction` bits: an exact shift up, a truncation down."""
        if x.type.kind == "bit" or x.fraction == fraction:
            return x
        return self.one("shift", x, bits=fraction - x.fraction) if x.fraction < fraction else self.truncate(x, fraction)

    def aligned(self, *values: Value) -> tuple[Value, ...]:
        """All with the same fraction bits, none beyond twice this builder's (what is finer is truncated first).

        Public values are shifted to a finer secret one: that costs no round.
        """
        top = max(v.fraction for v in values)
        secret = [v for v in values if not v.type.public]
        small = all(self._fits(v, top) for v in values if v.type.public)
        if len(secret) != 1 or top > MAX_FINE_FRACTION or not small:
            values = tuple(self.truncate(v) if v.fraction > 2 * self.fraction + 2 else v for v in values)
        top = max(v.fraction for v in values)
        return tuple(self.align(v, top) for v in values)

    def _fits(self, x: Value, fraction: int) -> bool:
        """Whether x is a constant that stays below 2^61 in the ring with `fraction` bits."""
        node = self.node(self.behind(x, "broadcast", "reshape"))
        if node.op != "constant" or x.type.kind == "bit" or fraction < x.fraction:
            return False
        words = np.abs(np.frombuffer(node.attrs["data"], np.dtype("<i8")).astype(np.float64))
        return float(words.max(initial=0.0)) < 2.0 ** (61 - fraction + x.fraction)

    def broadcasted(self, *values: Value) -> tuple[Value, ...]:
        shape = np.broadcast_shapes(*(v.shape for v in values))
        return tuple(self.broadcast(v, shape) for v in values)

    def concat(self, values, axis: int) -> Value:
        values = self.aligned(*values)
        return values[0] if len(values) == 1 else self.one("concat", *values, axis=axis)

    def take(self, x: Value, indices) -> Value:
        """`x.ravel()[indices]`, 0 where an index is negative; `indices` an integer array or a public integer value."""
        at = indices if isinstance(indices, Value) else self.integer(indices)
        return self.one("take", x, at)

    # -- arithmetic; operands broadcast as NumPy's

    def add(self, x: Value, y: Value) -> Value:
        shape = np.broadcast_shapes(x.shape, y.shape)
        for a, b in ((x, y), (y, x)):
            if self.is_zero(b) and a.fraction >= b.fraction:
                return self.broadcast(a, shape)
        x, y = self.broadcasted(*self.aligned(x, y))
        return self.one("add", *sorted((x, y), key=lambda v: v.number))

    def neg(self, x: Value) -> Value:
        return self.one("neg", x)

    def sub(self, x: Value, y: Value) -> Value:
        return self.add(x, self.neg(y))

    def sum(self, x: Value, axes) -> Value:
        axes = tuple(sorted(int(a) for a in axes))
        return x if not axes else self.one("sum", x, axes=axes)

    def factors(self, x: Value, y: Value) -> tuple[Value, Value]:
        """Operands of a product, truncated where the product would have over 2 `fraction` + 2 bits. A public factor's
        extra bits are paid for by its size (see `factor`)."""
        if x.type.public or y.type.public:
            secret, public = (y, x) if x.type.public else (x, y)
            if not secret.type.public and secret.fraction > self.fraction + 2:
                extra = public.fraction - self.fraction
                if extra > 0 and secret.fraction + extra < 63:  # what makes a small factor small moves the point
                    secret = self.one("scale", secret, fraction=secret.fraction + extra)
                    public = self.one("scale", public, fraction=self.fraction)
                secret = secret if public.fraction == 0 else self.truncate(secret)
            return (public, secret) if x.type.public else (secret, public)
        while x.fraction + y.fraction > 2 * self.fraction + 2:
            if x.fraction >= y.fraction:
                x = self.truncate(x, max(self.fraction, 0))
            else:
                y = self.truncate(y, max(self.fraction, 0))
            if x.fraction <= self.fraction and y.fraction <= self.fraction:
                break
        return x, y

    def split(self, x: Value) -> tuple[Value, Value] | None:
        """The factors (t, s) of x, laid out as x, if it has any."""
        views = []
        while x.number not in self.splits and self.node(x).op in ("broadcast", "reshape"):
            views.append(self.node(x))
            (x,) = self.operands(x)
        if x.number not in self.splits:
            return None
        t, s = self.splits[x.number]
        for view in reversed(views):
            t, s = (self.one(view.op, v, **view.attrs) for v in (t, s))
        return t, s

    def _folded(self, x: Value, y: Value) -> tuple[Value, Value] | None:
        """c (d z) as (c d) z, for real numbers c and d."""
        for number, product in ((self.number(x), y), (self.number(y), x)):
            node = self.node(product)
            if number is None or node.op != "mul" or product.type.public:
                continue
            for constant, z in (self.operands(product), self.operands(product)[::-1]):
                inner = self.number(constant)
                if inner is None or not constant.fraction or z.shape != product.shape:
                    continue
                while self.node(z).op in ("truncate", "scale"):  # to where the value was finer
                    (finer,) = self.operands(z)
                    inner *= 2.0 ** (finer.fraction - z.fraction) if self.node(z).op == "scale" else 1.0
                    z = finer
                return self.factor(np.asarray(number * inner)), z
        return None

    def mul(self, x: Value, y: Value) -> Value:
        x, y = self._folded(x, y) or (x, y)
        for other, product in ((x, y), (y, x)):
            pair = None if other.type.public or other == product else self.split(product)
            if pair is not None:
                t, s = pair
                scaled = self.truncate(self.mul(self.truncate(other), s), self.fraction + 2)
                return self.one("mul", *self.broadcasted(t, scaled))
        x, y = self.factors(x, y)
        if not (x.type.public and x.shape == ()) and not (y.type.public and y.shape == ()):
            x, y = self.broadcasted(x, y)
        return self.one("mul", *sorted((x, y), key=lambda v: v.number))

    def dot(self, x: Value, y: Value, picks: bool = False) -> Value:
        """[B, M, K] x [B, K, N]. `picks`: x's rows are integers, one-hot or zero."""
        return self.one("dot", *self.factors(x, y), picks=picks)

    def conv(self, x: Value, k: Value, strides, padding, lhs_dilation, rhs_dilation, groups: int) -> Value:
        """[N, *space, C] with [*space, C/groups, O]; `padding` a sequence of (low, high)."""
        flat = tuple(int(p) for pair in padding for p in pair)
        dilation = {"lhs_dilation": tuple(lhs_dilation), "rhs_dilation": tuple(rhs_dilation)}
        return self.one("conv", *self.factors(x, k), strides=tuple(strides), padding=flat, groups=groups, **dilation)

    # -- bits

    def negative(self, x: Value, bits: int | None = None, drop: int | None = None) -> Value:
        """[x < 0]. By default 64 bits for integers, 48 for reals, and for a product what truncation keeps of it, up to
        bit 62: exactly the sign of the truncated value."""
        if drop is None:
            drop = max(0, x.fraction - self.fraction)
        if bits is None:
            bits = 64 if x.fraction == 0 else 63 - drop if drop else 48
        return self.one("msb", x, drop=drop, bits=min(bits, 64 - drop))

    def less(self, x: Value, y: Value, bits: int | None = None) -> Value:
        """[x < y]; `bits`: the width of the difference where it is known (33 for int32)."""
        return self.negative(self.sub(x, y), bits)

    def equal(self, x: Value, y: Value, bits: int = 64) -> Value:
        return self.one("eqz", self.sub(x, y), bits=bits)

    def xor(self, x: Value, y: Value) -> Value:
        x, y = self.broadcasted(x, y)
        return self.one("xor", *sorted((x, y), key=lambda v: v.number))

    def and_(self, x: Value, y: Value) -> Value:
        x, y = self.broadcasted(x, y)
        return self.one("and", *sorted((x, y), key=lambda v: v.number))

    def not_(self, x: Value) -> Value:
        return self.xor(x, self.bit_constant(np.ones((), np.uint8)))

    def or_(self, x: Value, y: Value) -> Value:
        return self.not_(self.and_(self.not_(x), self.not_(y)))

    def select(self, b: Value, x: Value) -> Value:
        """b x, the bit times the ring element."""
        x = self.truncate(x) if x.fraction > self.fraction and not x.type.public else x
        b, x = self.broadcasted(b, x)
        return self.one("select", b, x)

    def where(self, b: Value, x: Value, y: Value) -> Value:
        """x where b is 1, else y; of bits or ring elements."""
        if x.type.kind == "bit":
            b, x, y = self.broadcasted(b, x, y)
            return self.xor(y, self.and_(b, self.xor(x, y)))
        shape = np.broadcast_shapes(b.shape, x.shape, y.shape)
        x, y = (self.truncate(v) if v.fraction > self.fraction and not v.type.public else v for v in (x, y))
        if self.is_zero(x):
            return self.broadcast(self.select(self.not_(b), y), shape)
        return self.add(y, self.select(b, self.sub(x, y)))

    def to_ring(self, b: Value) -> Value:
        """The bit as the integer 0 or 1."""
        return self.select(b, self.ring_constant(np.ones((), np.uint64)))

    # -- smooth functions and loops

    def samples(self, x: Value, function: str, fraction: int, parameters: tuple = ()) -> Value:
        return self.one("samples", x, function=function, fraction=fraction, parameters=parameters)

    def loop(self, body: Plan, trips: int, constants, carries, xs) -> tuple[Value, ...]:
        operands = (*constants, *carries, *xs)
        return self.emit("loop", *operands, body=body, trips=trips, constants=len(constants), carries=len(carries))
