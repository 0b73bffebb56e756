"""Where a partition is read from: the whole table."""

from typing import Literal

import pytest

from doorstep.actors.consuming.recovery import Known, plan
from doorstep.actors.records import BEGINNING, Beginning

E, L = "earliest", "latest"


@pytest.mark.parametrize(
    ("known", "start", "expected", "lost"),
    [
        # first start
        (Known(None, None, False), E, BEGINNING, False),
        (Known(None, None, True), E, BEGINNING, False),
        (Known(None, None, True), L, BEGINNING, False),
        # "latest": what there was has a checkpoint at its end, what came since is read whole
        (Known(None, 40, False), L, 40, False),
        (Known(None, None, False), L, BEGINNING, False),
        # commits are gone, or the topic was made anew: Kafka knows
        (Known(None, 40, False), E, BEGINNING, False),
        (Known(None, 40, True), L, BEGINNING, False),
        # the usual: checkpoints are written before commits
        (Known(40, 40, False), E, 40, False),
        (Known(40, 45, False), E, 40, False),
        (Known(40, 45, True), L, 40, False),
        (Known(0, 0, False), E, 0, False),
        # Redis has lost the last of what it acknowledged
        (Known(40, 30, False), E, 30, False),
        (Known(40, 0, True), L, 0, False),
        # Redis has lost everything
        (Known(40, None, False), E, BEGINNING, True),
        (Known(40, None, False), L, BEGINNING, True),
        (Known(40, None, True), E, BEGINNING, True),
        (Known(0, None, False), E, BEGINNING, True),
    ],
)
def test_table(
    known: Known, start: Literal["earliest", "latest"], expected: int | Beginning, lost: bool
) -> None:
    place = plan({("topic", 3): known}, start)
    assert place.starts == {("topic", 3): expected}
    assert place.contexts_lost is lost


def test_one_lost_partition_is_enough_to_read_the_contexts_again() -> None:
    known = {("a", 0): Known(5, 5, False), ("a", 1): Known(5, None, False)}
    assert plan(known, "earliest").contexts_lost
