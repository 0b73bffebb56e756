"""Nobody waits for what transactions leave behind: on a real Kafka and Valkey."""

import asyncio

from confluent_kafka import Producer

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.kafka.offset_queries import OffsetQueries
from tests.actors.consuming.consumer_world import World


def _producer(world: World) -> Producer:
    producer = Producer({"bootstrap.servers": world.kafka.bootstrap, "transactional.id": world.names.topic()})
    producer.init_transactions(30)
    return producer


def _transaction(world: World, producer: Producer, name: str, count: int) -> None:
    producer.begin_transaction()
    for number in range(count):
        wire = world.notification(world.names.user(), f"{name}-{number}")
        producer.produce(wire.topic, wire.value, partition=0)
    assert producer.flush(30) == 0


async def _records(world: World, consumer: Consumer, metric: str) -> float | None:
    """The metric of the partition that transactions are written to."""
    labels = {"topic": world.notifications, "partition": "0"}
    samples = [each for family in await consumer.metrics() for each in family.samples]
    return next((each.value for each in samples if each.name == metric and each.labels == labels), None)


async def test_nothing_is_behind_a_transaction_that_is_over(world: World) -> None:
    producer = await asyncio.to_thread(_producer, world)
    queries = OffsetQueries(world.settings().kafka)
    partition = (world.notifications, 0)
    async with world.consumer() as consumer:
        await asyncio.to_thread(_transaction, world, producer, "kept", 3)
        await asyncio.to_thread(producer.commit_transaction, 30)
        await asyncio.to_thread(_transaction, world, producer, "aborted", 20)
        await asyncio.to_thread(producer.abort_transaction, 30)
        await world.logged(world.names.user(), 3)
        end = (await queries.ends([partition]))[partition]
        assert end >= 3 + 1 + 20 + 1  # each transaction has ended with a marker

        async def is_at_the_end() -> bool:
            commit = (await queries.committed([partition]))[partition]
            lag = await _records(world, consumer, "doorstep_consumer_lag_records")
            return lag == 0 and commit is not None and commit.offset == end

        await world.until(is_at_the_end, "there is no lag, and all is committed")
        assert len(await world.log(world.names.user())) == 3
    await queries.close()


async def test_what_an_open_transaction_holds_back_is_shown_apart(world: World) -> None:
    producer = await asyncio.to_thread(_producer, world)
    async with world.consumer() as consumer:
        await asyncio.to_thread(_transaction, world, producer, "open", 3)

        async def is_held_back(records: int) -> bool:
            unstable = await _records(world, consumer, "doorstep_consumer_unstable_records")
            lag = await _records(world, consumer, "doorstep_consumer_lag_records")
            return (unstable, lag) == (records, 0)

        await world.until(lambda: is_held_back(3), "what is held back is no lag")
        await asyncio.to_thread(producer.commit_transaction, 30)
        await world.until(lambda: is_held_back(0), "nothing is held back")
        await world.logged(world.names.user(), 3)
