"""A member of the Kafka consumer group."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import structlog
from confluent_kafka import KafkaError, KafkaException

from doorstep.actors.kafka.consumer_thread import Batch, ConsumerThread, GroupEvents
from doorstep.actors.kafka.errors import FencedError, KafkaUnavailableError
from doorstep.actors.kafka.options import group_options
from doorstep.actors.records import OffsetAndMetadata, Partition, TopicIds
from doorstep.config.settings import KafkaSettings

_COMMIT_S = 5.0
_STOP_S = 2.0

_OF_PARTITIONS = frozenset(
    (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # no longer ours
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError.FENCED_INSTANCE_ID,
    )
)

_FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()

logger = structlog.get_logger(__name__)


class GroupConsumer:
    """One membership. Partitions come and go by themselves; of each its user says where to begin."""

    def __init__(
        self,
        kafka: KafkaSettings,
        client_id: str,
        instance_id: str,
        topics: Collection[str],
        topic_ids: TopicIds,
    ) -> None:
        """Will ask for partitions of these topics, of those too that come into being later.

        `instance_id` stays the same as long as it is the same member, whatever process that is in.
        `topic_ids` are looked up whenever a record is read.
        """
        self._kafka = kafka
        self._client_id = client_id
        self._instance_id = instance_id
        self._topics = topics
        self._topic_ids = topic_ids
        self._ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._seen = 0

    async def run(self, events: GroupEvents) -> None:
        """Be a member until cancelled; then leave the group, within 2 seconds, and commit nothing more.

        Raises `KafkaUnavailableError` when only a new membership can help, `FencedError` when somebody else
        may have one, and what an event raises.
        """
        self._events = events
        try:
            self._thread = ConsumerThread(
                group_options(self._kafka, self._client_id, self._instance_id),
                topics=self._topics,
                topic_ids=self._topic_ids,
                linger_s=self._kafka.linger_ms / 1000,
                events=replace(events, on_records=self._on_records),
                on_end=self._on_end,
            )
        except KafkaException as error:
            raise KafkaUnavailableError(error.args[0].str()) from error
        self._thread.start()
        try:
            fault = await asyncio.shield(self._ended)
        finally:
            await self._leave()
        if _is_fenced(fault):
            raise FencedError(f"the group has a later member of the id {self._instance_id}") from fault
        if fault is not None:
            raise fault

    def allow(self, records: int) -> None:
        """So many records, and no more, may come from now on; at first none may."""
        self._thread.grant(self._seen + records)

    def read_from(self, starts: Mapping[Partition, int], begun: Callable[[], None]) -> None:
        """Read these partitions from these offsets, whether they were read before or not.

        `begun` is called when no record can come any more that was read before, and none has come of now; not
        before a revocation that is under way is over.
        """
        self._thread.read_from(starts, begun)

    def pause(self, partitions: frozenset[Partition], done: Callable[[], None]) -> None:
        """Fetch nothing of these from now on, and go on with all others; `done` is called when it is so.

        To resume a partition takes up to `fetch_max_wait_ms`: a fetch may be under way that does not name it.
        """
        self._thread.pause(partitions, done)

    async def commit(self, offsets: Mapping[Partition, OffsetAndMetadata]) -> frozenset[Partition]:
        """Commit, one at a time; returns the partitions of which it is done.

        Others are no longer ours, or their topics refuse us. Raises `KafkaUnavailableError`.
        """
        try:
            async with asyncio.timeout(_COMMIT_S):
                answer = await self._thread.commit(offsets)
        except TimeoutError as error:
            raise KafkaUnavailableError("commit: no answer in time") from error
        for fault in answer.values():
            if fault is not None and fault.code() not in _OF_PARTITIONS:
                raise KafkaUnavailableError(f"commit: {fault.str()}")
        return frozenset(partition for partition, fault in answer.items() if fault is None)

    def _on_records(self, batch: Batch) -> None:
        self._seen += sum(map(len, batch.values()))
        self._events.on_records(batch)

    def _on_end(self, fault: BaseException | None) -> None:
        if not self._ended.done():
            self._ended.set_result(fault)

    async def _leave(self) -> None:
        self._thread.end()
        try:
            async with asyncio.timeout(_STOP_S):
                await asyncio.shield(self._ended)
        except TimeoutError:
            logger.warning("group_not_left", seconds=_STOP_S)


def _is_fenced(fault: BaseException | None) -> bool:
    """librdkafka tells a fatal error under a code of its own, with the broker's error in its text."""
    return isinstance(fault, KafkaException) and _FENCED in fault.args[0].str()
