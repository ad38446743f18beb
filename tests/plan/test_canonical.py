"""Plan's canonical form: equal functions give equal bytes, bytes from a peer are bounded and checked."""

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpcrt.plan import Builder, Limits, Plan, PlanError, Type


def sample_plan() -> Plan:
    b = Builder()
    x = b.input(Type((2, 3), fraction=18))
    w = b.input(Type((3, 4), fraction=18))
    product = b.dot(b.reshape(x, (1, 2, 3)), b.reshape(w, (1, 3, 4)))
    kept = b.where(b.negative(product), b.real(np.zeros(())), product)
    inner = Builder()
    c = inner.input(Type((1, 2, 4), fraction=18))
    body = inner.finish(inner.truncate(inner.mul(c, c)))
    return b.finish(*b.loop(body, 3, (), (b.truncate(kept),), ()), kept)


def test_round_trip():
    plan = sample_plan()
    again = Plan.from_bytes(plan.encoded)
    assert again == plan and again.fingerprint == plan.fingerprint
    assert str(again).count("\n") == str(plan).count("\n")


def test_common_subexpressions_and_dead_code_leave_no_trace():
    def build(extra: bool) -> str:
        b = Builder()
        x = b.input(Type((5,), fraction=18))
        if extra:
            b.mul(b.add(x, x), x)
        y = b.mul(x, x)
        z = b.mul(x, x)
        return b.finish(b.add(y, z)).fingerprint

    assert build(False) == build(True)


def test_lines_are_not_part_of_the_identity():
    b, c = Builder(), Builder()
    b.line = "here.py:1"
    plans = [builder.finish(builder.neg(builder.input(Type((2,), fraction=18)))) for builder in (b, c)]
    assert plans[0].fingerprint == plans[1].fingerprint and plans[0] == plans[1]


@pytest.mark.parametrize("limits", [Limits(value=7), Limits(total=20), Limits(trips=2)])
def test_bounds_are_checked_before_anything_runs(limits):
    with pytest.raises(PlanError, match=r"at most|more than"):
        Plan.from_bytes(sample_plan().encoded, limits)


def test_deep_nesting_is_refused():
    tree: object = [1, [], []]
    for _ in range(20):
        tree = [1, [["loop", [], [tree, 1, 0, 0]]], []]
    with pytest.raises(PlanError, match="nested"):
        Plan.from_bytes(msgpack.packb(tree))


@given(st.binary(max_size=300))
def test_hostile_bytes_raise_only_plan_errors(data):
    with pytest.raises(PlanError):
        Plan.from_bytes(data)


@given(st.data())
def test_mutated_plans_raise_only_plan_errors(data):
    raw = bytearray(sample_plan().encoded)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        plan = Plan.from_bytes(bytes(raw))
    except PlanError:
        return
    assert plan.encoded == bytes(raw)
