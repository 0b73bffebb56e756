import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.benchmarks.ledger import Exactness, Ledger


def _judged(numbers: list[int], total: int) -> Exactness:
    ledger = Ledger(user=3)
    for number in numbers:
        ledger.note(3, number)
    return ledger.settle(total)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3, 4], Exactness(4, 4)),
        ([1, 2, 4], Exactness(4, 3)),
        ([1, 2, 3], Exactness(4, 3)),
        ([], Exactness(4, 0)),
        ([1, 2, 2, 3, 4], Exactness(4, 4, duplicates=1)),
        ([1, 3, 2, 4], Exactness(4, 4, disordered=1)),
        ([1, 3, 2, 2, 4], Exactness(4, 4, duplicates=1, disordered=1)),
        ([4, 3, 2, 1], Exactness(4, 4, disordered=3)),
    ],
)
def test_what_came_is_judged(numbers: list[int], expected: Exactness) -> None:
    judged = _judged(numbers, 4)

    assert judged == expected
    assert judged.exact == (numbers == [1, 2, 3, 4])


def test_what_belongs_to_another_user_counts_for_nothing_else() -> None:
    ledger = Ledger(user=3)

    assert not ledger.note(4, 1)
    assert ledger.note(3, 1)
    assert ledger.settle(1) == Exactness(1, 1, foreign=1)


def test_only_the_first_delivery_counts() -> None:
    ledger = Ledger(user=3)

    assert [ledger.note(3, number) for number in (1, 1, 3, 2, 2, 3)] == [
        True,
        False,
        True,
        True,
        False,
        False,
    ]


def test_each_load_is_judged_by_itself() -> None:
    ledger = Ledger(user=3)
    ledger.note(3, 1)
    assert ledger.due(2) == 2
    assert ledger.settle(2).missing == 1

    ledger.note(3, 3)

    assert ledger.due(3) == 1
    assert ledger.settle(3) == Exactness(1, 1)


def test_what_was_missing_and_comes_after_all_is_no_part_of_the_next_load() -> None:
    ledger = Ledger(user=3)
    ledger.note(3, 1)
    ledger.settle(2)

    assert not ledger.note(3, 2)
    assert ledger.settle(2) == Exactness(0, 0, duplicates=1)


@given(st.lists(st.integers(1, 12)), st.integers(12, 15))
def test_missing_and_repeated_are_what_counting_says(numbers: list[int], total: int) -> None:
    judged = _judged(numbers, total)

    assert judged.missing == total - len(set(numbers))
    assert judged.duplicates == len(numbers) - len(set(numbers))


@given(st.integers(2, 50), st.randoms(use_true_random=False))
def test_any_other_order_is_seen(total: int, order: random.Random) -> None:
    numbers = list(range(1, total + 1))
    order.shuffle(numbers)

    assert _judged(numbers, total).exact == (numbers == sorted(numbers))


def test_sums_keep_every_count() -> None:
    assert Exactness(1, 2, 3, 4, 5) + Exactness(10, 20, 30, 40, 50) == Exactness(11, 22, 33, 44, 55)
