"""The audit on a real feed: what was overtaken is no alarm, what was lost is one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import pytest
import redis

from doorstep.actors.holding import audit as audit_module
from doorstep.actors.holding.audit import Audit
from doorstep.actors.holding.inbox import Inbox
from doorstep.actors.holding.registry import Kind, Registry
from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.feed import Feed
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.values import Page, Pushed, Want
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.helpers import append, redis_settings, stamp
from tests.conftest import ProxyFactory
from tests.support.servers import ValkeyServer
from tests.support.waiting import until

USER = "teacher-1"


class Device:
    """A subscriber that reads when it is told to, and writes down that it was."""

    kind: Kind = "socket"

    def __init__(self, user_id: str, start: Page) -> None:
        self.user_id = user_id
        self.inbox = Inbox(None)
        self.inbox.page(start)
        self.told = 0

    def see_head(self, head: Cursor) -> bool:
        needed = self.inbox.see_head(head) == "read"
        self.told += needed
        return needed

    def push(self, pushed: Iterable[Pushed]) -> None:
        for user_id, seq, previous, digest, _ in pushed:
            if user_id.decode() == self.user_id:
                self.inbox.push(seq, previous, digest)

    async def until_at(self, seq: int) -> None:
        """Wait until it has got so many notifications."""
        await until(lambda: self.inbox.cursor is not None and self.inbox.cursor.seq == seq)


class World:
    """One live device, its log, and an audit."""

    def __init__(self, log: Log, device: Device, audit: Audit, feed: Feed) -> None:
        self.log = log
        self.device = device
        self.audit = audit
        self.feed = feed
        self.deaf = False
        """Whether what comes over the feed is thrown away."""


@contextlib.asynccontextmanager
async def world(url: str, *, heads: str = "", feed: str = "") -> AsyncIterator[World]:
    """A world at a server; `heads` and `feed`: other ways to it, for the audit's looks and for its feed."""
    connections = [connect(redis_settings(way or url)) for way in (url, heads, feed)]
    straight, of_heads, of_feed = connections
    log = Log(straight, HistorySettings())
    await stamp(straight)
    (start,) = await log.read([Want(USER, None, 1)])
    assert start is not None
    device = Device(USER, start)
    registry = Registry[Device](range(SLOTS), {"socket": 9, "poll": 9})
    registry.add(device)

    def push(_: int, pushed: Iterable[Pushed]) -> None:
        if not here.deaf:
            device.push(pushed)

    subscribed = asyncio.Event()
    the_feed = Feed(of_feed, push, _garbled, lambda _: subscribed.set(), lambda: None)
    the_feed.want([slot_of(USER)])
    audit = Audit(Log(of_heads, HistorySettings()), the_feed, Breaker("redis"), registry)
    here = World(log, device, audit, the_feed)
    running = [asyncio.create_task(the_feed.run()), asyncio.create_task(audit.run())]
    await subscribed.wait()
    try:
        yield here
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        for connection in connections:
            await connection.close()


def _garbled(slot: int, error: Exception) -> None:
    raise AssertionError(f"a message of slot {slot} could not be read") from error


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_PAUSE_S", 0.02)


async def test_a_push_that_overtakes_the_answer_with_the_heads_is_no_alarm(
    valkey: ValkeyServer, proxy_factory: ProxyFactory
) -> None:
    proxy = proxy_factory(valkey.url)
    async with world(valkey.url, heads=f"redis://127.0.0.1:{proxy.port}") as here:
        for number in range(1, 8):
            proxy.hold_replies()
            await asyncio.sleep(0.05)  # a look is under way, and its answer is kept back
            await append(here.log, USER, f"k{number}")
            await here.device.until_at(number)
            proxy.release_replies()
            await asyncio.sleep(0.1)
        assert (here.audit.repairs, here.device.told) == (0, 0)


async def test_a_feed_that_is_slow_is_no_alarm(valkey: ValkeyServer, proxy_factory: ProxyFactory) -> None:
    """As under load: heads are answered at once, and what was published waits in the kernel."""
    proxy = proxy_factory(valkey.url)
    async with world(valkey.url, feed=f"redis://127.0.0.1:{proxy.port}") as here:
        for number in range(1, 5):
            proxy.hold_replies()
            await append(here.log, USER, f"k{number}")
            await asyncio.sleep(0.2)  # ten looks find it behind
            proxy.release_replies()
            await here.device.until_at(number)
        assert (here.audit.repairs, here.device.told) == (0, 0)


async def test_a_push_that_never_came_is_an_alarm(
    valkey: ValkeyServer, capfd: pytest.CaptureFixture[str]
) -> None:
    async with world(valkey.url) as here:
        here.deaf = True
        await append(here.log, USER, "a")
        await until(lambda: here.device.told > 0)
        assert here.audit.repairs == 1
        assert "push_lost" in capfd.readouterr().out


async def test_a_log_that_lost_writes_is_repaired_without_an_alarm(valkey: ValkeyServer) -> None:
    async with world(valkey.url) as here:
        await append(here.log, USER, "a", "b")
        await here.device.until_at(2)
        with redis.Redis.from_url(valkey.url) as client:
            client.delete(*client.keys(f"*:{USER}"))
        await until(lambda: here.device.told > 0)
        assert here.audit.repairs == 0


async def test_a_doubt_is_settled_by_the_head_of_everybody_in_the_slot(
    valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_PAUSE_S", 3600)
    async with world(valkey.url) as here:
        here.deaf = True
        await append(here.log, USER, "a")
        here.audit.doubt([slot_of(USER) ^ 1])
        here.audit.doubt([slot_of(USER)])
        await until(lambda: here.device.told > 0)
        assert here.audit.repairs == 0
