"""Finds partitions that are nobody's while the group is at rest.

A member that is killed after Kafka has told it to give partitions away, and before it has said that it did,
leaves such: its successor, the same static member, gets back what it was to keep, and as nothing changes by
that, nobody gets the rest until something does. Pure.
"""

import math
from collections.abc import Mapping, Set

from doorstep.actors.consuming.faults import Faults, KafkaFault
from doorstep.actors.records import Partition, name_of

LOOK_S = 3.0
"""From one look to the next one."""
_LEAST_S = 10.0
"""Longer than it takes to give a partition away, or to find a new one."""

_REASON = "no member of the consumer group has it"


class UnownedPartitionsError(Exception):
    """Partitions are nobody's. Leave the group and join it again, so that it hands out all there are."""


class GroupWatch:
    """One member's looks at its group."""

    def __init__(self, session_timeout_s: float) -> None:
        """A member that is frozen while it is to give partitions away has so long to wake up."""
        self._looks = 1 + math.ceil(max(session_timeout_s, _LEAST_S) / LOOK_S)
        self._patience = self._looks
        self._seen: dict[Partition, int] = {}
        """How often in a row each partition that is nobody's was so."""
        self._faults = Faults()

    @property
    def faults(self) -> Mapping[str, KafkaFault]:
        """By `topic/partition`, those that were nobody's for longer than it should take, until a look finds
        an owner for all."""
        return self._faults.all

    def begin(self) -> None:
        """This is a new membership: what was seen in the last one may have been put right by joining."""
        self._seen = {}

    def look(self, owned: Set[Partition] | None, partitions: Set[Partition], now: float) -> bool:
        """Say whether each of the `partitions` that there are is `owned`.

        Nobody can tell where `owned` is None or there are no `partitions`. `now`, in Unix seconds, dates
        faults. Raises `UnownedPartitionsError`, ever more rarely while that does not help.
        """
        unowned = frozenset[Partition]() if owned is None else partitions - owned
        self._seen = {each: self._seen.get(each, 0) + 1 for each in unowned}
        lasting = sorted(name_of(each) for each, looks in self._seen.items() if looks >= self._looks)
        if lasting:
            self._faults.replace("group", dict.fromkeys(lasting, _REASON), now)
        if max(self._seen.values(), default=0) >= self._patience:
            self._patience *= 2
            raise UnownedPartitionsError(f"{_REASON}: {', '.join(lasting)}")
        if owned is None or unowned or not partitions:
            return False
        self._patience = self._looks
        self._faults.replace("group", {}, now)
        return True
