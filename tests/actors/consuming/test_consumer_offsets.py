"""Whose word an offset is, and what is known after a loss: on a real Kafka and Valkey."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import redis
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from doorstep.actors.consuming.commit_metadata import read_metadata
from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.kafka.options import group_options
from doorstep.actors.kafka.topic_queries import TopicQueries
from doorstep.actors.placement.slots import slot_of
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.config.settings import KafkaSettings, Settings
from tests.actors.consuming.consumer_world import World, essays
from tests.support.records import TEACHER_TOPIC


def _commit_ends(world: World, topics: Collection[str], metadata: str = "") -> None:
    """What `kafka-consumer-groups --reset-offsets --to-latest` does to a group without members."""
    client = PlainConsumer(
        {"bootstrap.servers": world.kafka.bootstrap, "group.id": world.settings().kafka.group_id}
    )
    try:
        ends = [
            TopicPartition(
                topic, number, client.get_watermark_offsets(TopicPartition(topic, number), 10)[1], metadata
            )
            for topic in topics
            for number in client.list_topics(topic, 10).topics[topic].partitions
        ]
        client.commit(offsets=ends, asynchronous=False)
    finally:
        client.close()


def _notes(count: int, name: str = "note") -> list[str]:
    return [f"{name}-{number}" for number in range(count)]


async def test_commits_say_which_store_and_topic_they_are_of(world: World) -> None:
    user, settings = world.names.user(), world.settings().kafka
    async with world.consumer():
        world.publisher.send_all(world.notification(user, each) for each in _notes(5))
        await world.logged(user, 5)
    queries = OffsetQueries(settings)
    committed = await queries.committed(await queries.partitions_of([world.notifications]))
    await queries.close()
    with redis.Redis.from_url(world.valkey.url) as client:
        stamp = await asyncio.to_thread(client.hget, Keyspace("doorstep").stamp(0), "id")
    topics = await TopicQueries(settings).describe([world.notifications], [])
    for commit in committed.values():
        assert commit is not None
        assert read_metadata(commit.metadata) == (stamp.decode(), topics[world.notifications].id, 0)


async def test_offsets_that_expired_while_away_bring_nothing_back(world: World) -> None:
    user = world.names.user()
    async with world.consumer():
        world.publisher.send_all(world.notification(user, each) for each in _notes(20))
        await world.logged(user, 20)
    await asyncio.to_thread(_forget_group, world)
    with redis.Redis.from_url(world.valkey.url) as client:  # so does time, with the log of an idle user
        await asyncio.to_thread(client.delete, *Keyspace("doorstep").user(slot_of(user), user))
    async with world.consumer():
        world.publisher.send_all([world.notification(user, "new")])
        assert [each["event"] for each in await world.logged(user, 1)] == ["new"]


def _forget_group(world: World) -> None:
    group = world.settings().kafka.group_id
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    admin.delete_consumer_groups([group])[group].result(timeout=30)


async def test_a_group_that_a_tool_had_committed_to_its_end_begins_there(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    world.publisher.send_all([world.registration(batch, user), world.slot(batch, "old")])
    world.publisher.send_all(world.notification(user, each) for each in _notes(60, "old"))
    await asyncio.to_thread(_commit_ends, world, [world.notifications])
    async with world.consumer(kafka={"start": "latest"}):
        world.publisher.send_all([world.slot(batch, "new")])
        assert essays(await world.logged(user, 1)) == ["new"]


async def test_an_operators_reset_of_the_group_is_obeyed(world: World) -> None:
    user = world.names.user()
    async with world.consumer():
        world.publisher.send_all(world.notification(user, each) for each in _notes(10))
        await world.logged(user, 10)
    world.publisher.send_all(world.notification(user, each) for each in _notes(10, "skipped"))
    await asyncio.to_thread(_commit_ends, world, [world.notifications])
    async with world.consumer():
        world.publisher.send_all([world.notification(user, "new")])
        assert [each["event"] for each in await world.logged(user, 11)] == [*_notes(10), "new"]


async def test_commits_of_a_newer_doorstep_are_nobodys_word(world: World) -> None:
    await asyncio.to_thread(_commit_ends, world, [world.notifications], "doorstep/2 of another form")
    consumer = Consumer("consumer-0", world.settings(), "consumer-0")
    try:

        async def is_told() -> bool:
            reasons = [each.reason or "" for each in (await consumer.status()).breakers]
            return any(re.search("metadata of another Doorstep", each) for each in reasons)

        await world.until(is_told, "the status tells why it does not begin")
    finally:
        await consumer.stop()


async def test_the_chain_is_the_same_after_a_loss_while_nobody_was_there(world: World) -> None:
    """The group's commits remember the id of the store."""
    user = world.names.user()
    async with world.consumer():
        world.publisher.send_all(world.notification(user, each)._replace(key=b"one") for each in _notes(50))
        await world.logged(user, 50)
    heads = [await world.head(user)]
    await world.lose_redis()
    async with world.consumer():
        await world.until(lambda: _has_head(world, user), "all is as it was")
        heads.append(await world.head(user))
    assert heads[0] == heads[1]


