"""How long subscribers wait for what Redis has lost, on a real one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis
from structlog.testing import capture_logs

from doorstep.actors.holding.catch_up import CatchUp
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Page, Want
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.helpers import START, know, redis_settings
from tests.support.servers import ValkeyServer
from tests.support.waiting import PATIENCE_S, until


class Waiting:
    """A subscriber with a cursor of which nothing is known any more."""

    def __init__(self) -> None:
        self.page: asyncio.Future[Page] = asyncio.get_running_loop().create_future()

    def want(self) -> Want:
        return Want("teacher-1", Cursor(7, "f" * 16), 10)

    def take(self, page: Page) -> None:
        self.page.set_result(page)

    def fail(self, error: Exception) -> None:
        self.page.set_exception(error)


@pytest.fixture
async def flushed(valkey: ValkeyServer) -> AsyncIterator[Connection]:
    """A connection to a Redis that has just lost everything."""
    await _flush(valkey)
    connection = connect(redis_settings(valkey.url))
    yield connection
    await connection.close()


async def _flush(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        await asyncio.to_thread(client.flushall)


def _catch_up(connection: Connection, patience_s: float) -> CatchUp:
    log, stamp = Log(connection, HistorySettings()), Stamp(connection, START.digest)
    return CatchUp(log, stamp, Breaker("redis"), patience_s=patience_s)


async def test_patience_with_lost_writes_ends(flushed: Connection) -> None:
    """Whatever keeps consumers from coming back: then the client is told to start over."""
    catch_up, first, second = _catch_up(flushed, 2), Waiting(), Waiting()
    loop = asyncio.get_running_loop()
    task, since = loop.create_task(catch_up.run()), loop.time()
    catch_up.add(first)
    page = await asyncio.wait_for(first.page, PATIENCE_S)
    assert (page.reset, page.head) == ("gone", START)
    assert loop.time() - since >= 2
    since = loop.time()
    catch_up.add(second)  # nobody waits a second time
    assert (await asyncio.wait_for(second.page, PATIENCE_S)).reset == "gone"
    assert loop.time() - since < 2
    assert catch_up.waiting == 0
    task.cancel()


async def test_who_waits_is_told_as_soon_as_a_consumer_has_looked(flushed: Connection) -> None:
    catch_up, reader = _catch_up(flushed, 60), Waiting()
    task = asyncio.create_task(catch_up.run())
    catch_up.add(reader)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reader.page), 1)  # two looks
    assert await Stamp(flushed, START.digest).ensure() == START.digest
    await know(flushed)
    assert (await asyncio.wait_for(reader.page, PATIENCE_S)).reset == "gone"
    task.cancel()


async def test_an_empty_store_has_lost_nothing(flushed: Connection, valkey: ValkeyServer) -> None:
    """At the very first start of all there is nothing that could come back, and no reason for a warning."""
    catch_up, first, second = _catch_up(flushed, 60), Waiting(), Waiting()
    task = asyncio.create_task(catch_up.run())
    with capture_logs() as lines:
        catch_up.add(first)
        await until(lambda: catch_up.waiting == 1)
        await Stamp(flushed, START.digest).ensure()
        await know(flushed)
        await asyncio.wait_for(first.page, PATIENCE_S)
    assert [(line["event"], line["log_level"]) for line in lines] == [("waiting_for_consumers", "info")]
    with capture_logs() as lines:
        await _flush(valkey)
        catch_up.add(second)
        await until(lambda: catch_up.waiting == 1)
    assert [(line["event"], line["log_level"]) for line in lines] == [("waiting_for_lost_writes", "warning")]
    task.cancel()
