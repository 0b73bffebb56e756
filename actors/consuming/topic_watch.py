"""Looks at the topics: what is wrong with one of them is known by name, and holds up that one alone."""

import time
from collections.abc import Collection, Iterator, Mapping

import structlog

from doorstep.actors.consuming.faults import Faults
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.topic_queries import Topic, TopicQueries
from doorstep.actors.records import Partition, name_of

logger = structlog.get_logger(__name__)


class TopicWatch:
    """One consumer's look at all topics that it reads and writes."""

    def __init__(
        self, queries: TopicQueries, faults: Faults, *, read: Collection[str], written: Collection[str]
    ) -> None:
        """What is found goes into `faults` and `ids`."""
        self.ids: dict[str, str] = {}
        """See `TopicIds`; always the same mapping."""
        self.partitions: frozenset[Partition] = frozenset()
        """All of the topics that are read, and can be."""
        self._queries = queries
        self._faults = faults
        self._read = read
        self._written = written
        self._found: dict[str, str] = {}

    async def look(self) -> frozenset[str]:
        """Look once; returns the topics that were deleted and made anew since the last look.

        Raises `KafkaUnavailableError` when no broker answers.
        """
        try:
            topics = await self._queries.describe(self._read, self._written)
        except KafkaUnavailableError:
            await self._queries.check()  # one that has just died may be asked until another is known
            return frozenset()
        self._found = dict(_reasons(topics))
        if self._faults.replace("look", self._found, time.time()):
            logger.warning("kafka_faults", faults=self._found)
        ids = {name: topic.id for name, topic in topics.items() if topic.id}
        self.partitions = frozenset(
            (name, number) for name in self._read for number in range(topics[name].partitions)
        )
        anew = frozenset(name for name, id_ in ids.items() if self.ids.get(name, id_) != id_)
        self.ids |= ids
        return anew

    def sound(self, partitions: Collection[Partition]) -> list[Partition]:
        """Those of them that Kafka can tell of."""
        return [each for each in partitions if not {each[0], name_of(each)} & self._found.keys()]


def _reasons(topics: Mapping[str, Topic]) -> Iterator[tuple[str, str]]:
    for name, topic in topics.items():
        if topic.fault is not None:
            yield name, topic.fault
        for number in topic.leaderless:
            yield name_of((name, number)), "none of its replicas is there to lead it"
