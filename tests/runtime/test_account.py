"""What the closing line says of who learned what."""

import pytest

from mpcrt.runtime.account import NAMED, Account
from mpcrt.text import listed


@pytest.mark.parametrize(
    ("names", "said"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), ([1, 2], "1 and 2")]
)
def test_lists_for_people(names, said):
    assert listed(names) == said


def test_equal_values_are_counted_and_many_cut():
    account = Account()
    for _ in range(3):
        account.learns(["bob"], "result of total(): float32[]")
    for i in range(NAMED + 2):
        account.learns(["alice", "bob"], f"value {i}")
    account.learns([], "what nobody gets")
    learned = account.learned()
    assert learned[("bob",)] == ["result of total(): float32[] (3 times)"]
    assert learned["alice", "bob"] == [*(f"value {i}" for i in range(NAMED)), "2 more"]


def test_who_does_not_know_the_values_lists_calls():
    account = Account()
    for number in (4, 4, 7):
        account.learns_of(["alice"], number)
    account.learns_of(["bob"], 9)
    for number in range(10, 10 + NAMED + 3):
        account.learns_of(["carol"], number)
    learned = account.learned()
    assert learned[("alice",)] == ["the results of calls 4 and 7"]
    assert learned[("bob",)] == ["the results of call 9"]
    assert learned[("carol",)] == ["the results of calls 10, 11, 12, 13, 14, 15, 16, 17 and 3 more"]
