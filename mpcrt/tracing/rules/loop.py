"""A loop that stays a loop: see mpcrt/tracing/loops.py."""

from mpcrt.plan import Value
from mpcrt.tracing import loops
from mpcrt.tracing.graph import Eqn
from mpcrt.tracing.lower import Lowering
from mpcrt.tracing.registry import rule


@rule("loop")
def loop(low: Lowering, e: Eqn) -> list[Value | None]:
    return loops.lower(low, e)
