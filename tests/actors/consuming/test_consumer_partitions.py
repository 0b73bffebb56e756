"""A fault of a topic or a partition holds up that one alone, and is named: on a real Kafka and Valkey."""

import asyncio
import itertools
import struct
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewPartitions
from structlog.testing import capture_logs

from doorstep.actors.commands.connecting import findings
from doorstep.actors.consuming.consumer import Consumer, ConsumerStatus
from doorstep.actors.kafka.errors import ABSENT
from tests.actors.consuming.consumer_world import World, essays
from tests.support.kafka import GuardedKafka, guarded_kafka, kafka_process, second_broker
from tests.support.names import Names
from tests.support.proxy import Proxy
from tests.support.servers import KafkaServer, ValkeyServer

MOST_ASKED = 60
"""The other client that Doorstep had asked 600 times."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    """A Kafka whose second listener wants a password, so that topics can be forbidden to that user."""
    kafka = guarded_kafka(tmp_path_factory.mktemp("guarded"))
    kafka.server.start()
    yield kafka
    kafka.server.stop()


async def _named(world: World, consumer: Consumer, name: str, reason: str) -> None:
    async def is_named() -> bool:
        fault = (await consumer.status()).faults.get(name)
        return fault is not None and reason in fault.reason

    await world.until(is_named, f"{name}: {reason}")


async def _is_whole(world: World, consumer: Consumer, name: str) -> None:
    async def is_whole() -> bool:
        return name not in (await consumer.status()).faults

    await world.until(is_whole, f"{name} has no fault any more")


def _all_in_reach(status: ConsumerStatus) -> bool:
    return all(each.state == "closed" for each in status.breakers)


async def test_a_topic_without_read_access_holds_up_no_other(
    guarded: GuardedKafka, valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    world, user, batch = World(guarded.server, valkey, names, tmp_path), names.user(), names.batch()
    world.publisher.send_all([world.registration(batch, user)])
    acl = guarded.allow(ResourceType.TOPIC, world.slots, AclOperation.DESCRIBE)
    async with world.consumer(kafka=_guest_of(guarded)) as consumer:
        await _named(world, consumer, world.slots, "no right to read it")
        notes = [world.notification(user, f"note-{number}") for number in range(20)]
        world.publisher.send_all([world.slot(batch, "essay-1"), *notes])
        await world.logged(user, 20)
        status = await consumer.status()
        assert status.state == "running"
        assert _all_in_reach(status)
        assert set(status.paused) == {f"{world.slots}/{number}" for number in range(4)}
        guarded.withdraw(acl)
        await _is_whole(world, consumer, world.slots)
        await world.logged(user, 21)


@pytest.mark.parametrize("fault", ["it is forbidden", "it is missing"])
async def test_a_dead_letter_topic_that_takes_nothing_holds_up_no_partition_without_dead_letters(
    guarded: GuardedKafka, valkey: ValkeyServer, names: Names, tmp_path: Path, fault: str
) -> None:
    world, user = World(guarded.server, valkey, names, tmp_path), names.user()
    if fault == "it is forbidden":
        guarded.server.create_topic(world.dead)
        acl = guarded.allow(ResourceType.TOPIC, world.dead, AclOperation.DESCRIBE)
    async with world.consumer(kafka=_guest_of(guarded)) as consumer:
        await _named(world, consumer, world.dead, "no right to write it" if "forbidden" in fault else ABSENT)
        world.produce(world.notifications, b"poison", partition=0)
        await _named(world, consumer, f"{world.notifications}/0", "dead letter")
        for number in range(20):
            world.publisher.send(world.notification(user, f"note-{number}"), partition=number % 4)
        world.publisher.flush()
        await world.logged(user, 15)
        status = await consumer.status()
        assert status.state == "running"
        assert _all_in_reach(status)
        assert status.paused == (f"{world.notifications}/0",)
    async with world.consumer(kafka=_guest_of(guarded)) as consumer:
        await _named(world, consumer, f"{world.notifications}/0", "dead letter")  # it was not committed
        if fault == "it is forbidden":
            guarded.withdraw(acl)
        else:
            guarded.server.create_topic(world.dead)
        await _is_whole(world, consumer, f"{world.notifications}/0")
        await world.logged(user, 20)
        (letter,) = await world.dead_letters(1)
        assert letter.source == f"{world.notifications}/0/0"


async def test_a_topic_that_is_deleted_under_load_is_worth_a_few_lines(
    guarded: GuardedKafka,
    valkey: ValkeyServer,
    names: Names,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client that says the same again and again is in tests/actors/kafka/test_group_consumer.py."""
    world, user = World(guarded.server, valkey, names, tmp_path), names.user()
    async with world.consumer() as consumer:
        stream = asyncio.create_task(_stream(world, user))
        await world.logged(user, 500)
        with capture_logs() as lines:
            await asyncio.to_thread(_delete, world, world.notifications)
            await _named(world, consumer, world.notifications, ABSENT)
            await asyncio.sleep(2)
        stream.cancel()
        told = [f"{sorted(line.items())}" for line in lines] + [each.getMessage() for each in caplog.records]
        assert told, "it is not worth a line"
        assert len(told) == len(set(told)) < 8, "the same is told again"


