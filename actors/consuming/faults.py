"""What keeps single topics and partitions from being read or written, while all others go on. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from doorstep.actors.records import Partition, name_of


@dataclass(frozen=True, slots=True)
class KafkaFault:
    """What is wrong with a topic or a partition."""

    reason: str
    since: float
    """Unix seconds."""


class Faults:
    """The faults there are, by what was tried."""

    def __init__(self) -> None:
        self._by_operation: dict[str, dict[str, KafkaFault]] = {}

    def replace(self, operation: str, reasons: Mapping[str, str], now: float) -> bool:
        """These are all faults of an operation now: the names of topics and partitions, and what is wrong.

        Says whether that changes which ones they are. `now`, in Unix seconds, dates those that are new.
        """
        before = self._by_operation.get(operation, {})
        self._by_operation[operation] = {
            name: KafkaFault(reason, before[name].since if name in before else now)
            for name, reason in reasons.items()
        }
        return before.keys() != reasons.keys()

    def has(self, partition: Partition) -> bool:
        """Whether something is wrong with the partition, or with its topic."""
        names = (partition[0], name_of(partition))
        return any(name in faults for faults in self._by_operation.values() for name in names)

    @property
    def all(self) -> Mapping[str, KafkaFault]:
        """By the names of topics and partitions: `topic` or `topic/partition`."""
        merged: dict[str, KafkaFault] = {}
        for faults in self._by_operation.values():
            merged |= faults
        return merged
