"""Where a partition is read from: the whole table."""

from typing import Literal

import pytest

from doorstep.actors.recovery import BEGINNING, Beginning, Known, lost_writes, plan

E, L = "earliest", "latest"


@pytest.mark.parametrize(
    ("committed", "mark", "context", "start", "expected", "lost"),
    [
        # first start
        (None, None, False, E, BEGINNING, False),
        (None, None, True, E, BEGINNING, False),
        (None, None, True, L, BEGINNING, False),
        # "latest": what there was has a mark at its end, what came since is read whole
        (None, 40, False, L, 40, False),
        (None, None, False, L, BEGINNING, False),
        # commits are gone, or the topic was made anew: Kafka knows
        (None, 40, False, E, BEGINNING, False),
        (None, 40, True, L, BEGINNING, False),
        # the usual: marks are written before commits
        (40, 40, False, E, 40, False),
        (40, 45, False, E, 40, False),
        (40, 45, True, L, 40, False),
        (0, 0, False, E, 0, False),
        # Redis has lost the last of what it acknowledged
        (40, 30, False, E, 30, False),
        (40, 0, True, L, 0, False),
        # Redis has lost everything
        (40, None, False, E, BEGINNING, True),
        (40, None, False, L, BEGINNING, True),
        (40, None, True, E, BEGINNING, True),
        (0, None, False, E, BEGINNING, True),
    ],
)
def test_table(
    committed: int | None,
    mark: int | None,
    context: bool,
    start: Literal["earliest", "latest"],
    expected: int | Beginning,
    lost: bool,
) -> None:
    place = plan({("topic", 3): Known(committed, mark, context)}, start)
    assert place.starts == {("topic", 3): expected}
    assert place.contexts_lost is lost


def test_one_lost_partition_is_enough_to_read_the_contexts_again() -> None:
    known = {("a", 0): Known(5, 5, False), ("a", 1): Known(5, None, False)}
    assert plan(known, "earliest").contexts_lost


@pytest.mark.parametrize(
    ("written", "found", "lost"),
    [
        ({}, {}, False),
        ({("a", 0): 5}, {("a", 0): 5}, False),
        ({("a", 0): 5}, {("a", 0): 6, ("b", 0): 1}, False),
        ({("a", 0): 5}, {("a", 0): 4}, True),
        ({("a", 0): 0}, {}, True),
        ({("a", 0): 5, ("a", 1): 5}, {("a", 0): 5}, True),
    ],
)
def test_marks_tell_of_lost_writes(
    written: dict[tuple[str, int], int], found: dict[tuple[str, int], int], lost: bool
) -> None:
    assert lost_writes(written, found) is lost
