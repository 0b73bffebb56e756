"""How far each partition is read, done and committed, and how much more may be read. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from doorstep.actors.consuming.offsets import Offsets
from doorstep.actors.records import Partition

_LEAST = 8
"""Nothing is read where less than 1/8 is free."""
_TIGHT = 4
"""A commit is urgent where it would free 1/4."""


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
    """The partitions that are read, and how far they may be read past what is committed.

    All that is not committed comes again after a crash, and must still be known as a repeat, even if all of
    it is one user's. So the partitions of events share one window. Those that tell whose batch it is share
    another one, as events may wait for them.
    """

    def __init__(self, *, window: int, apart: Collection[str] = ()) -> None:
        """At most `window` records are in flight, and as many of the topics `apart`."""
        self._window = window
        self._apart = frozenset(apart)
        self._offsets: dict[Partition, Offsets] = {}
        self._committed: dict[Partition, int] = {}
        self._sizes = [0, 0]
        """Offsets that were read and are not committed: of events, and of the topics apart."""
        self._aside: frozenset[Partition] = frozenset()

    def __contains__(self, partition: Partition) -> bool:
        return partition in self._offsets

    @property
    def partitions(self) -> frozenset[Partition]:
        """Those that are read."""
        return frozenset(self._offsets)

    @property
    def size(self) -> int:
        """Offsets that were read and are not committed, of all partitions."""
        return sum(self._sizes)

    def begin(self, starts: Mapping[Partition, int]) -> None:
        """Read these too. Nothing is committed past `starts`, the offsets of the next records."""
        self.forget(starts)
        self._offsets |= {partition: Offsets(start) for partition, start in starts.items()}
        self._committed |= starts

    def forget(self, partitions: Collection[Partition]) -> None:
        """These are not read any more; what of them is in flight does not count."""
        for partition in self._offsets.keys() & set(partitions):
            self._count(partition, self._committed.pop(partition) - self._offsets.pop(partition).position)

    def set_aside(self, partitions: Collection[Partition]) -> None:
        """Of these nothing is read for now: what of them is in flight takes no room from the others."""
        self._aside = frozenset(partitions)

    def read(self, partition: Partition, numbers: Sequence[int]) -> Ticket:
        """Records at these offsets were read, in this order.

        Offsets that were read before are read anew when Kafka itself has gone back, as it does in a topic
        that was made anew.
        """
        offsets = self._offsets[partition]
        if numbers[0] < offsets.position:
            self.begin({partition: numbers[0]})
            offsets = self._offsets[partition]
        before = offsets.position
        offsets.read(*numbers)
        self._count(partition, offsets.position - before)
        return Ticket(partition, offsets, numbers)

    def skip_to(self, ends: Mapping[Partition, int]) -> None:
        """No record of these partitions is left before these offsets that was not read."""
        for partition in self._offsets.keys() & ends.keys():
            offsets = self._offsets[partition]
            before = offsets.position
            offsets.skip_to(ends[partition])
            self._count(partition, offsets.position - before)

    def room(self, *, only_apart: bool = False) -> int:
        """How many records may be read now, of the topics apart alone or of all: many or none.

        With less than an eighth of its window free, everything waits for a commit. So a backlog is read in
        large pieces, each of few partitions and so of few users: what a piece has for one of them goes out
        in one write.
        """
        events, apart = (size - aside for size, aside in zip(self._sizes, self._sizes_aside(), strict=True))
        free = self._window - (apart if only_apart else max(events, apart))
        return free if _LEAST * free >= self._window else 0

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
        """Redis has the checkpoints, Kafka has the commit. What has been forgotten or begun anew meanwhile
        stays as it is."""
        for partition, offset in offsets.items():
            if partition in self and offset <= self._offsets[partition].lowest_unacknowledged:
                self._count(partition, self._committed[partition] - offset)
                self._committed[partition] = offset

    @property
    def is_tight(self) -> bool:
        """Whether a commit now would let much more be read."""
        if _TIGHT * max(self._sizes) < self._window:
            return False
        done = [0, 0]
        for partition, lowest in self.positions().items():
            done[partition[0] in self._apart] += lowest - self._committed[partition]
        return _TIGHT * max(done) >= self._window

    def _sizes_aside(self) -> list[int]:
        sizes = [0, 0]
        for partition in self._aside & self._offsets.keys():
            size = self._offsets[partition].position - self._committed[partition]
            sizes[partition[0] in self._apart] += size
        return sizes

    def _count(self, partition: Partition, more: int) -> None:
        self._sizes[partition[0] in self._apart] += more