async def _stream(world: World, user: str) -> None:
    for number in itertools.count():
        world.publisher.send(world.notification(user, f"note-{number}"))
        await asyncio.sleep(0.001)


def _delete(world: World, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    for deleted in admin.delete_topics([topic]).values():
        deleted.result(timeout=30)


def _guest_of(guarded: GuardedKafka) -> dict[str, str]:
    """Settings for who needs the password."""
    ours = {"bootstrap_servers": guarded.bootstrap, "security_protocol": "SASL_PLAINTEXT"}
    return ours | {"sasl_username": guarded.username, "sasl_password": guarded.password}


async def test_topics_that_do_not_exist_are_named_and_not_created_by_asking(
    kafka: KafkaServer, valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    """On a broker that creates the topics that somebody asks for by name."""
    world, user, absent = World(kafka, valkey, names, tmp_path), names.user(), names.topic("absent")
    settings, routes = world.settings(), tmp_path / "absent.toml"
    routes.write_text(settings.routes.read_text().replace(world.slots, absent))
    consumer = Consumer("consumer-0", settings.model_copy(update={"routes": routes}), "consumer-0")
    try:
        await _named(world, consumer, absent, "it does not exist")
        await _named(world, consumer, world.dead, "it does not exist")
        world.publisher.send_all([world.notification(user)])
        await world.logged(user, 1)
        found = AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics
        assert world.notifications in found
        assert not {absent, world.dead} & found.keys()
    finally:
        await consumer.stop()


async def test_records_that_cannot_be_read_hold_up_their_partition_alone(
    guarded: GuardedKafka, valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    world, user = World(guarded.server, valkey, names, tmp_path), names.user()
    for number in range(3):
        world.publisher.send(world.notification(user, f"before-{number}"), partition=0)
        world.publisher.send(world.registration(names.batch(number), user), partition=1)
        world.publisher.flush()
    guarded.server.stop()
    _corrupt(guarded.data / f"{world.notifications}-0" / f"{0:020}.log", batch=1)
    _corrupt(guarded.data / f"{world.contexts}-1" / f"{0:020}.log", batch=1)
    guarded.server.start()
    async with world.consumer() as consumer:
        await _named(world, consumer, f"{world.notifications}/0", "it can't be read")
        for number in range(20):
            world.publisher.send(world.notification(user, f"note-{number}"), partition=1 + number % 3)
        world.publisher.flush()
        events = {each["event"] for each in await world.logged(user, 21)}
        assert events == {"before-0"} | {f"note-{number}" for number in range(20)}
        assert _all_in_reach(await consumer.status())
        await world.lose_redis()  # then contexts are read before all events
        await world.logged(user, 21)
        await _named(world, consumer, f"{world.contexts}/1", "it can't be read")
        await asyncio.to_thread(_delete_records, world, before=2)
        assert (await world.logged(user, 22))[-1]["event"] == "before-2"
        await _is_whole(world, consumer, f"{world.notifications}/0")


def _corrupt(log: Path, *, batch: int) -> None:
    """Change the last byte of a batch; each begins with its offset, and the length of what follows that."""
    written, place = bytearray(log.read_bytes()), 0
    for _ in range(batch + 1):
        (length,) = struct.unpack_from(">I", written, place + 8)
        place += 12 + length
    written[place - 1] ^= 0xFF
    log.write_bytes(written)


def _delete_records(world: World, *, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    for deleted in admin.delete_records([TopicPartition(world.notifications, 0, before)]).values():
        deleted.result(timeout=30)


async def _asked_a_second(way: Proxy) -> float:
    """How many requests come."""
    before, began = way.asked, time.monotonic()
    await asyncio.sleep(1)
    return (way.asked - before) / (time.monotonic() - began)


@pytest.mark.kafka
async def test_a_partition_without_a_leader_holds_up_no_other(
    valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    files = [tmp_path / "first", tmp_path / "second"]
    for each in files:
        each.mkdir()
    first = kafka_process(files[0], {})
    way = Proxy(int(first.bootstrap.rpartition(":")[2]))
    way.start()
    with (files[0] / "server.properties").open("a") as properties:  # the last line counts
        properties.write(f"advertised.listeners=PLAINTEXT://127.0.0.1:{way.port}\n")
    first.start()
    try:
        world, user = World(first, valkey, names, tmp_path), names.user()
        async with world.consumer():
            pass  # so that the group's own topic is on the first broker
        second = second_broker(files[1], files[0])
        second.start()
        try:
            await asyncio.to_thread(_add_partition, world, world.notifications, 4, broker=2)
            await asyncio.to_thread(_add_partition, world, world.contexts, 2, broker=2)
            away = {f"{world.contexts}/2", f"{world.notifications}/4"}
            near, far, owner = names.batch("near"), names.batch("far"), names.user("owner")
            async with world.consumer() as consumer:
                for name in away:
                    await world.until(lambda: _has(consumer, name), f"it has {name}")  # noqa: B023
                world.publisher.send(world.registration(near, owner), partition=0)
                world.publisher.send(world.registration(far, owner), partition=2)
                world.publisher.send_all([world.slot(near, "near-1"), world.slot(far, "far-1")])
                await world.logged(owner, 2)
                await asyncio.to_thread(lambda: second.stop(kill=True))
                await _goes_on_without(world, consumer, away, user, 20)
            async with world.consumer() as consumer:
                await _goes_on_without(world, consumer, away, user, 40)
                assert await _asked_a_second(way) < MOST_ASKED, "of the broker that lives"
                await world.lose_redis()
                await _goes_on_without(world, consumer, away, user, 60)
                assert await _found(world, f"topic {world.contexts}") == "nobody leads partition 2"
                world.publisher.send_all([world.slot(near, "near-2")])
                assert essays(await world.logged(owner, 2)) == ["near-1", "near-2"]
                await asyncio.to_thread(second.start)
                for name in away:
                    await _is_whole(world, consumer, name)
                world.publisher.send(world.notification(user), partition=4)
                world.publisher.flush()
                await world.logged(user, 61)
                assert set(essays(await world.logged(owner, 3))) == {"near-1", "near-2", "far-1"}
        finally:
            second.stop(kill=True)
    finally:
        first.stop(kill=True)
        way.stop()


def _add_partition(world: World, topic: str, number: int, *, broker: int) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    wanted = NewPartitions(topic, number + 1, replica_assignment=[[broker]])
    for grown in admin.create_partitions([wanted]).values():
        grown.result(timeout=30)


async def _found(world: World, what: str) -> str | None:
    """What `doorstep check --connect` finds wrong with this."""
    (fault,) = [each.fault async for each in findings(world.settings()) if each.what == what]
    return fault


async def _has(consumer: Consumer, partition: str) -> bool:
    status = await consumer.status()
    return partition in status.partitions and partition not in status.paused


async def _goes_on_without(
    world: World, consumer: Consumer, away: Collection[str], user: str, count: int
) -> None:
    """These partitions are named, and what goes to the others arrives while every breaker is closed."""
    for name in away:
        await _named(world, consumer, name, "none of its replicas")
    for number in range(20):
        world.publisher.send(world.notification(user, f"note-{count}-{number}"), partition=number % 4)
    world.publisher.flush()
    await world.logged(user, count)
    status = await consumer.status()
    assert status.state == "running"
    assert _all_in_reach(status)
    assert set(status.paused) == set(away)
