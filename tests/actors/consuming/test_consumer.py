"""The consumer on a real Kafka and a real Valkey: from topics to logs."""

import asyncio

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from doorstep.actors.consuming.consumer import Consumer
from tests.actors.consuming.consumer_world import World, essays
from tests.support.records import stable_uuid


async def test_events_reach_their_users_in_the_order_of_their_key(world: World) -> None:
    users = [world.names.user(number) for number in range(5)]
    kinds = [f"note-{number}" for number in range(60)]
    async with world.consumer():
        world.publisher.send_all(world.notification(user, kind) for kind in kinds for user in users)
        for user in users:
            assert [each["event"] for each in await world.logged(user, 60)] == kinds


async def test_a_notification_says_what_its_event_said(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    wire = world.slot(batch, "essay-1", event_id="0A0B", metadata={"traceparent": traceparent})
    world.publisher.send_all([world.registration(batch, user), wire])
    async with world.consumer():
        (notification,) = await world.logged(user, 1)
    assert notification["event"] == "essay.slot.assigned"
    assert notification["correlation_id"] == stable_uuid("correlation", batch, "essay-1")
    assert notification["traceparent"] == traceparent
    assert notification["data"]["essay_id"] == "essay-1"


async def test_repeats_are_swallowed(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    once = [world.slot(batch, f"essay-{number}") for number in range(20)]
    anew = [world.slot(batch, f"essay-{number}", event_id=f"again-{number}") for number in range(20)]
    world.publisher.send_all([world.registration(batch, user)])
    async with world.consumer() as consumer:
        world.publisher.send_all([*once, *once, *anew])
        await world.until(lambda: _all_done(world, consumer, 60), "all 60 records are done with")
    logged = essays(await world.log(user))
    assert sorted(logged) == sorted(f"essay-{number}" for number in range(20))


async def _all_done(world: World, consumer: Consumer, count: int) -> bool:
    done = [await world.counted(consumer, outcome) for outcome in ("appended", "repeated")]
    return sum(done) == count


async def test_what_was_committed_is_not_read_again(world: World) -> None:
    user = world.names.user()
    async with world.consumer(kafka={"commit_interval_ms": 600_000}):  # so it is the stop that commits
        world.publisher.send_all(world.notification(user, f"old-{number}") for number in range(50))
        await world.logged(user, 50)
    async with world.consumer() as consumer:
        world.publisher.send_all([world.notification(user, "new")])
        await world.logged(user, 51)
        assert await world.counted(consumer, "appended") == 1
        assert await world.counted(consumer, "repeated") == 0


async def test_start_latest_skips_old_events_and_no_contexts(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    world.publisher.send_all([world.registration(batch, user), world.slot(batch, "old")])
    async with world.consumer(kafka={"start": "latest"}):
        world.publisher.send_all([world.slot(batch, "new")])
        assert essays(await world.logged(user, 1)) == ["new"]
        await asyncio.sleep(0.3)
        assert essays(await world.log(user)) == ["new"]


async def test_little_is_in_flight_and_all_gets_through(world: World) -> None:
    user = world.names.user()
    world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(1000))
    most = 0
    async with world.consumer(kafka={"commit_interval_ms": 50}, history={"dedupe_window": 7}) as consumer:
        while len(await world.log(user)) < 1000:
            most = max(most, await world.in_flight(consumer))
            await asyncio.sleep(0)
    assert 0 < most <= 7


async def test_a_small_window_is_shared_by_all_partitions(world: World) -> None:
    """More partitions than it has places: nothing is refused, nothing waits for ever."""
    users = [world.names.user(number) for number in range(world.events)]
    async with world.consumer(history={"dedupe_window": 2}) as consumer:
        for user in users:
            world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(5))
        for user in users:
            await world.logged(user, 5)
        assert await world.in_flight(consumer) <= 2


async def test_status_names_partitions_and_lag(world: World) -> None:
    user = world.names.user()
    async with world.consumer() as consumer:
        world.publisher.send_all(world.notification(user, f"note-{number}") for number in range(10))
        await world.logged(user, 10)
        status = await consumer.status()
        assert status.state == "running"
        assert len(status.partitions) == world.partitions
        assert status.paused == ()
        assert [(breaker.name, breaker.state) for breaker in status.breakers] == [
            ("redis", "closed"),
            ("kafka", "closed"),
        ]

        async def knows_lag() -> bool:
            status = await consumer.status()
            return set(status.lag) == set(status.partitions) and not any(status.lag.values())

        await world.until(knows_lag, "there is no lag")
    assert (await consumer.status()).state == "stopped"


async def test_partitions_may_come_into_being_later(world: World) -> None:
    user = world.names.user()
    async with world.consumer(kafka={"start": "latest"}) as consumer:
        admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
        for grown in admin.create_partitions([NewPartitions(world.notifications, 5)]).values():
            grown.result(timeout=30)
        world.publisher.send(world.notification(user, "note"), partition=4)
        world.publisher.flush()
        assert [each["event"] for each in await world.logged(user, 1)] == ["note"]
        assert f"{world.notifications}/4" in (await consumer.status()).partitions
