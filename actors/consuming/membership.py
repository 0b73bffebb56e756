"""One membership in the consumer group, and all that goes on while it lasts."""

import asyncio
import time
from collections.abc import Mapping

import structlog

from doorstep.actors.consuming.assignment import Assignment
from doorstep.actors.consuming.group_watch import LOOK_S, GroupWatch
from doorstep.actors.consuming.metrics import ConsumerMetrics
from doorstep.actors.consuming.start_point import StartPoint
from doorstep.actors.consuming.topic_watch import TopicWatch
from doorstep.actors.kafka.consumer_thread import GroupEvents
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.kafka.group_queries import owned_partitions
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.records import Partition
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.actors.store.values import Canary
from doorstep.config.settings import KafkaSettings

_WATCH_S = 1.0
_BEAT_S = 0.25

logger = structlog.get_logger(__name__)


class Membership:
    """Is a member of the group, has the records carried out, and watches Redis, Kafka and itself."""

    def __init__(
        self,
        *,
        group_consumer: GroupConsumer,
        assignment: Assignment,
        start_point: StartPoint,
        queries: OffsetQueries,
        topics: TopicWatch,
        group: GroupWatch,
        settings: KafkaSettings,
        redis: Breaker,
        kafka: Breaker,
        metrics: ConsumerMetrics,
    ) -> None:
        self.assignment = assignment
        self.joined = False
        """Whether the group has given it its part, even if that is no partition."""
        self.lag: Mapping[Partition, int] = {}
        """How many offsets of the assigned partitions, up to the last stable one, were still unprocessed one
        second ago."""
        self.unstable: Mapping[Partition, int] = {}
        """How many offsets follow the last stable one: an open transaction holds them back."""
        self._group_consumer = group_consumer
        self._start_point = start_point
        self._guard = start_point.guard
        self._queries = queries
        self._topics = topics
        self._group = group
        self._settings = settings
        self._session_timeout_s = settings.session_timeout_ms / 1000
        self._redis = redis
        self._kafka = kafka
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._beat_at = self._loop.time()
        self._to_look_at_group = asyncio.Event()

    async def run(self) -> None:
        """Join the group and work until cancelled. Raises when only a new membership can help."""
        events = GroupEvents(
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            on_lost=self._lost,
            on_unreadable=self.assignment.hold_up,
            on_records=self.assignment.take,
            on_caught_up=self.assignment.catch_up,
        )
        async with asyncio.TaskGroup() as tasks:
            self.assignment.start(tasks)
            tasks.create_task(self._group_consumer.run(events))
            for work in (self._beat, self._watch_redis, self._watch_kafka, self._watch_group):
                tasks.create_task(work())

    async def trust(self) -> Canary:
        """See `RollbackGuard.trust`; raises `StoreUnavailable` too where `_awake` says no."""
        if not self._awake():
            raise StoreUnavailable("this process was frozen; others may have done its work")
        return await self._guard.trust()

    # Partitions

    def _assigned(self, partitions: frozenset[Partition]) -> None:
        if partitions or not self.joined:
            self._to_look_at_group.set()
        self.joined = True
        self.assignment.add(partitions)
        self._metrics.partitions.set(len(self.assignment.assigned))

    async def _revoked(self, partitions: frozenset[Partition]) -> None:
        await self.assignment.release(partitions)
        self._metrics.partitions.set(len(self.assignment.assigned))

    def _lost(self, partitions: frozenset[Partition]) -> None:
        self._to_look_at_group.set()
        self.assignment.lose(partitions)
        self._metrics.partitions.set(len(self.assignment.assigned))

    # Watching

    async def _beat(self) -> None:
        while True:
            self._awake()
            await asyncio.sleep(_BEAT_S)

    def _awake(self) -> bool:
        """Whether this process was not frozen for so long that others may have done its work.

        If it was, it has now lost its place, and begins again at what is committed.
        """
        since, self._beat_at = self._beat_at, self._loop.time()
        if self._beat_at - since <= self._session_timeout_s:
            return True
        logger.warning("process_was_frozen", seconds=self._beat_at - since)
        self._metrics.restarts.labels("frozen").inc()
        self.assignment.restart()
        return False

    async def _watch_redis(self) -> None:
        while True:
            try:
                await self._guard.verify()
                await self._start_point.vouch()
            except StoreError as error:
                self._redis.failure(error, "watch")
            except KafkaUnavailableError as error:
                self._redis.success("watch")
                self._kafka.failure(error, "vouch")
            else:
                self._redis.success("watch")
                self._kafka.success("vouch")
            await asyncio.sleep(_WATCH_S)

    async def _watch_kafka(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                await self._look_at_kafka()
            except KafkaUnavailableError as error:
                self._kafka.failure(error, "watch")
            else:
                self._kafka.success("watch")

    async def _watch_group(self) -> None:
        """Look at it whenever we have joined, got partitions or lost them, until all is well with it."""
        self._group.begin()
        while True:
            await self._to_look_at_group.wait()
            await asyncio.sleep(LOOK_S)
            self._to_look_at_group.clear()
            owned = None if self._kafka.is_open else await owned_partitions(self._settings)
            if not self._group.look(owned, self._topics.partitions, time.time()):
                self._to_look_at_group.set()

    async def _look_at_kafka(self) -> None:
        anew = await self._topics.look()
        if anew:
            self.assignment.begin_anew(anew)
        self.assignment.apply_pauses()
        sound = self._topics.sound(self.assignment.assigned)
        tops = await self._queries.high_watermarks(sound)  # first, or what comes in between looked unstable
        ends = await self._queries.ends(sound)
        self.lag = self.assignment.lag(ends)
        self.unstable = {each: max(tops[each] - ends[each], 0) for each in tops.keys() & ends.keys()}
