"""The simulated group consumer against librdkafka's on a real Kafka: the same story, told the same."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Producer

from doorstep.actors.kafka.consumer_thread import Batch, ConsumerThread, GroupEvents
from doorstep.actors.kafka.options import group_options
from doorstep.actors.records import OffsetAndMetadata, Partition
from doorstep.config.settings import KafkaSettings
from tests.simulation import kafka_clients
from tests.simulation.kafka import Broker, Kept
from tests.simulation.loop import Loop, Process
from tests.simulation.network import Network
from tests.simulation.originals import Member
from tests.support.names import Names
from tests.support.servers import KafkaServer

_PATIENCE_S = 30.0
_QUIET_S = 1.0
"""So long nothing comes where nothing is to come."""


Make = Callable[[str, GroupEvents, Callable[[BaseException | None], None]], Member]
"""For an instance id."""
Produce = Callable[[int, bytes], None]
Story = Callable[[str, Make, Produce], Coroutine[Any, Any, list[object]]]


class Witness:
    """One member, and what it was told, in order."""

    def __init__(self, make: Make, instance_id: str) -> None:
        self.told: list[object] = []
        self.assigned: set[Partition] = set()
        self.may_let_go = asyncio.Event()
        self._news = asyncio.Event()
        events = GroupEvents(
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            on_lost=partial(self.tell, "lost"),
            on_unreadable=partial(self.tell, "unreadable"),
            on_records=self._records,
            on_caught_up=partial(self.tell, "end"),
        )
        self.member = make(instance_id, events, partial(self.tell, "ended"))
        self.member.start()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(_PATIENCE_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def until_told(self, *what: object) -> None:
        """Wait for something to be told."""
        await self.until(lambda: what in self.told)

    def tell(self, *what: object) -> None:
        """Something happened."""
        self.told.append(what)
        self._news.set()

    def _assigned(self, added: frozenset[Partition]) -> None:
        self.assigned |= added
        self.tell("assigned", len(added))

    async def _revoked(self, gone: frozenset[Partition]) -> None:
        self.tell("revoked", len(gone))
        await self.may_let_go.wait()
        self.assigned -= gone
        self.tell("let go")

    def _records(self, batch: Batch) -> None:
        for (_, number), records in batch.items():
            for each in records:
                self.tell("record", number, each.offset, each.value)


async def _story(topic: str, make: Make, produce: Produce) -> list[object]:
    """What a consumer does with its member; returns all that was told."""
    one = Witness(make, "one")
    first, second = (topic, 0), (topic, 1)
    await one.until(lambda: len(one.assigned) == 2)
    one.member.read_from({first: 0, second: 0}, partial(one.tell, "begun"))
    one.member.grant(100)
    for number in range(3):
        produce(0, b"%d" % number)
    await one.until_told("record", 0, 2, b"2")
    one.member.pause(frozenset({first}), partial(one.tell, "paused"))
    await one.until_told("paused")
    produce(0, b"3")
    produce(1, b"0")
    await one.until_told("record", 1, 0, b"0")
    one.member.pause(frozenset(), partial(one.tell, "resumed"))
    await one.until_told("record", 0, 3, b"3")
    one.tell("committed", await one.member.commit({first: OffsetAndMetadata(2, "beside it")}))
    one.member.read_from({first: 2}, partial(one.tell, "begun again"))
    await one.until(lambda: one.told.count(("record", 0, 3, b"3")) == 2)
    one.member.grant(6 + 1)
    await asyncio.sleep(_QUIET_S)  # the read that is under way may still take what was granted before
    produce(1, b"1")
    produce(1, b"2")
    await asyncio.sleep(_QUIET_S)

    other = Witness(make, "other")
    await one.until_told("revoked", 1)
    await asyncio.sleep(_QUIET_S)
    assert not other.assigned, "partitions are given away before they are let go"
    one.may_let_go.set()
    await other.until(lambda: len(other.assigned) == 1)
    assert not one.assigned & other.assigned
    one.member.end()
    await other.until(lambda: len(other.assigned) == 2)
    await one.until_told("ended", None)
    other.member.end()
    await other.until_told("ended", None)
    return [_ordered(one.told), _ordered(other.told)]


async def _story_of_a_successor(_topic: str, make: Make, _produce: Produce) -> list[object]:
    """Of a member that was to give something away."""
    one = Witness(make, "one")
    await one.until(lambda: len(one.assigned) == 2)
    other = Witness(make, "other")
    await one.until_told("revoked", 1)
    successor = Witness(make, "one")
    successor.may_let_go.set()
    await successor.until(lambda: len(successor.assigned) == 1)
    await asyncio.sleep(_QUIET_S)
    assert not other.assigned, "what was to be given away is nobody's"
    other.member.end()
    await successor.until(lambda: len(successor.assigned) == 2)
    await other.until_told("ended", None)
    one.member.end()
    successor.member.end()
    await successor.until_told("ended", None)
    return [_ordered(other.told), _ordered(successor.told)]


def _ordered(told: list[object]) -> list[object]:
    """Each partition's records apart, and without what may come more or less often: the ends of partitions,
    and rebalances that bring nothing."""
    records = {number: [each for each in told if _begins(each, "record", number)] for number in (0, 1)}
    left_out = (("record",), ("end",), ("assigned", 0))
    rest = [each for each in told if not any(_begins(each, *words) for words in left_out)]
    return [rest, *records.values()]


def _begins(told: object, *words: object) -> bool:
    return isinstance(told, tuple) and told[: len(words)] == words


def _simulated(story: Story, topic: str) -> list[object]:
    loop = Loop()
    network = Network(loop, random.Random(1))
    kafka = kafka_clients.Kafka(network, Broker(network, {topic: 2}, 6.0))
    process = Process(loop, "test", "host")

    def make(instance_id: str, events: GroupEvents, on_end: Callable[[BaseException | None], None]) -> Member:
        return kafka_clients.ConsumerThread(
            kafka,
            {"group.instance.id": instance_id},
            topics=[topic],
            topic_ids={},
            linger_s=0.003,
            events=events,
            on_end=on_end,
        )

    def produce(number: int, value: bytes) -> None:
        kafka.broker.append((topic, number), Kept(None, value))

    async def tell() -> list[object]:
        return await process.call(loop.create_task, story(topic, make, produce))

    try:
        return loop.run(tell())
    finally:
        loop.close()


@pytest.mark.parametrize("story", [_story, _story_of_a_successor])
async def test_a_member_is_told_the_same(story: Story, kafka: KafkaServer, names: Names) -> None:
    topic = names.topic("story")
    kafka.create_topic(topic, partitions=2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    settings = KafkaSettings(
        bootstrap_servers=kafka.bootstrap, group_id=names.group(), session_timeout_ms=6000
    )

    def make(instance_id: str, events: GroupEvents, on_end: Callable[[BaseException | None], None]) -> Member:
        options = group_options(settings, "story", instance_id)
        return ConsumerThread(
            options, topics=[topic], topic_ids={}, linger_s=0.003, events=events, on_end=on_end
        )

    def produce(number: int, value: bytes) -> None:
        producer.produce(topic, value, partition=number)
        producer.flush()

    real = await story(topic, make, produce)
    assert await asyncio.to_thread(_simulated, story, topic) == real
