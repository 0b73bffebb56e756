"""Finds where partitions are read from: Kafka's commits, the checkpoints in Redis, and `recovery.plan`."""

from collections.abc import Callable, Collection, Mapping, Set
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import structlog

from doorstep.actors.consuming.classify import Classified
from doorstep.actors.consuming.commit_metadata import MetadataError, read_metadata
from doorstep.actors.consuming.delivery import Delivery
from doorstep.actors.consuming.recovery import Commit, Known, goals, plan
from doorstep.actors.consuming.rollback_guard import RollbackGuard
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.kafka.whole_reader import read_whole
from doorstep.actors.records import OffsetAndMetadata, Partition, TopicIds
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.values import Checkpoint
from doorstep.config.settings import KafkaSettings

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where to begin, for one consumer."""

    settings: KafkaSettings
    window: int
    """How many offsets may be in flight after a commit."""
    event_topics: Set[str]
    context_topics: Set[str]
    topic_ids: TopicIds
    sound: Callable[[Collection[Partition]], Collection[Partition]]
    """Which of these partitions Kafka can tell of now."""
    guard: RollbackGuard
    checkpoints: Checkpoints
    queries: OffsetQueries
    delivery: Delivery
    redis: Breaker
    kafka: Breaker

    async def find(self, partitions: Set[Partition]) -> Mapping[Partition, int]:
        """The offsets to begin at, when Redis and Kafka can tell; lost contexts have been registered then.

        Partitions of which Kafka does not tell are left out.
        """
        await self.redis.retry("verify", self.guard.verify, StoreError)
        known = await self._find_known()
        place = plan({each: known[each] for each in partitions & known.keys()}, self.settings.start)
        if place.contexts_lost:
            await self.kafka.retry("read contexts", self._read_contexts, KafkaUnavailableError)
        find = partial(self.queries.offsets_of, place.starts)
        starts = await self.kafka.retry("find offsets", find, KafkaUnavailableError)
        find_goals = partial(self._goals, known)
        lost = await self.kafka.retry("find goals", find_goals, KafkaUnavailableError)
        begin = partial(self.guard.begin_rebuilding, lost, starts)
        await self.redis.retry("begin to rebuild", begin, StoreError, self.guard.verify)
        return starts

    async def vouch(self) -> None:
        """Tell readers that Redis was looked at, and what is missing there, also without a partition to read.

        Others may have all partitions, or nobody may read them now. Raises `StoreError`,
        `KafkaUnavailableError`.
        """
        if not self.guard.vouches:
            known = self._known(await self._commits(), await self._checkpoints())
            await self.guard.begin_rebuilding(await self._goals(known), {})
            await self.guard.keep({})

    async def _goals(self, known: Mapping[Partition, Known]) -> Mapping[Partition, int]:
        lost = plan(known, self.settings.start, doubtful=self.guard.doubts).lost
        return goals(known, lost, await self.queries.ends(lost), self.window)

    async def find_store_id(self) -> str | None:
        """The id of the store that the group was writing to, as its commits tell; None where none is ours."""
        commits = await self.kafka.retry("find commits", self._commits, KafkaUnavailableError)
        return max((commit.store_id for commit in commits.values() if commit), default="") or None

    async def _find_known(self) -> Mapping[Partition, Known]:
        """Of all partitions, whoever reads them."""
        commits = await self.kafka.retry("find commits", self._commits, KafkaUnavailableError)
        checkpoints = await self._find_checkpoints()
        has_begun = any(commit and commit.is_ours for commit in commits.values()) or any(
            topic in self.event_topics for topic, _ in checkpoints
        )
        if self.settings.start == "latest" and not has_begun:
            await self.kafka.retry("checkpoint the ends", self._checkpoint_ends, KafkaUnavailableError)
            checkpoints = await self._find_checkpoints()
        return self._known(commits, checkpoints)

    def _known(
        self, commits: Mapping[Partition, Commit | None], checkpoints: Mapping[Partition, Checkpoint]
    ) -> Mapping[Partition, Known]:
        return {
            each: Known(
                commit,
                checkpoints.get(each),
                self.topic_ids.get(each[0], ""),
                each[0] in self.context_topics,
            )
            for each, commit in commits.items()
        }

    async def _commits(self) -> Mapping[Partition, Commit | None]:
        partitions = await self.queries.partitions_of(self.event_topics | self.context_topics)
        found = await self.queries.committed(partitions)
        try:
            return {each: _commit(committed) for each, committed in found.items()}
        except MetadataError as error:  # nothing can be done before somebody has changed that
            raise KafkaUnavailableError(str(error)) from error

    async def _checkpoints(self) -> Mapping[Partition, Checkpoint]:
        return await self.checkpoints.read(self.settings.group_id)

    async def _find_checkpoints(self) -> Mapping[Partition, Checkpoint]:
        return await self.redis.retry("find checkpoints", self._checkpoints, StoreError)

    async def _checkpoint_ends(self) -> None:
        """The group begins now: what the event topics have already is not for it."""
        ends = await self.queries.ends(await self.queries.partitions_of(self.event_topics))
        write = partial(self.checkpoints.write, self.settings.group_id, ends)
        await self.redis.retry("checkpoint the ends", write, StoreError)

    async def _read_contexts(self) -> None:
        """Register every context there is: Redis has lost them. Those that contradict were refused before.

        Those of a partition with a fault come when it has none any more, as that is read from its beginning,
        too; events that need them are parked meanwhile.
        """
        logger.warning("contexts_lost")
        self.delivery.cache.forget_all()
        partitions = await self.queries.partitions_of(self.context_topics)
        async with aclosing(read_whole(self.settings, partitions, self.sound)) as pages:
            async for records in pages:
                batch = self.delivery.classify(records)
                await self.delivery.register(Classified(), batch.registrations)


def _commit(found: OffsetAndMetadata | None) -> Commit | None:
    if found is None:
        return None
    ours = read_metadata(found.metadata)
    if ours is None:
        return Commit(found.offset, is_ours=False)
    return Commit(found.offset, True, ours.topic_id, ours.rebuilt_to, ours.store_id)
