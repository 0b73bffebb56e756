"""What happens to Kafka, Redis and the consumers themselves costs no event: on a real Kafka and Valkey."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis

from doorstep.actors.consuming import group_watch
from doorstep.actors.consuming.consumer import Consumer, ConsumerStatus
from doorstep.actors.kafka import consumer_thread
from doorstep.actors.kafka.consumer_thread import GroupEvents
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.placement.slots import slot_of
from doorstep.actors.records import Partition
from doorstep.actors.store.log import Log
from doorstep.actors.store.rebuilding import Rebuilding
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.values import Page, Want
from doorstep.config.routes import load_routes
from doorstep.config.settings import HistorySettings
from doorstep.development.processes import ServerProcess
from doorstep.gateway.cursor import Cursor
from tests.actors.consuming.consumer_process import write_settings
from tests.actors.consuming.consumer_world import World, essays
from tests.conftest import KafkaFactory, ValkeyFactory
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.waiting import PATIENCE_S

ROUNDS = 25 if "DOORSTEP_SOAK_S" in os.environ else 3
"""Of somebody who joins and leaves: two rebalances each."""


class Stream:
    """Notifications for some users, published steadily while something happens."""

    def __init__(self, world: World, users: int = 4, pause_s: float = 0.002) -> None:
        self._world = world
        self._users = [world.names.user(number) for number in range(users)]
        self._pause_s = pause_s
        self._sent = 0
        self._task = asyncio.create_task(self._publish())

    async def stop(self) -> None:
        """Publish no more."""
        self._task.cancel()
        await asyncio.to_thread(self._world.publisher.flush)

    async def check(self, within_s: float = PATIENCE_S) -> None:
        """Every user's log has every notification once, in order."""
        expected = [f"note-{number}" for number in range(self._sent)]
        for user in self._users:
            logged = await self._world.logged(user, self._sent, within_s)
            assert [each["event"] for each in logged] == expected

    async def _publish(self) -> None:
        while True:
            for user in self._users:
                self._world.publisher.send(self._world.notification(user, f"note-{self._sent}"))
            self._sent += 1
            await asyncio.sleep(self._pause_s)


async def _status(
    world: World, consumer: Consumer, holds: Callable[[ConsumerStatus], bool], what: str
) -> None:
    async def said() -> bool:
        return holds(await consumer.status())

    await world.until(said, what)


def _is_open(name: str) -> Callable[[ConsumerStatus], bool]:
    return lambda status: any(each.name == name and each.state == "open" for each in status.breakers)


def _all_closed(status: ConsumerStatus) -> bool:
    return all(each.state == "closed" for each in status.breakers)


@pytest.mark.timeout(480 + 20 * ROUNDS)
async def test_rebalances_under_load_lose_and_double_nothing(world: World) -> None:
    async with world.consumer("consumer-0") as first:
        stream = Stream(world)
        for _ in range(ROUNDS):
            async with world.consumer("consumer-1") as second:
                await _status(
                    world,
                    second,
                    lambda status: len(status.partitions) == world.partitions // 2,
                    "the load is shared",
                )
                await asyncio.sleep(0.3)
            await _status(
                world,
                first,
                lambda status: len(status.partitions) == world.partitions,
                "one has it all again",
            )
        await stream.stop()
        await stream.check()


async def test_a_killed_consumer_is_replaced_by_another(world: World, tmp_path: Path) -> None:
    process = _process(world, tmp_path)
    process.start()
    stream = Stream(world)
    await world.until(lambda: _some(world), "the process is at work")
    process.kill()
    await asyncio.sleep(0.2)
    async with world.consumer():
        await stream.stop()
        await stream.check()


async def test_a_rebalance_hands_over_what_is_done(world: World) -> None:
    user = world.names.user()
    never = {"commit_interval_ms": 600_000}
    async with world.consumer("consumer-0", kafka=never) as first:
        world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(100))
        await world.logged(user, 100)
        async with world.consumer("consumer-1", kafka=never) as second:
            await _status(
                world, second, lambda status: len(status.partitions) == world.partitions // 2, "shared"
            )
            world.publisher.send_all(world.notification(f"{user}-{number}") for number in range(100))
            await world.until(lambda: _appended(world, [first, second], 200), "all are done with")
            assert await world.counted(first, "repeated") == 0
            assert await world.counted(second, "repeated") == 0


async def _appended(world: World, consumers: list[Consumer], count: int) -> bool:
    return sum([await world.counted(consumer, "appended") for consumer in consumers]) == count


