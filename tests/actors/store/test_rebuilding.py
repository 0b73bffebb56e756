"""What readers are told while Redis has lost writes, on a real server."""

import pytest

from doorstep.actors.store.log import Log
from doorstep.actors.store.rebuilding import Rebuilding
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Page, Want
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import KEYS, START, append, cursors_of, redis_settings, stamp
from tests.conftest import ValkeyFactory

USER = "teacher-1"
CHAIN = cursors_of("abc")
GONE = Cursor(9, "f" * 16)


async def told(log: Log, after: Cursor | None, *, now: bool = False) -> Page | None:
    (page,) = await log.read([Want(USER, after, 9)], now=now)
    return page


async def test_verdicts_wait_while_partitions_are_rebuilt(connection: Connection, log: Log) -> None:
    await append(log, USER, *"abc")
    rebuilding = Rebuilding(connection, "g")
    await rebuilding.begin({("t", 0): 7, ("t", 1): 9})
    assert await told(log, None) is await told(log, GONE) is await told(log, Cursor(1, "f" * 16)) is None
    assert await log.heads([USER]) == [None]
    for after, count in ((START, 3), (CHAIN[1], 2), (CHAIN[3], 0)):  # the chain proves these
        page = await told(log, after)
        assert page is not None
        assert (len(page.notifications), page.reset) == (count, None)
    at_last = await told(log, GONE, now=True)
    assert at_last is not None
    assert at_last.reset == "diverged"
    await rebuilding.end([("t", 0)])
    assert await told(log, GONE) is None
    await rebuilding.end([("t", 1)])
    page = await told(log, GONE)
    assert page is not None
    assert page.reset == "diverged"
    assert await log.heads([USER]) == [CHAIN[3]]


async def test_a_flushed_server_is_not_judged_before_a_consumer_knows_it(
    connection: Connection, log: Log, eyes: Eyes
) -> None:
    await append(log, USER, *"abc")
    eyes("FLUSHALL")
    assert await told(log, CHAIN[3]) is await told(log, None, now=True) is None
    await Stamp(connection, START.digest).ensure()
    assert await told(log, CHAIN[3]) is None
    page = await told(log, CHAIN[3], now=True)
    assert page is not None
    assert (page.reset, page.head) == ("gone", START)
    await stamp(connection)
    page = await told(log, CHAIN[3])
    assert page is not None
    assert page.reset == "gone"


@pytest.mark.parametrize("known", [False, True])
async def test_a_restarted_server_is_not_judged_before_a_consumer_knows_it(
    valkey_factory: ValkeyFactory, known: bool
) -> None:
    server = valkey_factory(appendfsync="always")
    first = connect(redis_settings(server.url))
    await stamp(first)
    await append(Log(first, HistorySettings()), USER, "a")
    await first.close()
    server.stop()
    server.start()
    connection = connect(redis_settings(server.url))
    log = Log(connection, HistorySettings())
    if known:
        await stamp(connection)
    page = await told(log, None)
    assert (page and page.head) == (CHAIN[1] if known else None)
    assert await log.heads([USER]) == [CHAIN[1] if known else None]
    await connection.close()


async def test_what_is_noted(connection: Connection, eyes: Eyes) -> None:
    rebuilding, other = Rebuilding(connection, "a group"), Rebuilding(connection, "group")
    await rebuilding.begin({})
    assert await rebuilding.goals() == {}
    await rebuilding.begin({("t", 0): 7})
    await rebuilding.begin({("t", 0): 5, ("t.2", 11): 2**40})
    assert await rebuilding.goals() == {("t", 0): 7, ("t.2", 11): 2**40}
    assert await other.goals() == {}
    assert 0 < eyes("TTL", KEYS.rebuilding(0)) <= 3600
    await other.end([("t", 0)])
    await rebuilding.end([("t", 0), ("u", 0)])
    assert await rebuilding.goals() == {("t.2", 11): 2**40}
    eyes("SET", KEYS.rebuilding(0), "foreign")
    assert await rebuilding.goals() == {}
    await rebuilding.end([("t", 0)])
    await rebuilding.begin({("t", 0): 3})
    assert await rebuilding.goals() == {("t", 0): 3}
