"""How far each assigned partition is read, done and committed, and how much more may be read. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from doorstep.actors.offsets import Offsets
from doorstep.actors.recovery import Partition


class TooManyPartitionsError(ValueError):
    """The dedupe window can't cover what is read of so many partitions: the operator's to change."""


def cap_of(max_in_flight: int, dedupe_window: int, event_partitions: int) -> int:
    """How far the read position of a partition may be past its commit.

    All that is not committed comes again after a crash, and must still be known as a repeat, even if all of
    it is one user's. Raises `TooManyPartitionsError` where not even one record a partition fits.
    """
    cap = min(max_in_flight, dedupe_window // max(event_partitions, 1))
    if cap < 1:
        raise TooManyPartitionsError(
            f"{event_partitions} event partitions are assigned to one consumer, and history.dedupe_window is "
            f"{dedupe_window}: raise history.dedupe_window to at least {event_partitions}, or add consumers"
        )
    return cap


@dataclass(slots=True)
class Ticket:
    """Records of one partition that were read together."""

    partition: Partition
    offsets: Offsets
    numbers: Sequence[int]

    def acknowledge(self, held: Collection[tuple[str, int, int]] = ()) -> bool:
        """They are done, but for those `held` back, given as topic, partition, offset; whether all are."""
        done, self.numbers = (
            self.numbers,
            [n for n in self.numbers if (*self.partition, n) in held] if held else (),
        )
        kept = set(self.numbers)
        self.offsets.acknowledge(*(n for n in done if n not in kept) if kept else done)
        return not self.numbers


class InFlight:
    """The partitions of one assignment."""

    def __init__(self, starts: Mapping[Partition, int], cap: int) -> None:
        """Nothing is committed past `starts`, the offsets of the next records."""
        self._cap = cap
        self._offsets = {partition: Offsets(start) for partition, start in starts.items()}
        self._committed = dict(starts)

    def read(self, partition: Partition, numbers: Sequence[int]) -> Ticket:
        """Records at these offsets were read, in this order.

        Offsets that were read before are read anew when Kafka itself has gone back, as it does in a topic
        that was made anew.
        """
        offsets = self._offsets[partition]
        if numbers[0] < offsets.position:
            offsets = self._offsets[partition] = Offsets(numbers[0])
            self._committed[partition] = numbers[0]
        offsets.read(*numbers)
        return Ticket(partition, offsets, numbers)

    def rooms(self) -> dict[Partition, int]:
        """The partitions of which more may be read, and how many records."""
        rooms = {
            partition: self._cap - (offsets.position - self._committed[partition])
            for partition, offsets in self._offsets.items()
        }
        return {partition: room for partition, room in rooms.items() if room > 0}

    def reading(self) -> dict[Partition, int]:
        """The offset of the next record of each partition."""
        return {partition: offsets.position for partition, offsets in self._offsets.items()}

    @property
    def size(self) -> int:
        """Offsets that were read and are not committed, of all partitions."""
        return sum(self.reading().values()) - sum(self._committed.values())

    def positions(self) -> dict[Partition, int]:
        """The lowest offset of each partition that is not done."""
        return {partition: offsets.lowest_unacknowledged for partition, offsets in self._offsets.items()}

    def to_commit(self) -> dict[Partition, int]:
        """What is done and not committed."""
        return {
            partition: done
            for partition, done in self.positions().items()
            if done != self._committed[partition]
        }

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """Redis has the marks, Kafka has the commit."""
        self._committed.update(offsets)

    @property
    def is_tight(self) -> bool:
        """Whether a commit now would let much more be read of some partition."""
        return any(
            4 * (offsets.lowest_unacknowledged - self._committed[partition]) >= self._cap
            for partition, offsets in self._offsets.items()
        )