async def test_a_process_that_was_frozen_begins_again_at_its_commits(world: World) -> None:
    user = world.names.user()
    async with world.consumer(kafka={"session_timeout_ms": 1000}) as consumer:
        world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(10))
        await world.logged(user, 10)
        time.sleep(1.2)  # noqa: ASYNC251 - freezes the consumer too
        world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(10, 20))
        logged = await world.logged(user, 20)
        assert [each["event"] for each in logged] == [f"note-{number}" for number in range(20)]
        assert await _restarts(consumer, "frozen") >= 1  # more, where the machine stands still as well


async def test_a_consumer_that_was_frozen_writes_nothing_stale(world: World, tmp_path: Path) -> None:
    process = _process(world, tmp_path)
    process.start()
    try:
        stream = Stream(world)
        await world.until(lambda: _some(world), "the process is at work")
        process.signal(signal.SIGSTOP)
        async with world.consumer() as other:
            # once the frozen one is no longer a member
            await _status(
                world,
                other,
                lambda status: len(status.partitions) == world.partitions,
                "the other one has it all",
            )
            process.signal(signal.SIGCONT)
            await _status(
                world,
                other,
                lambda status: len(status.partitions) == world.partitions // 2,
                "the frozen one is back",
            )
            await stream.stop()
            await stream.check()
    finally:
        process.kill()


async def test_of_two_processes_of_one_consumer_the_first_ends(world: World, deaths: list[str]) -> None:
    async with world.consumer():
        stream = Stream(world, pause_s=0.01)
        async with world.consumer() as later:
            await world.until(lambda: deaths, "one of them ends")
            await _status(
                world,
                later,
                lambda status: len(status.partitions) == world.partitions,
                "the other has all",
            )
            await stream.stop()
            await stream.check()
            assert len(deaths) == 1
            deaths.clear()


