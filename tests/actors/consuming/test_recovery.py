"""Where a partition is read from: the whole table."""

from typing import Literal

import pytest

from doorstep.actors.consuming.recovery import Commit, Known, goals, plan
from doorstep.actors.records import BEGINNING, Beginning
from doorstep.actors.store.values import Checkpoint

E, L = "earliest", "latest"
OLD, NOW = "topic-made-then", "topic-made-now"
CONTEXT = True
PARTITION = ("topic", 3)
WINDOW = 100


def known(
    committed: Commit | int | None,
    checkpoint: Checkpoint | int | None,
    context: bool = False,
    topic_id: str = "",
) -> Known:
    return Known(
        Commit(committed) if isinstance(committed, int) else committed,
        Checkpoint(checkpoint) if isinstance(checkpoint, int) else checkpoint,
        topic_id,
        context,
    )


def persons(offset: int, topic_id: str = "") -> Commit:
    return Commit(offset, is_ours=False, topic_id=topic_id)


@pytest.mark.parametrize(
    ("known", "start", "expected", "goal", "lost"),
    [
        # first start
        (known(None, None), E, BEGINNING, 0, False),
        (known(None, None, CONTEXT), E, BEGINNING, 0, False),
        (known(None, None, CONTEXT), L, BEGINNING, 0, False),
        # "latest": what there was has a checkpoint at its end, what came since is read whole
        (known(None, 40), L, 40, 0, False),
        (known(None, None), L, BEGINNING, 0, False),
        # commits are gone, or the topic was made anew, and nobody can tell: Kafka knows
        (known(None, 40), E, BEGINNING, 0, False),
        (known(None, 40, CONTEXT), L, BEGINNING, 0, False),
        (known(None, Checkpoint(40, OLD)), E, BEGINNING, 0, False),
        (known(None, 40, topic_id=NOW), E, BEGINNING, 0, False),
        # commits have expired, and it is the same topic: its checkpoint is trusted
        (known(None, Checkpoint(40, NOW), topic_id=NOW), E, 40, 0, False),
        (known(None, Checkpoint(40, NOW), topic_id=NOW), L, 40, 0, False),
        (known(None, Checkpoint(40, NOW), CONTEXT, NOW), E, 40, 0, False),
        # the topic was made anew: nothing of the old one counts
        (known(None, Checkpoint(40, OLD), topic_id=NOW), E, BEGINNING, 0, False),
        (known(None, Checkpoint(40, OLD), topic_id=NOW), L, BEGINNING, 0, False),
        (known(Commit(40, topic_id=OLD), Checkpoint(40, OLD), topic_id=NOW), E, BEGINNING, 0, False),
        (known(Commit(40, topic_id=OLD), None, topic_id=NOW), E, BEGINNING, 0, False),
        (known(persons(40, OLD), Checkpoint(40, OLD), topic_id=NOW), E, BEGINNING, 0, False),
        (known(Commit(7, topic_id=NOW), Checkpoint(40, OLD), topic_id=NOW), E, BEGINNING, 7, True),
        # the usual: checkpoints are written before commits
        (known(40, 40), E, 40, 0, False),
        (known(40, 45), E, 40, 0, False),
        (known(40, 45, CONTEXT), L, 40, 0, False),
        (known(0, 0), E, 0, 0, False),
        (known(Commit(40, topic_id=NOW), Checkpoint(45, NOW), topic_id=NOW), E, 40, 0, False),
        (known(Commit(40, topic_id=NOW), Checkpoint(45), topic_id=NOW), E, 40, 0, False),
        (known(Commit(40), Checkpoint(45, NOW)), E, 40, 0, False),
        # Redis has lost the last of what it acknowledged
        (known(40, 30), E, 30, 40, False),
        (known(40, 0, CONTEXT), L, 0, 0, False),
        (known(Commit(40, topic_id=NOW), Checkpoint(30, NOW), topic_id=NOW), E, 30, 40, False),
        # Redis has lost everything
        (known(40, None), E, BEGINNING, 40, True),
        (known(40, None), L, BEGINNING, 40, True),
        (known(40, None, CONTEXT), E, BEGINNING, 0, True),
        (known(0, None), E, BEGINNING, 0, True),
        # and is being rebuilt: who takes over goes on, whatever was lost once more
        (known(Commit(10, rebuilt_to=40), 10), E, 10, 40, False),
        (known(Commit(10, rebuilt_to=40), 5), E, 5, 40, False),
        (known(Commit(10, rebuilt_to=40), None), E, BEGINNING, 40, True),
        (known(Commit(40, rebuilt_to=40), 40), E, 40, 0, False),
        (known(Commit(50, rebuilt_to=40), 55), E, 50, 0, False),
        # a person's commit is obeyed, forwards and backwards, and nothing counts as lost by it
        (known(persons(100), 40), E, 100, 0, False),
        (known(persons(100), 40), L, 100, 0, False),
        (known(persons(10), 40), E, 10, 0, False),
        (known(persons(0), 40, CONTEXT), E, 0, 0, False),
        (known(persons(100), Checkpoint(40, NOW), topic_id=NOW), E, 100, 0, False),
        # also where the group was never Doorstep's; contexts are read, as Redis has none
        (known(persons(100), None), L, 100, 0, True),
        (known(persons(100), None, CONTEXT), E, 100, 0, True),
    ],
)
def test_table(
    known: Known,
    start: Literal["earliest", "latest"],
    expected: int | Beginning,
    goal: int,
    lost: bool,
) -> None:
    assigned = {PARTITION: known}
    place = plan(assigned, start)
    assert place.starts == {PARTITION: expected}
    rebuilding = goals(assigned, place.lost, {}, WINDOW)
    assert {each: at for each, at in rebuilding.items() if at} == ({PARTITION: goal} if goal else {})
    assert place.contexts_lost is lost


@pytest.mark.parametrize(
    ("known", "end", "doubtful", "goal"),
    [
        # what was delivered after the commit is lost, too: as far as the partition goes, within the window
        (known(40, None), 45, False, 45),
        (known(40, 30), 45, False, 45),
        (known(40, 30), 4000, False, 140),
        (known(Commit(40, rebuilt_to=90), 30), 4000, False, 140),
        (known(Commit(10, rebuilt_to=400), 10), 4000, False, 400),
        # a Redis that nobody has looked at may have kept the checkpoint alone
        (known(40, 40), 45, True, 45),
        (known(40, 42), 45, True, 45),
        (known(40, 40), 40, True, None),
        (known(40, 45), 45, True, None),
        (known(40, 40), 45, False, None),
        # contexts are read before all events, a person's word is no loss, and what nobody has read is none
        (known(40, 40, CONTEXT), 45, True, None),
        (known(persons(40), 40), 45, True, None),
        (known(None, None), 45, True, None),
        # the topic was made anew
        (known(Commit(7, topic_id=NOW), Checkpoint(40, OLD), topic_id=NOW), 9, False, 9),
        (known(Commit(40, topic_id=OLD), Checkpoint(40, OLD), topic_id=NOW), 9, True, None),
    ],
)
def test_up_to_where_a_partition_is_rebuilt(known: Known, end: int, doubtful: bool, goal: int | None) -> None:
    assigned = {PARTITION: known}
    lost = plan(assigned, "earliest", doubtful=doubtful).lost
    assert goals(assigned, lost, {PARTITION: end}, WINDOW) == ({} if goal is None else {PARTITION: goal})


def test_one_lost_partition_is_enough_to_read_the_contexts_again() -> None:
    assigned = {("a", 0): known(5, 5), ("a", 1): known(5, None)}
    assert plan(assigned, "earliest").contexts_lost
