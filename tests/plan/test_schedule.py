"""Schedules are static and deterministic; their rounds are known facts."""

from itertools import pairwise

import numpy as np
import pytest

from mpcrt.plan import Builder, PlanError, Type
from mpcrt.plan.schedule import CHUNK, Rep, schedule


def real(*shape, visibility="secret") -> Type:
    return Type(shape, "ring", 18, visibility)


def plan_of(function, *types):
    b = Builder()
    out = function(b, *(b.input(t) for t in types))
    return b.finish(*(out if isinstance(out, (tuple, list)) else (out,)))


def relu(b, x):
    return b.where(b.negative(x), b.real(0.0), x)


def mlp(b, x, *parameters):
    for i in range(0, len(parameters), 2):
        x = b.add(b.dot(x, parameters[i]), parameters[i + 1])
        x = relu(b, x) if i < len(parameters) - 2 else x
    return b.truncate(x)


def mlp_types():
    widths = [784, 128, 128, 10]
    layers = pairwise(widths)
    return [real(1, 64, 784), *(t for a, c in layers for t in (real(1, a, c), real(1, 1, c)))]


GOLDEN = {
    "mul": (lambda b, x, y: b.truncate(b.mul(x, y)), [real(9), real(9)], 1),
    "matmul": (lambda b, x, y: b.truncate(b.dot(x, y)), [real(1, 3, 4), real(1, 4, 5)], 1),
    "relu": (relu, [real(9)], 3),
    "max": (lambda b, x, y: b.add(y, b.select(b.less(y, x), b.sub(x, y))), [real(9), real(9)], 3),
    "mlp": (mlp, mlp_types(), 11),
    "sum of products": (lambda b, x, y: b.truncate(b.add(b.mul(x, y), b.mul(x, x))), [real(9), real(9)], 1),
    "square of a product": (lambda b, x, y: b.truncate(b.mul(*[b.truncate(b.mul(x, y))] * 2)), [real(9), real(9)], 2),
    "linear": (lambda b, x, y: b.sub(b.mul(x, b.integer(3)), y), [real(9), real(9)], 0),
    "and of comparisons": (lambda b, x, y: b.and_(b.negative(x), b.negative(y)), [real(9), real(9)], 3),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("parties", [2, 3])
def test_rounds(name, parties):
    function, types, rounds = GOLDEN[name]
    assert schedule(plan_of(function, *types), parties).rounds == rounds


def test_independent_openings_share_a_round():
    def function(b, x, y):
        return [b.truncate(b.mul(x, y)), relu(b, x), b.negative(b.sub(x, y)), relu(b, b.mul(x, x))]

    assert schedule(plan_of(function, real(9), real(9)), 2).rounds == 4


def test_a_value_is_exposed_once_and_a_bit_opened_once():
    def function(b, x, y):
        z = b.mul(x, y)
        sign = b.negative(z)
        return b.truncate(z), b.select(sign, x), b.select(sign, y), b.to_ring(sign), b.negative(b.truncate(z))

    lowered = schedule(plan_of(function, real(9), real(9)), 2)
    rules = [s.rule for s in lowered.steps]
    assert sum(s.exposing for s in lowered.steps) == 2 and rules.count("lift") == 1 and rules.count("msb") == 2


def test_a_product_of_masked_wires_needs_no_correction():
    """Absorbed: its mask is s - l_x l_y, so only R and m of the truncation come from the dealer."""
    lowered = schedule(plan_of(lambda b, x, y: b.truncate(b.mul(x, y)), real(9), real(9)), 2)
    assert [s.rule for s in lowered.steps] == ["expose_product", "fork", "settle"]


def names(function, *types) -> list[str]:
    return [s.name for s in schedule(plan_of(function, *types), 2).steps if s.rule not in ("public", "fork")]


def test_what_is_made_to_be_exposed_is_exposed_by_its_step():
    """relu after relu: the sign's bits, turned round, and what they select leave with the steps that make them."""
    once = ["msb+expose", "linear", "lift_select"]
    assert names(lambda b, x: relu(b, relu(b, x)), real(9)) == [*once[:2], "lift_select+expose", *once]


def test_what_is_used_elsewhere_is_exposed_by_itself():
    def function(b, x, y):
        u = b.select(b.negative(x), y)
        return b.one("truncate", u, bits=4), u

    assert names(function, real(9), real(9)) == ["msb+expose", "lift_select", "expose", "settle"]


@pytest.mark.parametrize(("size", "exposed"), [(CHUNK, True), (CHUNK + 1, False)])
def test_what_does_not_go_by_chunks_is_exposed_in_chunks(size, exposed):
    """So that one chunk of it travels while the next is masked."""
    found = names(lambda b, x, y: b.truncate(b.dot(x, y)), real(1, size, 2), real(1, 2, 1))
    assert found == (["product+expose"] if exposed else ["product", "expose"]) + ["settle"]


def test_the_schedule_is_a_function_of_the_plan():
    first, second = (schedule(plan_of(mlp, *mlp_types()), 3) for _ in range(2))
    assert str(first) == str(second) and first.fingerprint == second.fingerprint


def numbers(lowered):
    for step in lowered.steps:
        yield step.number
        if step.rule == "loop":
            yield from numbers(step.attrs["body"])


def test_step_numbers_are_unique_through_loops():
    inner = Builder()
    c, x = inner.input(real(3)), inner.input(real(3))
    body = inner.finish(inner.truncate(inner.mul(c, x)))

    def function(b, c, xs):
        (once,) = b.loop(body, 4, [], [c], [xs])
        (twice,) = b.loop(body, 4, [], [once], [xs])
        return twice

    lowered = schedule(plan_of(function, real(3), real(4, 3)), 2)
    found = list(numbers(lowered))
    assert len(found) == len(set(found)) > 8
    # a trip: the carry is re-masked, the product opened; the first enters as it is
    assert lowered.rounds == 2 * 4 * 2


def test_steps_start_when_their_operands_are_there():
    lowered = schedule(plan_of(mlp, *mlp_types()), 2)
    for step in lowered.steps:
        assert step.start == max((lowered.held[v].ready for v in step.operands), default=0)
        assert all(lowered.held[v].ready == step.start + step.rounds for v in step.results)


def test_outputs_are_masked_shared_or_public():
    def function(b, x, y):
        return x, b.truncate(b.mul(x, y)), b.mul(x, y), b.negative(x), b.real(1.0), b.add(x, b.real(1.0))

    lowered = schedule(plan_of(function, real(9), real(9)), 2)
    assert lowered.output_wires == ("masked", "shared", "shared", "shared", "public", "masked")
    assert all(not lowered.held[v].deferred and lowered.held[v].rep is not Rep.OPENED for v in lowered.outputs)


def test_one_party_does_not_compute_alone():
    with pytest.raises(PlanError, match="two computing parties"):
        schedule(plan_of(relu, real(3)), 1)


def test_what_nothing_uses_is_no_step():
    """x y is exposed once for all its linear functions; those of its shares, which the comparisons do not use, go."""

    def function(b, x, y):
        z = b.mul(x, y)
        return [b.negative(b.add(z, b.ring_constant(np.asarray(c, np.uint64), 36))) for c in (1, 2, 3)]

    lowered = schedule(plan_of(function, real(9), real(9)), 2)
    used = {v for s in lowered.steps for v in s.operands} | set(lowered.outputs)
    assert all(used.intersection(s.results) for s in lowered.steps)
    assert [s.rule for s in lowered.steps if s.rule != "public"].count("linear") == 3
