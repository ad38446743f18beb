"""JAX functions to plans. Importing this room imports JAX."""

from mpcrt.tracing.keys import Key
from mpcrt.tracing.trace import trace
from mpcrt.tracing.types import Abstract, Hoisted, HoistedCall, Leaf, Public, Traced, Unprepared

__all__ = ["Abstract", "Hoisted", "HoistedCall", "Key", "Leaf", "Public", "Traced", "Unprepared", "trace"]
