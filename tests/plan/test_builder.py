"""The fixed-point books: where fractions grow, where truncations go, what constants cost."""

import numpy as np
import pytest

from mpcrt.plan import Builder, Type


def ops(plan):
    return [n.op for n in plan.nodes]


@pytest.mark.parametrize(
    ("value", "fraction"), [(0.5, 1), (3.0, 0), (1 / 768, 28), (1000.25, 2), (-(2.0**-5), 5), (0.0, 0), (0.1, 22)]
)
def test_a_factor_takes_the_bits_it_needs(value, fraction):
    b = Builder()
    c = b.factor(value)
    assert c.fraction <= fraction
    plan = b.finish(c)
    word = np.frombuffer(plan.nodes[0].attrs["data"], np.int64)[0]
    assert abs(word / 2.0**c.fraction - value) <= abs(value) * 2.0**-18


def test_a_sum_of_products_is_truncated_once():
    b = Builder()
    x, y = (b.input(Type((4,), fraction=18)) for _ in range(2))
    total = b.add(b.mul(x, y), b.mul(y, y))
    assert total.fraction == 36
    third = b.mul(total, x)
    fourth = b.mul(total, y)
    assert ops(b.finish(third, fourth)).count("truncate") == 1


def test_adding_aligns_by_an_exact_shift():
    b = Builder()
    x, y = (b.input(Type((4,), fraction=18)) for _ in range(2))
    assert "shift" in ops(b.finish(b.add(b.mul(x, y), x)))


def test_zeros_vanish():
    b = Builder()
    x = b.input(Type((4,), fraction=18))
    zero = b.real(np.zeros(()))
    assert b.add(x, zero) == x
    assert b.sub(x, zero) == x
    relu = b.finish(b.where(b.negative(x), zero, x))
    assert ops(relu).count("msb") == ops(relu).count("select") == 1 and "add" not in ops(relu)


def test_the_sign_of_a_product_is_read_from_what_truncation_keeps():
    b = Builder()
    x = b.input(Type((4,), fraction=18))
    node = b.finish(b.negative(b.mul(x, x))).nodes[-1]
    assert (node.attrs["drop"], node.attrs["bits"]) == (18, 45)