async def test_who_has_no_partition_vouches_for_redis_too(world: World, tmp_path: Path) -> None:
    topic, routes = world.names.topic("one"), tmp_path / "one.toml"
    world.kafka.create_topic(topic)
    shipped = Settings.model_fields["routes"].default.read_text()
    teachers = shipped[shipped.index("[route.teacher_notification]") : shipped.index("[context.")]
    routes.write_text(teachers.replace(TEACHER_TOPIC, topic))
    settings = world.settings().model_copy(update={"routes": routes})
    async with _member(settings.kafka, topic):
        consumer = Consumer("consumer-0", settings, "consumer-0")
        try:
            await world.until(lambda: _is_waiting(consumer), "another member has the only partition")
            await world.until(lambda: _has_head(world, "nobody"), "it has vouched for what there is")
            await world.lose_redis()
            await world.until(lambda: _has_head(world, "nobody"), "and for what is left")
            assert (await consumer.status()).partitions == ()
        finally:
            await consumer.stop()


async def test_readers_wait_until_all_consumers_have_appended_what_was_lost(world: World) -> None:
    """One is done with its share, while another one has not even noticed the loss."""
    teacher, batch = world.names.user("teacher"), world.names.batch()
    users = [teacher, *(world.names.user(number) for number in range(4))]
    async with world.consumer() as consumer:
        world.publisher.send_all([world.registration(batch, teacher), world.slot(batch, "essay")])
        for number, user in enumerate(users[1:]):
            world.publisher.send(world.notification(user), partition=number)
        world.publisher.flush()
        for user in users:
            await world.logged(user, 1)
        heads = [await world.head(user) for user in users]
        async with _member(world.settings().kafka, world.notifications):
            await world.lose_redis()
            assert essays(await world.logged(teacher, 1)) == ["essay"]
            await world.until(lambda: _is_all_committed(world, consumer), "it is done with its share")
            assert [await world.head(user) for user in users] == [None] * 5
        await world.until(lambda: _has_head(world, teacher), "all is told when the other has left")
        assert [await world.head(user) for user in users] == heads


async def _is_all_committed(world: World, consumer: Consumer) -> bool:
    return (await consumer.status()).state == "running" and await world.in_flight(consumer) == 0


@asynccontextmanager
async def _member(kafka: KafkaSettings, topic: str) -> AsyncIterator[None]:
    """Somebody else in the group, from its first partition on."""
    client, assigned, ends = (
        PlainConsumer(group_options(kafka, "other", "other")),
        threading.Event(),
        threading.Event(),
    )

    def note(_: PlainConsumer, added: list[TopicPartition]) -> None:
        if added:
            assigned.set()

    def poll() -> None:
        client.subscribe([topic], on_assign=note)
        while not ends.is_set():
            client.poll(0.1)
        client.close()

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        assert await asyncio.to_thread(assigned.wait, 30)
        yield
    finally:
        ends.set()
        await asyncio.to_thread(thread.join)


async def _is_waiting(consumer: Consumer) -> bool:
    return (await consumer.status()).state == "waiting"


async def _has_head(world: World, user: str) -> bool:
    return await world.head(user) is not None
