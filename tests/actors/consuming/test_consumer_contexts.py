"""Events whose batch has no known user wait for it: on a real Kafka and a real Valkey."""

import asyncio

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.redis.connection import connect
from tests.actors.consuming.consumer_world import World, essays


async def test_a_late_context_releases_its_events_in_order(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    wires = [world.slot(batch, f"essay-{number}") for number in range(40)]
    async with world.consumer(context={"sweep_interval_s": 600}) as consumer:  # nobody else releases them
        for wire in wires[:30]:
            world.publisher.send(wire._replace(key=b"one key"))
        world.publisher.flush()
        await world.until(lambda: _parked(world, consumer, 30), "30 events are parked")
        assert await world.log(user) == []
        world.publisher.send_all([world.registration(batch, user)])
        world.publisher.send_all(wire._replace(key=b"one key") for wire in wires[30:])
        assert essays(await world.logged(user, 40)) == [f"essay-{number}" for number in range(40)]


async def _parked(world: World, consumer: Consumer, count: int) -> bool:
    return await world.counted(consumer, "parked") == count


async def _oldest_age_s(consumer: Consumer) -> float:
    samples = [sample for family in await consumer.metrics() for sample in family.samples]
    return sum(each.value for each in samples if each.name == "doorstep_parked_oldest_age_seconds")


async def test_a_context_that_comes_twice_changes_nothing(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    async with world.consumer():
        world.publisher.send_all([world.slot(batch, "essay-1")])
        world.publisher.send_all([world.registration(batch, user), world.registration(batch, user)])
        world.publisher.send_all([world.slot(batch, "essay-2")])
        assert sorted(essays(await world.logged(user, 2))) == ["essay-1", "essay-2"]


async def test_a_context_that_contradicts_is_a_dead_letter(world: World) -> None:
    first, second, batch = world.names.user(1), world.names.user(2), world.names.batch()
    contradiction = world.registration(batch, second)
    async with world.consumer():
        world.publisher.send_all(
            [world.registration(batch, first), contradiction, world.slot(batch, "essay-1")]
        )
        assert essays(await world.logged(first, 1)) == ["essay-1"]
        (letter,) = await world.dead_letters(1)
    assert letter.reason == "context_conflict"
    assert letter.value == contradiction.value
    assert letter.error["operation"] == "register_context"
    assert letter.error["details"]["batch_id"] == batch
    assert await world.log(second) == []


async def test_a_context_that_never_comes_makes_dead_letters(world: World) -> None:
    batch = world.names.batch()
    wires = [world.slot(batch, f"essay-{number}") for number in range(3)]
    async with world.consumer(context={"park_ttl_s": 1, "sweep_interval_s": 0.2}) as consumer:
        world.publisher.send_all(wires)
        await world.until(lambda: _oldest_age_s(consumer), "a parked event with an age")
        dead_letters = await world.dead_letters(3)
    assert {letter.reason for letter in dead_letters} == {"context_timeout"}
    assert sorted((letter.key, letter.value) for letter in dead_letters) == sorted(
        (wire.key, wire.value) for wire in wires
    )
    assert dead_letters[0].error["correlation_id"] is not None
    connection = connect(world.settings().redis)
    assert await Contexts(connection, world.settings().context).total() == 0
    await connection.close()


async def test_one_batch_may_not_fill_the_parking_space(world: World) -> None:
    batch, user = world.names.batch(), world.names.user()
    async with world.consumer(context={"max_parked_per_batch": 5}) as consumer:
        world.publisher.send_all(
            world.slot(batch, f"essay-{number}")._replace(key=b"one key") for number in range(8)
        )
        dead_letters = await world.dead_letters(3)
        world.publisher.send_all([world.registration(batch, user)])
        assert essays(await world.logged(user, 5)) == [f"essay-{number}" for number in range(5)]
        assert await world.counted(consumer, "dead_lettered", "park_full") == 3
    assert [letter.reason for letter in dead_letters] == ["park_full"] * 3


async def test_a_full_parking_space_holds_events_back_and_no_contexts(world: World) -> None:
    user, known = world.names.user(), world.names.user("known")
    batches = [world.names.batch(number) for number in range(4)]
    async with world.consumer(context={"max_parked": 10}) as consumer:
        for batch in batches:
            world.publisher.send_all(
                world.slot(batch, f"{batch}-{number}")._replace(key=batch.encode()) for number in range(5)
            )

        async def events_are_paused() -> bool:
            paused = (await consumer.status()).paused
            return len(paused) == world.events and not any(name.startswith(world.contexts) for name in paused)

        async def nothing_is_paused() -> bool:
            return (await consumer.status()).paused == ()

        await world.until(events_are_paused, "event partitions are paused, contexts are not")
        world.publisher.send_all([world.notification(known, "waits")])
        await asyncio.sleep(0.3)
        assert await world.log(known) == []
        world.publisher.send_all(world.registration(batch, user) for batch in batches)
        logged = essays(await world.logged(user, 20))
        await world.logged(known, 1)
        await world.until(nothing_is_paused, "no partition is paused")
    for batch in batches:
        of_batch = [essay for essay in logged if essay.startswith(batch)]
        assert of_batch == [f"{batch}-{number}" for number in range(5)]


async def test_a_sweeper_releases_what_a_crash_left(world: World) -> None:
    user, batch = world.names.user(), world.names.batch()
    connection = connect(world.settings().redis)
    async with world.consumer() as consumer:
        world.publisher.send_all([world.slot(batch, "essay-1")])
        await world.until(lambda: _parked(world, consumer, 1), "the event is parked")
        # as a consumer leaves it that dies between a registration and its release
        assert await Contexts(connection, world.settings().context).register(batch, user) == "new"
        assert essays(await world.logged(user, 1)) == ["essay-1"]
    await connection.close()
