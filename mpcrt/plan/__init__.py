"""The protocol-neutral plan: types, primitive ops, builder."""

from mpcrt.plan.builder import Builder, Value
from mpcrt.plan.declare import PlanError
from mpcrt.plan.ops import OPS
from mpcrt.plan.plan import Limits, Node, Plan, constant_array
from mpcrt.plan.types import PUBLIC, SECRET, Type, join, private

__all__ = [
    "OPS",
    "PUBLIC",
    "SECRET",
    "Builder",
    "Limits",
    "Node",
    "Plan",
    "PlanError",
    "Type",
    "Value",
    "constant_array",
    "join",
    "private",
]
