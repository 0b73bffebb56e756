"""Fetches keep apart while records keep coming, and a lone record never waits: on a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from doorstep.actors.kafka.pacing import FetchPace
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import Wire
from tests.support.servers import KafkaServer

LINGER_S = 0.3


class Spy:
    """Notes when each fetch was sent."""

    def __init__(self, send: Callable[..., Awaitable[Any]]) -> None:
        self.fetched_at: list[float] = []
        self._send = send

    async def __call__(self, node_id: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            self.fetched_at.append(time.monotonic())
        return await self._send(node_id, request, **options)


@asynccontextmanager
async def reading(kafka: KafkaServer, topic: str, linger_s: float) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    consumer.spy = Spy(consumer._client.send)
    consumer._client.send = FetchPace(consumer.spy, linger_s)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        yield consumer
    finally:
        await consumer.stop()


async def one_by_one(consumer: AIOKafkaConsumer, publisher: Publisher, topic: str, count: int) -> list[float]:
    """Publish records, each when the one before it was read; how long each took, in seconds."""
    took = []
    for number in range(count):
        begun = time.monotonic()
        publisher.send_all([Wire(topic, b"", b"%d" % number)])
        async with asyncio.timeout(10):
            assert (await consumer.getone()).value == b"%d" % number
        took.append(time.monotonic() - begun)
    return took


@pytest.fixture
def topic(kafka: KafkaServer, names: Names) -> str:
    name = names.topic()
    kafka.create_topic(name)
    return name


async def test_fetches_keep_apart_and_each_record_waits_for_one_only(kafka: KafkaServer, topic: str) -> None:
    publisher = Publisher(kafka.bootstrap)
    async with reading(kafka, topic, LINGER_S) as consumer:
        took = await one_by_one(consumer, publisher, topic, 8)
    gaps = [later - earlier for earlier, later in pairwise(consumer.spy.fetched_at)]
    assert len(gaps) >= 7
    assert min(gaps) > 0.95 * LINGER_S
    assert max(took[1:]) < 1.9 * LINGER_S


async def test_a_record_after_a_pause_does_not_wait(kafka: KafkaServer, topic: str) -> None:
    publisher = Publisher(kafka.bootstrap)
    async with reading(kafka, topic, LINGER_S) as consumer:
        await one_by_one(consumer, publisher, topic, 1)
        await asyncio.sleep(1.3 * LINGER_S)
        (took,) = await one_by_one(consumer, publisher, topic, 1)
    assert took < 0.5 * LINGER_S


async def test_zero_switches_it_off(kafka: KafkaServer, topic: str) -> None:
    publisher = Publisher(kafka.bootstrap)
    async with reading(kafka, topic, 0) as consumer:
        await one_by_one(consumer, publisher, topic, 1)
        took = await one_by_one(consumer, publisher, topic, 5)
    assert sum(took) < LINGER_S
