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
    lost: Mapping[Partition, Commit]
    """Of partitions of which writes are lost, or may be: our last commit."""
    contexts_lost: bool
    """Redis has lost everything: the contexts are to be read again before the first event."""


def plan(
    assigned: Mapping[Partition, Known], start: Literal["earliest", "latest"], *, doubtful: bool = False
) -> Plan:
    """Where to start with each partition.

    With `start` "latest", all partitions that there are when the group begins have a checkpoint at their end;
    one without any has come since, so it is read from its beginning too.

    `doubtful` is a Redis that was restarted, exchanged or flushed since a consumer looked at it last: it may
    have kept the checkpoints, and have lost what was written after them.
    """
    known = {partition: _of_the_topic_now(each) for partition, each in assigned.items()}
    return Plan(
        starts={partition: _start(each, start) for partition, each in known.items()},
        lost={each: commit for each, of in known.items() if (commit := _lost(of, doubtful=doubtful))},
        contexts_lost=any(each.committed and not each.checkpoint for each in known.values()),
    )


def goals(
    known: Mapping[Partition, Known],
    lost: Mapping[Partition, Commit],
    ends: Mapping[Partition, int],
    window: int,
) -> Mapping[Partition, int]:
    """The offsets up to where Redis may have had the events of partitions that are lost; without those of
    which it has them.

    What was delivered after a commit counts as well: it is at most `window` offsets, and lies before the end
    that the partition has now, where anybody tells that.
    """
    had = {
        each: max(commit.offset, commit.rebuilt_to, min(ends.get(each, 0), commit.offset + window))
        for each, commit in lost.items()
    }
    return {each: goal for each, goal in had.items() if goal > _reached(_of_the_topic_now(known[each]))}


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


def _lost(known: Known, *, doubtful: bool) -> Commit | None:
    """Our last commit of this partition, where Redis lacks events before it, or may lack some after it."""
    match known:
        case Known(committed=Commit(is_ours=True) as commit, context=False):
            return commit if doubtful or _reached(known) < max(commit.offset, commit.rebuilt_to) else None
    return None


def _reached(known: Known) -> int:
    return -1 if known.checkpoint is None else known.checkpoint.offset