async def test_what_a_killed_consumer_had_given_away_to_nobody_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies after Kafka has told it to give partitions away, and before it has said that it did."""
    monkeypatch.setattr(consumer_thread, "_REVOKE_S", 60.0)
    assigned: list[Partition] = []
    told = asyncio.Event()

    async def never_done(_: frozenset[Partition]) -> None:
        told.set()
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        settings = world.settings()
        topics = frozenset(load_routes(settings.routes).by_topic)
        dying = GroupConsumer(settings.kafka, "consumer-0", "consumer-0", topics, {})
        events = GroupEvents(assigned.extend, never_done, _nothing, _nothing, _nothing, _nothing)
        dead = asyncio.create_task(dying.run(events))
        stack.push_async_callback(asyncio.wait, [dead])
        stack.callback(dead.cancel)
        await world.until(lambda: len(assigned) == world.partitions, "the first one has all")
        with monkeypatch.context() as patience:
            patience.setattr(group_watch, "_LEAST_S", 60.0)  # it does not act before the successor is there
            other = Consumer("consumer-1", settings, "consumer-1")
        stack.push_async_callback(other.stop)
        await asyncio.wait_for(told.wait(), PATIENCE_S)
        successor = await stack.enter_async_context(world.consumer("consumer-0"))
        assert len((await successor.status()).partitions) == world.partitions // 2
        assert (await other.status()).state == "waiting"
        stream = Stream(world, users=8)
        await world.until(lambda: _unowned(other, successor), "they are counted")
        assert await _unowned(other, successor) in (0, world.partitions // 2)
        await world.until(lambda: _have_all(world, other, successor), "they are found")
        await stream.stop()
        await stream.check()
        assert sum([await _restarts(each, "unowned") for each in (other, successor)]) >= 1


async def _have_all(world: World, *consumers: Consumer) -> bool:
    return sum([len((await each.status()).partitions) for each in consumers]) == world.partitions


async def _unowned(*consumers: Consumer) -> float:
    samples = [
        each for consumer in consumers for family in await consumer.metrics() for each in family.samples
    ]
    return max(each.value for each in samples if each.name == "doorstep_consumer_unowned_partitions")


def _nothing(*_: object) -> None: ...


def _process(world: World, directory: Path) -> ServerProcess:
    settings = world.settings(kafka={"session_timeout_ms": 1500})
    write_settings(directory / "settings", settings)
    command = [sys.executable, "-m", "tests.actors.consuming.consumer_process", str(directory / "settings")]
    return ServerProcess(command, log=directory / "consumer.log")


async def _some(world: World) -> bool:
    return len(await world.log(world.names.user(0))) > 50


@asynccontextmanager
async def _away(
    world: World, consumer: Consumer, name: str, server: KafkaServer | ValkeyServer
) -> AsyncIterator[None]:
    """While a server is away and its breaker open."""
    await asyncio.to_thread(server.stop)
    await _status(world, consumer, _is_open(name), f"the breaker of {name} is open")
    yield
    await asyncio.to_thread(server.start)
    await _status(world, consumer, _all_closed, "the breakers are closed")


async def test_redis_may_stop_and_start(
    kafka: KafkaServer, valkey_factory: ValkeyFactory, names: Names, tmp_path: Path
) -> None:
    valkey = valkey_factory()
    world = World(kafka, valkey, names, tmp_path)
    async with world.consumer() as consumer:
        stream = Stream(world, pause_s=0.01)
        await asyncio.sleep(0.5)
        async with _away(world, consumer, "redis", valkey):
            await _status(
                world,
                consumer,
                lambda status: len(status.paused) == world.partitions,
                "all partitions are paused",
            )
            await asyncio.sleep(1)
        await stream.stop()
        await stream.check()
        await _status(world, consumer, lambda status: status.paused == (), "no partition is paused")


async def test_redis_may_lose_everything(world: World) -> None:
    user, batch = world.names.user("teacher"), world.names.batch()
    async with world.consumer() as consumer:
        world.publisher.send_all([world.registration(batch, user), world.slot(batch, "essay-1")])
        stream = Stream(world, pause_s=0.01)
        await world.logged(user, 1)
        await asyncio.sleep(0.5)
        await stream.stop()
        await stream.check()
        await _all_committed(world, consumer)  # so that no commit is due that would notice
        await world.lose_redis()
        await stream.check()
        world.publisher.send_all([world.slot(batch, "essay-2")])
        assert essays(await world.logged(user, 2)) == ["essay-1", "essay-2"]
        assert await _restarts(consumer, "lost_writes") == 1


async def test_contexts_come_back_before_the_events(world: World) -> None:
    user = world.names.user()
    batches = [world.names.batch(number) for number in range(40)]
    async with world.consumer(kafka={"max_poll_records": 5}) as consumer:
        world.publisher.send_all(world.registration(batch, user) for batch in batches)
        world.publisher.send_all(world.slot(batch, f"{batch}-essay") for batch in batches)
        await world.logged(user, 40)
        parked = await world.counted(consumer, "parked")
        await world.lose_redis()
        await world.logged(user, 40)
        assert await world.counted(consumer, "parked") == parked


async def _all_committed(world: World, consumer: Consumer) -> None:
    async def done() -> bool:
        return await world.in_flight(consumer) == 0

    await world.until(done, "all is committed")


async def _restarts(consumer: Consumer, cause: str) -> int:
    (family,) = [each for each in await consumer.metrics() if each.name == "doorstep_consumer_restarts"]
    (value,) = [
        sample.value
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels == {"cause": cause}
    ] or [0]
    return int(value)


async def test_keys_that_were_put_right_are_counted(world: World) -> None:
    user = world.names.user()
    async with world.consumer() as consumer:
        world.publisher.send_all([world.notification(user, "one")])
        await world.logged(user, 1)
        with redis.Redis.from_url(world.valkey.url) as client:
            _, head, _ = Keyspace("doorstep").user(slot_of(user), user)
            assert await asyncio.to_thread(client.delete, head) == 1
        world.publisher.send_all([world.notification(user, "two")])
        assert [each["event"] for each in await world.logged(user, 1)] == ["two"]
        for repairs in (1, 1):  # asking does not change it
            families = {each.name: each for each in await consumer.metrics()}
            values = [sample.value for sample in families["doorstep_consumer_log_repairs"].samples]
            assert values[0] == repairs


async def test_redis_may_lose_what_it_had_acknowledged_last(
    kafka: KafkaServer, valkey_factory: ValkeyFactory, names: Names, tmp_path: Path
) -> None:
    valkey = valkey_factory(appendonly="no")
    world = World(kafka, valkey, names, tmp_path)
    async with world.consumer():
        stream = Stream(world, pause_s=0.01)
        await asyncio.sleep(0.5)
        await _save(valkey)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(lambda: valkey.stop(kill=True))
        await asyncio.to_thread(valkey.start)
        await asyncio.sleep(0.3)
        await stream.stop()
        await stream.check()


async def _save(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        await asyncio.to_thread(client.save)


async def test_kafka_may_stop_and_start(
    kafka_factory: KafkaFactory, valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    kafka = kafka_factory()
    world = World(kafka, valkey, names, tmp_path)
    async with world.consumer() as consumer:
        stream = Stream(world, pause_s=0.01)
        await asyncio.sleep(0.5)
        async with _away(world, consumer, "kafka", kafka):
            await asyncio.sleep(1)
        await stream.stop()
        await stream.check()


async def test_a_consumer_waits_for_servers_that_start_later(
    kafka: KafkaServer, valkey_factory: ValkeyFactory, names: Names, tmp_path: Path
) -> None:
    valkey = valkey_factory()
    world = World(kafka, valkey, names, tmp_path)
    valkey.stop()
    consumer = Consumer("consumer-0", world.settings(), "consumer-0")
    try:
        await _status(world, consumer, _is_open("redis"), "the breaker of Redis is open")
        assert (await consumer.status()).state == "connecting"
        await asyncio.to_thread(valkey.start)
        world.publisher.send_all([world.notification(names.user())])
        await world.logged(names.user(), 1)
    finally:
        await consumer.stop()


async def test_redis_may_lose_everything_under_load(world: World) -> None:
    async with world.consumer() as consumer:
        stream = Stream(world, pause_s=0.005)
        await asyncio.sleep(0.7)
        await world.lose_redis()
        await asyncio.sleep(0.7)
        await stream.stop()
        await stream.check()
        assert await _restarts(consumer, "lost_writes") == 1


async def test_nobody_is_reset_while_what_was_lost_is_on_its_way_back(world: World) -> None:
    user = world.names.user()
    async with world.consumer(kafka={"max_poll_records": 20}) as consumer:
        world.publisher.send_all(
            world.notification(user, f"note-{number}")._replace(key=b"one") for number in range(500)
        )
        await world.logged(user, 500)
        await _all_committed(world, consumer)
        connection = connect(world.settings().redis)
        log = Log(connection, HistorySettings())
        (head,) = await log.heads([user])
        assert head is not None
        assert head.seq == 500
        await world.lose_redis()
        waited = 0
        while (page := (await log.read([Want(user, head, 10)]))[0]) is None:
            waited += 1
            await asyncio.sleep(0.01)
        assert (page.reset, page.head, waited > 0) == (None, head, True)

        async def is_rebuilt() -> bool:
            return await log.heads([user]) == [head]

        await world.until(is_rebuilt, "all is as it was")
        assert await Rebuilding(connection, world.settings().kafka.group_id).goals() == {}
        await connection.close()


async def test_nobody_is_reset_who_had_seen_what_no_commit_covered(world: World) -> None:
    async with world.consumer(kafka={"commit_interval_ms": 1500}) as consumer:
        head = await _published(world, 100)
        assert await world.in_flight(consumer) > 0
        await world.lose_redis()
        assert await _told(world, head) == (None, head)


async def test_nobody_is_reset_who_had_seen_what_was_written_after_the_checkpoints(
    kafka: KafkaServer, valkey_factory: ValkeyFactory, names: Names, tmp_path: Path
) -> None:
    """A Redis that comes back with the checkpoint of the last commit, and without what was appended since."""
    valkey = valkey_factory(appendonly="no")
    world = World(kafka, valkey, names, tmp_path)
    async with world.consumer(kafka={"commit_interval_ms": 1500}) as consumer:
        await _published(world, 10)
        await _all_committed(world, consumer)
        await _save(valkey)
        head = await _published(world, 100)
        assert await world.in_flight(consumer) > 0
        await asyncio.to_thread(lambda: valkey.stop(kill=True))
        await asyncio.to_thread(valkey.start)
        assert await _told(world, head) == (None, head)


async def _published(world: World, count: int) -> Cursor:
    """The end of a user's log who gets notifications, in one order, until he has so many."""
    user = world.names.user()
    for number in range(len(await world.log(user)), count):
        world.publisher.send(world.notification(user, f"note-{number}")._replace(key=b"one"))
    world.publisher.flush()
    await world.logged(user, count)
    head = await world.head(user)
    assert head is not None
    assert head.seq == count
    return head


async def _told(world: World, seen: Cursor) -> tuple[str | None, Cursor]:
    """What a client is told who comes with this cursor as long as it takes: why it is reset, and the head."""
    connection = connect(world.settings().redis)
    log, told = Log(connection, HistorySettings()), list[Page]()

    async def is_told() -> bool:
        with contextlib.suppress(StoreError):
            told.extend(filter(None, await log.read([Want(world.names.user(), seen, 10)])))
        return bool(told)

    await world.until(is_told, "it can be said")
    await connection.close()
    return told[0].reset, told[0].head
