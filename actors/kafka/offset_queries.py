"""What the brokers know of partitions and offsets: asked by a client of its own, so that no record waits."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.options import query_options
from doorstep.actors.records import Beginning, OffsetAndMetadata, Partition
from doorstep.config.settings import KafkaSettings

_CALL_S = 5.0
_PROBE_S = 3.0
_NOBODY = -1
"""So the brokers call the leader of a partition that has none, be it that it is new."""

T = TypeVar("T")


class OffsetQueries:
    """Asks the brokers, one question at a time. Every method raises `KafkaUnavailableError`, within seconds,
    and may be repeated."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._client = Consumer(query_options(kafka))
        self._uncommitted = Consumer(query_options(kafka) | {"isolation.level": "read_uncommitted"})
        self._turn = asyncio.Lock()

    async def partitions_of(self, topics: Collection[str]) -> list[Partition]:
        """All partitions of these topics that exist, whoever reads them."""
        found = await self._ask("partitions", lambda: self._client.list_topics(timeout=_CALL_S))
        known = found.topics
        return [(topic, number) for topic in known.keys() & set(topics) for number in known[topic].partitions]

    async def committed(self, partitions: Collection[Partition]) -> dict[Partition, OffsetAndMetadata | None]:
        """What the group has committed; None where that is nothing. Partitions of which the brokers do not
        tell are left out."""
        asked = [TopicPartition(*each) for each in partitions]
        found = await self._ask("committed", lambda: self._client.committed(asked, _CALL_S))
        return {
            (each.topic, each.partition): None
            if each.offset < 0
            else OffsetAndMetadata(each.offset, each.metadata or "")
            for each in found
            if each.error is None
        }

    async def offsets_of(self, starts: Mapping[Partition, int | Beginning]) -> dict[Partition, int]:
        """The same, with beginnings as the offsets they have now, and without those that nobody tells."""
        found = {each: start for each, start in starts.items() if isinstance(start, int)}
        beginnings = [TopicPartition(*each, OFFSET_BEGINNING) for each in starts.keys() - found.keys()]
        return found | await self._list("beginnings", self._client, beginnings, _CALL_S)

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The last stable offsets: where the records end that are committed, or of no transaction; without
        those that nobody tells."""
        asked = [TopicPartition(*each, OFFSET_END) for each in partitions]
        return await self._list("ends", self._client, asked, _PROBE_S)

    async def high_watermarks(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offsets of the next records that will be written; without those that nobody tells."""
        asked = [TopicPartition(*each, OFFSET_END) for each in partitions]
        return await self._list("high watermarks", self._uncommitted, asked, _PROBE_S)

    async def close(self) -> None:
        """Ask nothing more."""
        async with self._turn:
            await asyncio.to_thread(self._client.close)
            await asyncio.to_thread(self._uncommitted.close)

    async def _list(
        self, what: str, client: Consumer, asked: list[TopicPartition], timeout_s: float
    ) -> dict[Partition, int]:
        # A "time" may also be one of the two places that every partition has; all are asked for at once.
        found = await self._ask(what, lambda: self._look_up(client, asked, timeout_s)) if asked else ()
        return _offsets(found)

    def _look_up(
        self, client: Consumer, asked: list[TopicPartition], timeout_s: float
    ) -> list[TopicPartition]:
        """Where one leader does not answer, nobody's offsets come: then each is asked by itself, by what is
        known of them now."""
        try:
            return client.offsets_for_times(asked, timeout_s)
        except KafkaException:
            by_leader = self._by_leader(asked, timeout_s)
            return [each for of_one in by_leader for each in _ask_leader(client, of_one, timeout_s)]

    def _by_leader(self, asked: list[TopicPartition], timeout_s: float) -> Iterable[list[TopicPartition]]:
        topics = self._client.list_topics(timeout=timeout_s).topics
        leaders = {
            (name, number): found.leader
            for name, topic in topics.items()
            for number, found in topic.partitions.items()
        }
        by_leader: defaultdict[int, list[TopicPartition]] = defaultdict(list)
        for each in asked:
            by_leader[leaders.get((each.topic, each.partition), _NOBODY)].append(each)
        return by_leader.values()

    async def _ask(self, what: str, question: Callable[[], T]) -> T:
        async with self._turn:
            try:
                return await asyncio.to_thread(question)
            except KafkaException as error:
                raise KafkaUnavailableError(f"{what}: {error.args[0].str()}") from error


def _ask_leader(client: Consumer, asked: list[TopicPartition], timeout_s: float) -> list[TopicPartition]:
    try:
        return client.offsets_for_times(asked, timeout_s)
    except KafkaException:
        return []


def _offsets(found: Collection[TopicPartition]) -> dict[Partition, int]:
    return {(each.topic, each.partition): each.offset for each in found if each.error is None}
