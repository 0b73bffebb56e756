"""The spec in Redis: compare and set, who lives, and what was carried out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis

from doorstep.actors.placement.spec import OtherFleetError, Spec, SpecError
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.spec_record import Beat, SpecRecord, open_record
from doorstep.config.settings import Settings, load_settings
from tests.support.servers import ValkeyServer
from tests.support.waiting import PATIENCE_S

OURS = Spec("here", 2, 1, "d", "1")


@pytest.fixture
def settings(valkey: ValkeyServer) -> Settings:
    return load_settings(redis={"url": valkey.url}, ray={"address": "head:6379"})


@pytest.fixture
async def record(settings: Settings) -> AsyncIterator[SpecRecord]:
    async with open_record(settings) as record:
        yield record


def _one_more_holder(found: Spec | None) -> Spec:
    assert found is not None
    return found.changed(holders=found.holders + 1)


async def test_who_was_slower_sees_what_the_faster_has_written(record: SpecRecord) -> None:
    await record.update(lambda _: OURS)
    updates = [record.update(_one_more_holder) for _ in range(5)]
    await asyncio.gather(*updates)
    assert await record.read() == replace(OURS, holders=7, generation=6)


async def test_a_change_that_raises_changes_nothing(record: SpecRecord) -> None:
    await record.update(lambda _: OURS)
    with pytest.raises(SpecError):
        await record.update(lambda found: (found or OURS).changed(holders=0))
    assert await record.read() == OURS


async def test_a_fleet_that_lives_keeps_its_record_from_others(record: SpecRecord) -> None:
    assert await record.agree(OURS, with_numbers=False) == OURS
    with pytest.raises(OtherFleetError, match="a fleet on here"):
        await record.agree(replace(OURS, fleet="elsewhere"), with_numbers=False)
    await record.forget()
    assert (await record.agree(replace(OURS, fleet="elsewhere"), with_numbers=False)).fleet == "elsewhere"


async def test_a_ray_of_our_own_begins_anew(settings: Settings, record: SpecRecord) -> None:
    await record.agree(OURS, with_numbers=False)
    own = settings.model_copy(update={"ray": settings.ray.model_copy(update={"address": None})})
    async with open_record(own) as ours:
        assert await ours.agree(OURS, with_numbers=False) == OURS
        again = await ours.agree(replace(OURS, fleet="next", holders=3), with_numbers=False)
        assert again == replace(OURS, fleet="next", holders=3, generation=2)
    assert await record.read() == OURS


async def test_a_generation_is_carried_out_when_the_supervisor_says_so(record: SpecRecord) -> None:
    waiting = asyncio.create_task(record.carried_out(2))
    await record.beat(Beat("here", 1))
    assert await record.heard() == Beat("here", 1)
    assert not (await asyncio.wait([waiting], timeout=0.3))[0]
    await record.beat(Beat("here", 3))
    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_value_that_is_not_ours_is_an_error(record: SpecRecord, valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.set("doorstep:{spec}:record:cluster", "hello")
        with pytest.raises(SpecError, match="can't be read"):
            await record.read()
        client.delete("doorstep:{spec}:record:cluster")
        client.hset("doorstep:{spec}:record:cluster", "a", "b")
        with pytest.raises(StoreError):
            await record.read()
