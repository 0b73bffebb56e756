"""Kafka: partitioned logs, committed offsets, and the coordinator of one consumer group.

As strict as the real one where it counts: records stay in order, a member that is not heard of for its
session loses its partitions, a commit of an older generation is refused, and partitions that stay are not
taken away while others move. Who comes back as the same member changes nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import KafkaError

from doorstep.actors.records import Headers, OffsetAndMetadata, Partition, StoredRecord
from tests.simulation.loop import Process
from tests.simulation.network import Network, Way

HOST = "kafka"


class Kept(NamedTuple):
    """A record of a partition."""

    key: bytes | None
    value: bytes
    headers: Headers = ()

    def at(self, topic: str, number: int, offset: int, topic_id: str) -> StoredRecord:
        """As a consumer gets it."""
        return StoredRecord(topic, number, offset, self.key, self.value, self.headers, topic_id)


class Told(NamedTuple):
    """What a member is told by the coordinator; `expelled` is a member that was not heard of."""

    what: str
    generation: int
    partitions: frozenset[Partition] = frozenset()


@dataclass(eq=False)
class Seat:
    """A member of the group, as the coordinator knows it."""

    process: Process
    instance_id: str
    tell: "Callable[[Seat, Told], None]"
    way: Way
    heard_at: float
    owned: set[Partition] = field(default_factory=set)
    leaving: set[Partition] = field(default_factory=set)
    """Those of them that it is to give back."""


class Broker:
    """One broker with everything."""

    def __init__(self, network: Network, topics: Mapping[str, int], session_s: float) -> None:
        self.logs: dict[Partition, list[Kept]] = {
            (topic, number): [] for topic, count in topics.items() for number in range(count)
        }
        self.commits: dict[Partition, OffsetAndMetadata] = {}
        self.loses_answers = False
        self._network = network
        self._session_s = session_s
        self._seats: list[Seat] = []
        self._generation = 0
        self._target: dict[Partition, Seat] = {}
        self._read: frozenset[Partition] = frozenset()
        self._waiting: list[Callable[[], None]] = []

    @property
    def topics(self) -> dict[str, list[int]]:
        """All topics, and their partitions."""
        found: dict[str, list[int]] = {}
        for topic, number in self.logs:
            found.setdefault(topic, []).append(number)
        return found

    def append(self, partition: Partition, record: Kept) -> None:
        """Keep a record."""
        self.logs[partition].append(record)
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def when_more(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when there is another record anywhere."""
        self._waiting.append(wake)

    # The group

    @property
    def owned(self) -> frozenset[Partition]:
        """What members have, and are to keep."""
        return frozenset(each for seat in self._seats for each in seat.owned - seat.leaving)

    def join(
        self,
        process: Process,
        instance_id: str,
        topics: Collection[str],
        tell: Callable[[Seat, Told], None],
    ) -> Seat:
        """A new member, or the successor of one that is still a member."""
        self._read = frozenset(each for each in self.logs if each[0] in topics)
        way = Way(self._network, HOST, process.host)
        seat = Seat(process, instance_id, tell, way, self._network.loop.time())
        last = next((each for each in self._seats if each.instance_id == instance_id), None)
        if last is None:
            self._seats.append(seat)
            self._rebalance()
        else:
            self._replace(last, seat)
        self._watch(seat)
        return seat

    def _replace(self, last: Seat, seat: Seat) -> None:
        """It has what its predecessor was to keep. What that was to give back is nobody's, until there is a
        rebalance."""
        self._seats[self._seats.index(last)] = seat
        self._target = {each: seat if owner is last else owner for each, owner in self._target.items()}
        seat.owned = last.owned - last.leaving
        self._tell(seat, Told("assigned", self._generation, frozenset(seat.owned)))

    def leave(self, seat: Seat) -> None:
        """A member goes, and what it has is others'."""
        if seat in self._seats:
            self._seats.remove(seat)
            self._rebalance()

    def hear(self, seat: Seat) -> None:
        """A sign of life."""
        seat.heard_at = self._network.loop.time()
        if seat not in self._seats:
            self._tell(seat, Told("expelled", self._generation))

    def give_back(self, seat: Seat, partitions: Collection[Partition]) -> None:
        """A member has let go of these."""
        seat.owned.difference_update(partitions)
        seat.leaving.difference_update(partitions)
        self._assign()

    def commit(
        self, seat: Seat, generation: int, offsets: Mapping[Partition, OffsetAndMetadata]
    ) -> dict[Partition, KafkaError | None]:
        """By partition, why its offset was not committed."""
        if seat not in self._seats:
            return dict.fromkeys(offsets, KafkaError(KafkaError.UNKNOWN_MEMBER_ID))
        if generation != self._generation:
            return dict.fromkeys(offsets, KafkaError(KafkaError.ILLEGAL_GENERATION))
        self.commits |= offsets
        return dict.fromkeys(offsets)

    def _watch(self, seat: Seat) -> None:
        left = seat.heard_at + self._session_s - self._network.loop.time()
        if seat in self._seats and left <= 0:
            self._seats.remove(seat)
            self._rebalance()
        elif seat in self._seats:
            self._network.later(left, self._watch, seat)

    def _rebalance(self) -> None:
        self._generation += 1
        self._target = self._balanced()
        for seat in self._seats:
            going = {each for each in seat.owned if self._target[each] is not seat}
            seat.leaving |= going
            self._tell(seat, Told("revoked" if going else "stays", self._generation, frozenset(going)))
        self._assign()

    def _balanced(self) -> dict[Partition, Seat]:
        """As even as it can be, with as few moves as can be."""
        if not self._seats:
            return {}
        room = {id(seat): len(self._read) // len(self._seats) for seat in self._seats}
        for seat in self._seats[: len(self._read) % len(self._seats)]:
            room[id(seat)] += 1
        target: dict[Partition, Seat] = {}
        free = []
        for partition in sorted(self._read):
            owner = next((seat for seat in self._seats if partition in seat.owned), None)
            if owner is not None and room[id(owner)] > 0:
                target[partition], room[id(owner)] = owner, room[id(owner)] - 1
            else:
                free.append(partition)
        for partition in free:
            seat = max(self._seats, key=lambda each: room[id(each)])
            target[partition], room[id(seat)] = seat, room[id(seat)] - 1
        return target

    def _assign(self) -> None:
        """Give each member those of its partitions that nobody has."""
        taken = {each for seat in self._seats for each in seat.owned}
        for seat in self._seats:
            added = frozenset(each for each, owner in self._target.items() if owner is seat) - taken
            if added:
                seat.owned |= added
                self._tell(seat, Told("assigned", self._generation, added))

    def _tell(self, seat: Seat, told: Told) -> None:
        seat.way.send(lambda: self._network.soon(seat.process, seat.tell, seat, told))
