"""Records that nobody waits for, with and without a Kafka."""

import asyncio
import time

import pytest

from doorstep.actors.kafka import options
from doorstep.actors.kafka.event_producer import EventProducer
from doorstep.config.settings import KafkaSettings
from doorstep.development.ports import free_port
from tests.support.waiting import PATIENCE_S


async def test_without_kafka_nobody_waits_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(options, "_EVENTS_AT_ONCE", 100)
    monkeypatch.setattr(options, "_REQUEST_MS", 1000)
    producer = EventProducer(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"), "events")
    begun = time.monotonic()
    for _ in range(150):
        producer.offer("u", b"{}")
    dropped = producer.take_dropped()
    assert dropped == 50
    assert time.monotonic() - begun < 5
    async with asyncio.timeout(PATIENCE_S):
        while dropped < 150:
            await asyncio.sleep(0.1)
            dropped += producer.take_dropped()
    producer.stop()
