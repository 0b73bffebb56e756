"""How far each assigned partition is read, done and committed, and how much more may be read. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from doorstep.actors.consuming.offsets import Offsets
from doorstep.actors.records import Partition

_LEAST = 8
"""Nothing is read where less than 1/8 is free."""


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


@dataclass(frozen=True, slots=True)
class Room:
    """How many more records may be read: of each partition, and of all of them together."""

    of: Mapping[Partition, int]
    """Only partitions of which at least one may be read."""
    total: int


NO_ROOM = Room({}, 0)


class InFlight:
    """The partitions of one assignment, and how far they may be read past what is committed.

    All that is not committed comes again after a crash, and must still be known as a repeat, even if all of
    it is one user's. So the partitions of events share one window. Those that tell whose batch it is do not
    take part in it: events may wait for them.
    """

    def __init__(
        self, starts: Mapping[Partition, int], *, cap: int, window: int, apart: Collection[str] = ()
    ) -> None:
        """Nothing is committed past `starts`, the offsets of the next records. Of one partition at most `cap`
        are in flight, of all together at most `window`, those of the topics `apart` not counted."""
        self._cap = cap
        self._window = window
        self._sharing = frozenset(partition for partition in starts if partition[0] not in apart)
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

    def room(self) -> Room:
        """What may be read now: much or nothing.

        With less than an eighth of its cap free a partition waits for a commit, and so do all that share
        the window with less than an eighth of that. So a backlog is read in large pieces, each of few
        partitions and so of few users: what a piece has for one of them goes out in one write.
        """
        committed = self._committed
        sizes = {each: offsets.position - committed[each] for each, offsets in self._offsets.items()}
        left = self._window - sum([sizes[each] for each in self._sharing])
        closed = self._sharing if _LEAST * left < self._window else frozenset()
        of = {
            each: self._cap - size
            for each, size in sizes.items()
            if _LEAST * (self._cap - size) >= self._cap and each not in closed
        }
        return Room(of, left if left > 0 else sum(of.values()))

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
        """Redis has the checkpoints, Kafka has the commit."""
        self._committed.update(offsets)

    @property
    def is_tight(self) -> bool:
        """Whether a commit now would let much more be read."""
        committed = self._committed
        done = [offsets.lowest_unacknowledged - committed[each] for each, offsets in self._offsets.items()]
        return 4 * max(done, default=0) >= self._cap or 4 * sum(done) >= self._window
