"""What numerics remember of values in `Builder.notes`: a maximum of something, an exponential stabilised by it."""

from mpcrt.plan import Builder, Value

MAXIMUM = "maximum"
STABILISED = "stabilised"


def base(b: Builder, x: Value, through: tuple[str, ...] = ("truncate", "shift")) -> Value:
    """The value that x is, apart from ops in `through`."""
    while b.node(x).op in through:
        x = b.operands(x)[0]
    return x


def note_maximum(b: Builder, m: Value, x: Value, axes: tuple[int, ...]) -> None:
    b.notes[m.number] = (MAXIMUM, base(b, x).number, axes)


def note_exponential(b: Builder, e: Value, x: Value) -> None:
    """Notes e = e^x where x is y - max(y) over axes, broadcast back."""
    x = base(b, x)
    if b.node(x).op != "add":
        return
    p, q = b.operands(x)
    for y, m in ((p, q), (q, p)):
        negative = False
        while m.number not in b.notes and b.node(m).op in ("truncate", "shift", "neg", "broadcast", "reshape"):
            negative ^= b.node(m).op == "neg"
            m = b.operands(m)[0]
        note = b.notes.get(m.number, ("",))
        if negative and note[0] == MAXIMUM and note[1] == base(b, y).number:
            b.notes[e.number] = (STABILISED, note[2])
