"""A Redis that loses writes is noticed, once, whoever looks first: on a real Valkey."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis

from doorstep.actors.consuming.rollback_guard import RollbackGuard
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.rebuilding import Rebuilding
from doorstep.actors.store.redis.connection import Connection, connect
from doorstep.actors.store.redis.errors import StoreLost, StoreUnavailable
from doorstep.actors.store.stamp import Stamp
from doorstep.config.settings import RedisSettings
from tests.conftest import ValkeyFactory
from tests.support.servers import ValkeyServer

PARTITION = ("topic", 0)


class Guarded:
    """A guard, and how often it has told of a loss."""

    def __init__(self, connection: Connection) -> None:
        self.checkpoints = Checkpoints(connection)
        self.losses = 0
        self.guard = RollbackGuard(
            self.checkpoints,
            Stamp(connection),
            Rebuilding(connection, "group"),
            {},
            group="group",
            name="consumer-0.abc",
            on_lost=self._note,
        )

    def _note(self) -> None:
        self.losses += 1


@pytest.fixture
async def connection(valkey: ValkeyServer) -> AsyncIterator[Connection]:
    connection = connect(RedisSettings.model_validate({"url": valkey.url}))
    yield connection
    await connection.close()


async def test_it_trusts_nothing_before_it_has_left_its_canary(connection: Connection) -> None:
    guarded = Guarded(connection)
    with pytest.raises(StoreUnavailable):
        await guarded.guard.trust()
    with pytest.raises(StoreUnavailable):
        await guarded.guard.keep({PARTITION: 1})
    await guarded.guard.verify()
    canary = await guarded.guard.trust()
    assert canary.is_among(await guarded.checkpoints.read("group"))


async def test_the_canary_grows_with_the_checkpoints(connection: Connection) -> None:
    guarded = Guarded(connection)
    await guarded.guard.verify()
    before = await guarded.guard.trust()
    await guarded.guard.keep({PARTITION: 17})
    after = await guarded.guard.trust()
    assert after.checkpoint > before.checkpoint
    found = await guarded.checkpoints.read("group")
    assert found[PARTITION].offset == 17
    assert after.is_among(found)
    assert not after._replace(checkpoint=after.checkpoint + 1).is_among(found)


async def test_a_loss_is_told_once_and_then_it_begins_anew(
    connection: Connection, valkey: ValkeyServer
) -> None:
    guarded = Guarded(connection)
    await guarded.guard.verify()
    before = await guarded.guard.trust()
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    looks = [guarded.guard.verify(), guarded.guard.keep({PARTITION: 17}), guarded.guard.verify()]
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert [type(each) for each in found] == [StoreLost] * 3
    assert guarded.losses == 1
    assert await guarded.checkpoints.read("group") == {}  # nothing hides the loss
    await guarded.guard.verify()
    assert (await guarded.guard.trust()).checkpoint > before.checkpoint
    assert guarded.losses == 1


async def test_another_server_is_a_loss_though_it_has_the_canary(valkey_factory: ValkeyFactory) -> None:
    valkey = valkey_factory()
    connection = connect(RedisSettings.model_validate({"url": valkey.url}))
    guarded = Guarded(connection)
    await guarded.guard.verify()
    await asyncio.to_thread(valkey.stop)
    await asyncio.to_thread(valkey.start)
    with pytest.raises(StoreLost):
        await guarded.guard.verify()
    assert guarded.losses == 1
    await connection.close()
