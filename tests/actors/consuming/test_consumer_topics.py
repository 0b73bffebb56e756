"""A topic that is deleted and made anew is another topic: on a real Kafka and Valkey."""

import asyncio
import time

from confluent_kafka.admin import AdminClient

from tests.actors.consuming.consumer_world import World
from tests.support.publisher import Publisher


async def test_nothing_of_a_topic_that_is_made_anew_is_a_repeat(world: World) -> None:
    user = world.names.user()
    async with world.consumer():
        _publish(world, user, "first")
        await world.logged(user, 40)
    await asyncio.to_thread(_make_anew, world)
    _publish(world, user, "while it was away")
    async with world.consumer() as consumer:
        await world.logged(user, 80)
        await asyncio.to_thread(_make_anew, world)
        _publish(world, user, "while it was there")
        told = [each["data"]["kind"] for each in await world.logged(user, 120)]
        assert {kind: told.count(kind) for kind in told} == {
            "first": 40,
            "while it was away": 40,
            "while it was there": 40,
        }
        assert (await consumer.status()).state == "running"


def _publish(world: World, user: str, kind: str) -> None:
    """40 events of one name that are known by nothing but their place in Kafka; their data says the kind.

    By a producer of its own: an idempotent one that knew the old topic goes on counting in the new one. There
    a batch that is retried behind a later one is a duplicate to the broker: acknowledged, and not written.
    """
    publisher = Publisher(world.kafka.bootstrap)
    for number in range(40):
        wire = world.notification(user, payload={"kind": kind}, envelope={"event_id": None})
        publisher.send(wire, partition=number % 4)
    publisher.flush()
    publisher.close()
    assert len(publisher.acknowledged) == 40


def _make_anew(world: World) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    for deleted in admin.delete_topics([world.notifications]).values():
        deleted.result(timeout=30)
    deadline = time.monotonic() + 30
    while world.notifications in admin.list_topics(timeout=5).topics:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    world.kafka.create_topic(world.notifications, partitions=4)
