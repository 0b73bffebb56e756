"""The stamp of a store, and stores that share a server, on a real one."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.stamp import Stamp
from doorstep.config.settings import HistorySettings
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import KEYS, START, entry, know, read, redis_settings
from tests.actors.store.owner import Owner
from tests.support.servers import ValkeyServer

USER = "teacher-1"


async def test_whoever_comes_finds_the_same_id(connection: Connection, eyes: Eyes) -> None:
    eyes("FLUSHALL")
    ids = set(await asyncio.gather(*(Stamp(connection).ensure() for _ in range(20))))
    assert len(ids) == 1
    assert len(ids.pop()) == 16
    first = await Stamp(connection).ensure()
    eyes("FLUSHALL")
    assert await Stamp(connection).ensure() != first


async def test_the_id_comes_back_after_a_loss(connection: Connection, eyes: Eyes) -> None:
    stamp = Stamp(connection)
    id_ = await stamp.ensure()
    eyes("FLUSHALL")
    assert await stamp.ensure() == id_
    assert await Stamp(connection).ensure() == id_


async def test_what_there_is_counts_more_than_what_is_remembered(connection: Connection) -> None:
    assert await Stamp(connection, "a" * 16).ensure() == START.digest


@pytest.mark.parametrize(
    "spoil",
    [
        ("HSET", KEYS.stamp(0), "id", "x"),
        ("HSET", KEYS.stamp(0), "id", b"\xff" * 16),
        ("HSET", KEYS.stamp(0), "format", "x", "id", ""),
        ("HDEL", KEYS.stamp(0), "id"),
        ("SET", KEYS.stamp(0), "foreign"),
    ],
)
async def test_a_spoilt_stamp_is_put_right(
    connection: Connection, eyes: Eyes, spoil: tuple[str | bytes, ...]
) -> None:
    stamp = Stamp(connection)
    await stamp.ensure()
    eyes(*spoil)
    assert await stamp.ensure() == START.digest
    assert eyes("HMGET", KEYS.stamp(0), "format", "id") == [b"1", START.digest.encode()]


async def test_a_store_of_a_newer_doorstep_is_refused(connection: Connection, eyes: Eyes) -> None:
    eyes("HSET", KEYS.stamp(0), "format", 2, "id", "what it is then", "more", "of it")
    with pytest.raises(StoreMisconfigured, match=r"format 2, of a newer Doorstep.* run the newer one"):
        await Stamp(connection).ensure()
    assert eyes("HGET", KEYS.stamp(0), "format") == b"2"


async def test_stores_on_one_server_do_not_hear_each_other(valkey: ValkeyServer) -> None:
    """Production and staging, by database or by prefix, with a user of the same name."""
    stores = [("/0", "doorstep"), ("/1", "doorstep"), ("/0", "staging"), ("/0", "doorstep:more")]
    async with AsyncExitStack() as stack:
        owners, logs = [], []
        for database, prefix in stores:
            connection = connect(redis_settings(valkey.url + database, prefix=prefix))
            stack.push_async_callback(connection.close)
            await Stamp(connection).ensure()
            await know(connection)
            owner = Owner(connection)
            owner.start()
            stack.push_async_callback(owner.stop)
            await owner.feed.subscribe([slot_of(USER)])
            owners.append(owner)
            logs.append(Log(connection, HistorySettings()))
        for number, log in enumerate(logs):
            assert await log.append([entry(USER, "a", b"%d" % number)]) == 1
        for owner in owners:
            await owner.until(pushes=1)
        await asyncio.sleep(0.1)
        heard = [[payload for _, push in owner.pushes for *_, payload in push] for owner in owners]
        assert heard == [[b"0"], [b"1"], [b"2"], [b"3"]]
        cursors = {(await read(log, USER, None)).head for log in logs}
        assert len(cursors) == len(stores)
        for log in logs:
            kept = [await read(log, USER, cursor) for cursor in cursors]
            assert sorted(page.reset or "" for page in kept) == ["", *["diverged"] * 3]
