"""Where a partition is read from. Pure.

Kafka's committed offset says what need not be read again as long as Redis keeps what was written to it. The
checkpoint beside the data says up to where Redis has it: checkpoints are written before the commit of the
same offsets, so a checkpoint that is missing or behind a commit of ours means that writes are lost.

Neither is of use where it is of a topic of that name that was deleted since. And a commit that is not ours is
the word of a person (or of a tool that one has used): it is obeyed, whatever the checkpoint says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from doorstep.actors.records import BEGINNING, Beginning, Partition
from doorstep.actors.store.values import Checkpoint


@dataclass(frozen=True, slots=True)
class Commit:
    """Kafka's offset of the group for a partition, and what the metadata beside it says."""

    offset: int
    is_ours: bool = True
    """Doorstep has committed it; a person otherwise."""
    topic_id: str = ""
    """Of the topic at that time; empty if it was not known."""
    rebuilt_to: int = 0
    """After a loss: the offset below which Redis was still being rebuilt."""
    store_id: str = ""
    """Of the store that the group was writing to; empty where a person has committed."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an assigned partition."""

    committed: Commit | None
    checkpoint: Checkpoint | None
    topic_id: str = ""
    """Of the topic now; empty if it is not known."""
    context: bool = False
    """Whether its records tell whose batch it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go on with the partitions of an assignment."""

    starts: Mapping[Partition, int | Beginning]
    rebuilding: Mapping[Partition, int]
    """Of partitions whose writes are lost: the offset up to where Redis had them."""
    contexts_lost: bool
    """Redis has lost everything: the contexts are to be read again before the first event."""


def plan(assigned: Mapping[Partition, Known], start: Literal["earliest", "latest"]) -> Plan:
    """Where to start with each partition.

    With `start` "latest", all partitions that there are when the group begins have a checkpoint at their end;
    one without any has come since, so it is read from its beginning too.
    """
    known = {partition: _of_the_topic_now(each) for partition, each in assigned.items()}
    return Plan(
        starts={partition: _start(each, start) for partition, each in known.items()},
        rebuilding={partition: goal for partition, each in known.items() if (goal := _goal(each))},
        contexts_lost=any(each.committed and not each.checkpoint for each in known.values()),
    )


def _of_the_topic_now(known: Known) -> Known:
    """Without what is of a former topic of that name."""
    commit, checkpoint = known.committed, known.checkpoint
    return Known(
        commit if commit and _may_be(commit.topic_id, known.topic_id) else None,
        checkpoint if checkpoint and _may_be(checkpoint.topic_id, known.topic_id) else None,
        known.topic_id,
        known.context,
    )


def _may_be(topic_id: str, now: str) -> bool:
    return not topic_id or not now or topic_id == now


def _start(known: Known, start: Literal["earliest", "latest"]) -> int | Beginning:
    match known:
        case Known(committed=Commit(offset, is_ours=False)):
            return offset
        case Known(committed=Commit(offset), checkpoint=Checkpoint(reached)):
            return min(offset, reached)
        case Known(committed=None, checkpoint=Checkpoint(reached, topic_id)) if topic_id and known.topic_id:
            return reached  # Kafka has forgotten the commit, but it is the same topic
        case Known(committed=None, checkpoint=Checkpoint(reached), context=False) if start == "latest":
            return reached
    # A checkpoint alone may be of a topic that has been made anew: only Kafka knows its offsets.
    return BEGINNING


def _goal(known: Known) -> int:
    """Up to where Redis had the events of this partition; 0 where it has them still."""
    match known:
        case Known(committed=Commit(offset, is_ours=True) as commit, checkpoint=checkpoint, context=False):
            goal = max(offset, commit.rebuilt_to)
            return goal if checkpoint is None or checkpoint.offset < goal else 0
    return 0
