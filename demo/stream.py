"""How the demo's services speak to Kafka: one publishes, another hears of every record from now on."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError, NoError, TopicAlreadyExistsError, for_code

from doorstep.actors.kafka.options import connection_options, producer_options, reader_options
from doorstep.config.settings import KafkaSettings
from doorstep.demo.wire import Data, Message, Trace, WireError, seal, unseal

_log = logging.getLogger(__name__)

Handler = Callable[[Message], Awaitable[None]]

PARTITIONS = 4


class Publisher:
    """Publishes envelopes in the name of one service."""

    def __init__(self, producer: AIOKafkaProducer, service: str, patience_s: float | None = None) -> None:
        """`patience_s`: how long to wait for Kafka's confirmation; None: as long as it takes."""
        self._producer = producer
        self._service = service
        self._patience_s = patience_s

    async def publish(self, topic: str, key: str, data: Data, trace: Trace) -> None:
        """Publish `data`; returns when all replicas have it.

        Raises `KafkaError` when that fails, or is not known in time; then Kafka may still get it.
        """
        value = seal(topic, self._service, data, trace)
        sent = self._producer.send_and_wait(topic, value, key=key.encode())
        try:
            await asyncio.wait_for(sent, self._patience_s)
        except TimeoutError as error:
            raise KafkaTimeoutError(f"no word from Kafka in {self._patience_s} s") from error


@contextlib.asynccontextmanager
async def producing(settings: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer that all services of a process may share."""
    producer = AIOKafkaProducer(**producer_options(settings))
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@contextlib.asynccontextmanager
async def following(settings: KafkaSettings, topics: Sequence[str], handle: Handler) -> AsyncIterator[None]:
    """While the body runs, call `handle` for every envelope that is published to `topics`.

    It begins with what is published after the body has begun, and is in no consumer group: the demo's
    services remember nothing from one start to the next, so there is nothing to commit. Records that Kafka
    hands out together are handled at the same time, started in Kafka's order per partition: what a handler
    does before it first waits is done in that order. A record that is no envelope is logged and skipped.
    What a handler raises cancels the body, and is raised in an `ExceptionGroup`.
    """
    options = reader_options(settings) | {"auto_offset_reset": "latest", "group_id": None}
    consumer = AIOKafkaConsumer(*topics, **options)
    await consumer.start()
    try:
        await _pin(consumer)
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(_read(consumer, handle))
            try:
                yield
            except Exception as error:  # raised below, as it is: the group would wrap it
                failure = error
            reader.cancel()
        if failure is not None:
            raise failure
    finally:
        await consumer.stop()


async def create_topics(settings: KafkaSettings, topics: Iterable[str]) -> None:
    """Create those of `topics` that do not exist, with four partitions and up to three replicas.

    Returns once the broker knows them all. Raises `KafkaError`.
    """
    wanted = set(topics)
    admin = AIOKafkaAdminClient(**connection_options(settings))
    await admin.start()
    try:
        while missing := wanted - set(await admin.list_topics()):
            brokers = (await admin.describe_cluster())["brokers"]
            _raise_errors(await admin.create_topics(_new_topics(missing, min(3, len(brokers)))))
    finally:
        await admin.close()


def _new_topics(names: Iterable[str], replicas: int) -> list[NewTopic]:
    return [NewTopic(name, PARTITIONS, replicas) for name in sorted(names)]


def _raise_errors(answer: Any) -> None:
    for topic, code, *_ in answer.topic_errors:
        if code not in (NoError.errno, TopicAlreadyExistsError.errno):
            raise for_code(code)(f"topic {topic} could not be created")


async def _pin(consumer: AIOKafkaConsumer) -> None:
    """Find the ends of the topics now, not at the first fetch: what comes between would be missed."""
    for partition in consumer.assignment():
        await consumer.position(partition)


async def _read(consumer: AIOKafkaConsumer, handle: Handler) -> None:
    while True:
        polled = await consumer.getmany(timeout_ms=1000)
        await asyncio.gather(*(handle(message) for message in _messages(polled)))


def _messages(polled: Mapping[TopicPartition, Sequence[Any]]) -> Sequence[Message]:
    messages = []
    for partition, records in polled.items():
        for record in records:
            try:
                messages.append(unseal(partition.topic, record.value))
            except WireError as error:
                _log.warning("%s (partition %d, offset %d)", error, partition.partition, record.offset)
    return messages
