"""The plaintext reader: the plan in the clear with the same fixed-point arithmetic (truncation rounds down, signs
are exact).

It is the oracle of the other readers, and what they compute public values with.
"""

from collections.abc import Sequence

import numpy as np

from mpcrt.plan.plan import Node, Plan
from mpcrt.protocols import ops  # noqa: F401  registers the functions
from mpcrt.protocols.rules import PLAINTEXT


def apply(node: Node, operands: Sequence[np.ndarray]) -> np.ndarray:
    """One op on arrays: uint64 of ring elements, uint8 of bits, in their shapes."""
    (type,) = node.results
    result = np.asarray(PLAINTEXT[node.op](node, *operands))
    assert result.shape == type.shape and result.dtype == (np.uint8 if type.kind == "bit" else np.uint64), node
    return result


def apply_to(node: Node, *operands: np.ndarray) -> np.ndarray:
    """The same, its operands one by one."""
    return apply(node, operands)


def run(plan: Plan, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The plan's outputs from its inputs: ring elements (uint64) and bits (uint8), shapes as their types."""
    values: list[np.ndarray] = []
    waiting = iter(inputs)
    for node in plan.nodes:
        operands = [values[v] for v in node.operands]
        if node.op == "input":
            values.append(np.asarray(next(waiting)).reshape(node.results[0].shape))
        elif node.op == "loop":
            values.extend(_loop(node, operands))
        else:
            values.append(apply(node, operands))
    return [values[v] for v in plan.outputs]


def _loop(node: Node, operands: list[np.ndarray]) -> list[np.ndarray]:
    fixed, carried = node.attrs["constants"], node.attrs["carries"]
    constants, state, xs = operands[:fixed], operands[fixed : fixed + carried], operands[fixed + carried :]
    ys: list[list[np.ndarray]] = [[] for _ in node.results[carried:]]
    for trip in range(node.attrs["trips"]):
        outputs = run(node.attrs["body"], [*constants, *state, *(x[trip] for x in xs)])
        state = outputs[:carried]
        for collected, value in zip(ys, outputs[carried:], strict=True):
            collected.append(value)
    stacked = []
    for t, collected in zip(node.results[carried:], ys, strict=True):
        empty = np.zeros(t.shape, np.uint8 if t.kind == "bit" else np.uint64)
        stacked.append(np.stack(collected) if collected else empty)
    return [*state, *stacked]
