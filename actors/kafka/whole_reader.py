"""Reads whatever partitions hold now, from end to end, outside of the group."""

from collections.abc import AsyncIterator, Collection, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.options import reader_options
from doorstep.actors.records import Partition, Record
from doorstep.config.settings import KafkaSettings

_WAIT_MS = 5000


async def read_whole(
    kafka: KafkaSettings, partitions: Collection[Partition]
) -> AsyncIterator[Sequence[Record]]:
    """All records that these partitions have now, each partition's in order.

    Raises `KafkaUnavailableError`.
    """
    if not partitions:
        return  # aiokafka may wait for ever where a consumer without any is stopped at once
    consumer = AIOKafkaConsumer(**reader_options(kafka))
    try:
        await consumer.start()
        left = await _ends(consumer, partitions)
        consumer.assign(list(left))
        while left:
            for records in (await consumer.getmany(timeout_ms=_WAIT_MS)).values():
                yield records
            left = {each: end for each, end in left.items() if await consumer.position(each) < end}
    except KafkaError as error:
        raise KafkaUnavailableError(f"read whole: {error!r}") from error
    finally:
        await consumer.stop()


async def _ends(consumer: AIOKafkaConsumer, partitions: Collection[Partition]) -> dict[TopicPartition, int]:
    """The ends of those partitions that have records."""
    named = [TopicPartition(*partition) for partition in partitions]
    beginnings, ends = await consumer.beginning_offsets(named), await consumer.end_offsets(named)
    return {each: end for each, end in ends.items() if beginnings[each] < end}
