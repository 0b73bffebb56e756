"""Reads whatever partitions hold now, from end to end, outside of the group."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.options import reading_options
from doorstep.actors.kafka.received import record_of
from doorstep.actors.records import Partition, StoredRecord
from doorstep.config.settings import KafkaSettings

_WAIT_S = 0.5
_MOST = 1000


async def read_whole(
    kafka: KafkaSettings,
    partitions: Collection[Partition],
    sound: Callable[[Collection[Partition]], Collection[Partition]],
) -> AsyncGenerator[Sequence[StoredRecord], None]:
    """All records that these partitions have now, each partition's in order, without the ids of their topics.

    Only those that are `sound` all the while are read to their ends, and of one that can't be read what comes
    before that. While no broker answers, it waits. Raises `KafkaUnavailableError`.
    """
    loop, left = asyncio.get_running_loop(), set(sound(partitions))
    thread = ThreadPoolExecutor(1, "kafka-whole")  # one, so that nobody closes what another is reading
    consumer = Consumer(reading_options(kafka))
    try:
        consumer.assign([TopicPartition(*each, OFFSET_BEGINNING) for each in left])
        while left := left.intersection(sound(left)):
            messages = await loop.run_in_executor(thread, consumer.consume, _MOST, _WAIT_S)
            yield list(_records(messages))
            left.difference_update(_ended(messages))
    except KafkaException as error:
        raise KafkaUnavailableError(f"read whole: {error.args[0].str()}") from error
    finally:
        thread.submit(consumer.close)
        thread.shutdown(wait=False)


def _records(messages: Sequence[Message]) -> Iterator[StoredRecord]:
    for message in messages:
        topic, number, offset = message.topic(), message.partition(), message.offset()
        if message.error() is None and topic is not None and number is not None and offset is not None:
            yield record_of(message, (topic, number, offset))


def _ended(messages: Sequence[Message]) -> Iterator[Partition]:
    """The partitions of which nothing more will come: at their ends, or for what is wrong with them."""
    for message in messages:
        topic, number = message.topic(), message.partition()
        if message.error() is not None and topic is not None and number is not None:
            yield topic, number
