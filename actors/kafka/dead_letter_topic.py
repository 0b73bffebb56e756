"""The dead-letter topic as an operator uses it: read whole, and replayed to where its records came from."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from doorstep.actors.kafka.dead_letters import KeptLetter, Selection
from doorstep.actors.kafka.options import connection_options, producer_options, reader_options
from doorstep.actors.records import StoredRecord
from doorstep.config.settings import KafkaSettings

_QUIET_MS = 5_000
"""A broker that has more sends it within this time."""


class DeadLetterTopicError(Exception):
    """Kafka did not answer, or refused; the message says what was wanted of it."""


async def read_dead_letters(kafka: KafkaSettings, selection: Selection) -> Sequence[KeptLetter]:
    """The selected ones of those that the topic has now, oldest first. Raises `DeadLetterTopicError`."""
    try:
        partitions = await _partitions(kafka)
        kept = await _read(kafka, partitions) if partitions else ()
    except KafkaError as error:
        raise DeadLetterTopicError(f"reading {kafka.dead_letter_topic}: {error!r}") from error
    return sorted((each for each in kept if selection.has(each)), key=lambda each: each.kept_at)


async def replay(kafka: KafkaSettings, letters: Iterable[KeptLetter]) -> None:
    """Write these records to their topics again, with their keys; returns when all replicas keep them.

    Raises `DeadLetterTopicError`: some may have been written.
    """
    producer = AIOKafkaProducer(**producer_options(kafka))
    try:
        await producer.start()
        sent = []
        for letter in letters:
            again = letter.replayed()
            future = await producer.send(
                letter.topic, value=again.value, key=again.key, headers=list(again.headers)
            )
            sent.append(future)
        for each in sent:
            await each
    except KafkaError as error:
        raise DeadLetterTopicError(f"replaying: {error!r}") from error
    finally:
        await producer.stop()


async def _partitions(kafka: KafkaSettings) -> list[TopicPartition]:
    """Those of the topic; none while nobody has created it (asking for it by name could create it)."""
    admin = AIOKafkaAdminClient(**connection_options(kafka))
    try:
        await admin.start()
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in topics
        if topic["topic"] == kafka.dead_letter_topic
        for partition in topic["partitions"]
    ]


async def _read(kafka: KafkaSettings, partitions: Sequence[TopicPartition]) -> Sequence[KeptLetter]:
    """Everything from the beginning to where the partitions end now."""
    consumer = AIOKafkaConsumer(**reader_options(kafka))
    kept: list[KeptLetter] = []
    try:
        await consumer.start()
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        left = {each: end for each, end in ends.items() if beginnings[each] < end}
        consumer.assign(list(left))
        while left:
            for records in (await consumer.getmany(timeout_ms=_QUIET_MS)).values():
                kept += map(_kept, records)
            left = {each: end for each, end in left.items() if await consumer.position(each) < end}
    finally:
        await consumer.stop()
    return kept


def _kept(record: Any) -> KeptLetter:
    """Of a record of aiokafka, which has no stubs."""
    stored = StoredRecord(
        record.topic, record.partition, record.offset, record.key, record.value, tuple(record.headers)
    )
    return KeptLetter(stored, datetime.fromtimestamp(record.timestamp / 1000, UTC))
