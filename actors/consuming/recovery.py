"""Where a partition is read from. Pure.

Kafka's committed offset says what need not be read again as long as Redis keeps what was written to it. The
checkpoint beside the data says up to where Redis has it: checkpoints are written before the commit of the
same offsets, so a checkpoint that is missing or behind the commit means that writes are lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from doorstep.actors.records import BEGINNING, Beginning, Partition


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an assigned partition."""

    committed: int | None
    """Kafka's offset of the group."""
    checkpoint: int | None
    """Redis' offset of the group."""
    context: bool
    """Whether its records tell whose batch it is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to go on with the partitions of an assignment."""

    starts: Mapping[Partition, int | Beginning]
    contexts_lost: bool
    """Redis has lost everything: the contexts are to be read again before the first event."""


def plan(assigned: Mapping[Partition, Known], start: Literal["earliest", "latest"]) -> Plan:
    """Where to start with each partition.

    With `start` "latest", all partitions that there are when the group begins have a checkpoint at their end;
    one without any has come since, so it is read from its beginning too.
    """
    starts = {partition: _start(known, start) for partition, known in assigned.items()}
    return Plan(starts, contexts_lost=any(map(_is_lost, assigned.values())))


def _is_lost(known: Known) -> bool:
    return known.committed is not None and known.checkpoint is None


def _start(known: Known, start: Literal["earliest", "latest"]) -> int | Beginning:
    match known:
        case Known(committed=int(committed), checkpoint=int(checkpoint)):
            return min(committed, checkpoint)
        case Known(committed=None, checkpoint=int(checkpoint), context=False) if start == "latest":
            return checkpoint
    # A checkpoint without a commit may be of a topic that has been recreated: only Kafka knows its offsets.
    return BEGINNING
