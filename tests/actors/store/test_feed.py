"""Feeds on a real server: what is pushed, and what a break looks like to the owner."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgpack
import pytest

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.store.feed import read_message
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreMisconfigured, StoreUnavailable
from doorstep.config.settings import HistorySettings
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import KEYS, append, by_slot, cursors_of, entry, know, redis_settings, stamp
from tests.actors.store.owner import Owner
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers import ValkeyServer
from tests.support.waiting import PATIENCE_S, a_while

USER = "teacher-1"
SLOT = slot_of(USER)


@pytest.fixture
async def owner(connection: Connection) -> AsyncIterator[Owner]:
    """An owner with a running feed of no slots."""
    owner = Owner(connection)
    owner.start()
    yield owner
    await owner.stop()


async def test_what_is_new_is_pushed_as_it_was_appended(owner: Owner, log: Log) -> None:
    await owner.feed.subscribe([SLOT])
    await append(log, USER, "a", "b", "a")
    await append(log, USER, "b")
    await append(log, USER, "b", "c")
    await owner.until(pushes=2)
    user, chain = USER.encode(), [cursor.digest.encode() for cursor in cursors_of("abc")]
    assert owner.pushes == [
        (
            SLOT,
            [
                (user, 1, chain[0], chain[1], b'{"id":"a"}'),
                (user, 2, chain[1], chain[2], b'{"id":"b"}'),
            ],
        ),
        (SLOT, [(user, 3, chain[2], chain[3], b'{"id":"c"}')]),
    ]


async def test_one_push_a_slot_and_only_of_the_wanted_ones(owner: Owner, log: Log) -> None:
    users = by_slot(f"user-{number}" for number in range(300))
    wanted = sorted(users)[:20]
    await owner.feed.subscribe(wanted)
    await log.append([entry(user, f"k-{user}") for of_slot in users.values() for user in of_slot])
    await owner.until(pushes=len(wanted))
    await a_while(0.05)
    assert {slot: [user.decode() for user, *_ in push] for slot, push in owner.pushes} == {
        slot: users[slot] for slot in wanted
    }
    assert len(owner.pushes) == len(wanted)


async def test_large_and_odd_payloads(owner: Owner, log: Log) -> None:
    await owner.feed.subscribe([SLOT])
    payloads = [bytes(range(256)), b"", b"x" * 2_000_000]
    await log.append([entry(USER, f"{len(each)}", each) for each in payloads])
    await owner.until(pushes=2)  # two calls, as they are large
    assert [payload for _, push in owner.pushes for *_, payload in push] == payloads


async def test_slots_come_and_go(owner: Owner, log: Log) -> None:
    await owner.until(events=["subscribed"])
    await owner.feed.subscribe([SLOT])
    await owner.until(events=["subscribed", "subscribed"])
    await owner.feed.subscribe([SLOT])
    await append(log, USER, "a")
    await owner.until(pushes=1)
    owner.feed.unsubscribe([SLOT, 7])
    await owner.feed.subscribe([(SLOT + 1) % 256])  # returns after the unsubscription has settled
    await append(log, USER, "b")
    await owner.feed.subscribe([SLOT])
    await append(log, USER, "c")
    await owner.until(pushes=2)
    assert owner.seen() == [(USER, 1), (USER, 3)]
    assert owner.feed.live
    assert "lost" not in owner.events
    assert owner.subscribed == [set(), {SLOT}, {(SLOT + 1) % 256}, {SLOT}], (
        "somebody is told more than is new"
    )


@pytest.mark.parametrize("turns", range(6))
async def test_a_slot_that_is_wanted_again_while_it_goes(owner: Owner, log: Log, turns: int) -> None:
    await owner.feed.subscribe([SLOT])
    owner.feed.unsubscribe([SLOT])
    for _ in range(turns):
        await asyncio.sleep(0)
    await owner.feed.subscribe([SLOT])
    await append(log, USER, "a")
    await owner.until(pushes=1)


@pytest.mark.parametrize("kinds", [["pubsub"], ["normal", "pubsub"]])
async def test_a_cut_feed_subscribes_again(owner: Owner, log: Log, eyes: Eyes, kinds: list[str]) -> None:
    await owner.feed.subscribe([SLOT])
    await owner.feed.subscribe([SLOT + 1])
    owner.events.clear()
    for round_ in range(3):
        for kind in kinds:
            eyes("CLIENT", "KILL", "TYPE", kind)
        await owner.until(events=["lost", "subscribed"] * (round_ + 1))
        assert owner.subscribed[-1] == {SLOT, SLOT + 1}
    await append(log, USER, "a")
    await owner.until(pushes=1)
    assert owner.seen() == [(USER, 1)]


async def _cut_off(server: ValkeyServer) -> tuple[Connection, Owner]:
    """An owner whose feed has lost its server, which is stopped; and its connection."""
    connection = connect(redis_settings(server.url))
    await stamp(connection)
    owner = Owner(connection)
    owner.start()
    await owner.feed.subscribe([SLOT])
    server.stop()
    await owner.until(events=["subscribed", "lost"])
    return connection, owner


async def test_a_server_that_restarts(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    connection, owner = await _cut_off(server)
    assert not owner.feed.live
    late = asyncio.create_task(owner.feed.subscribe([SLOT, 3]))
    await asyncio.sleep(0.3)
    assert not late.done()
    server.start()
    await asyncio.wait_for(late, PATIENCE_S)
    assert owner.feed.live
    await know(connection)
    await append(Log(connection, HistorySettings()), USER, "a")
    await owner.until(pushes=1)
    await owner.stop()
    await connection.close()


async def test_slots_that_are_wanted_before_there_is_a_server(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    server.stop()
    connection = connect(redis_settings(server.url))
    owner = Owner(connection)
    owner.start()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(owner.feed.subscribe([SLOT]), 0.2)
    assert owner.events == []
    server.start()
    await owner.until(events=["subscribed"])
    await stamp(connection)
    await append(Log(connection, HistorySettings()), USER, "a")
    await owner.until(pushes=1)
    await owner.stop()
    await connection.close()


async def test_an_owner_that_fails_keeps_its_feed_and_is_told_what_it_missed(owner: Owner, log: Log) -> None:
    await owner.feed.subscribe([SLOT])
    owner.events.clear()
    owner.fault = RuntimeError("the owner could not take it")
    await append(log, USER, "a")
    await append(log, USER, "b")
    await owner.until(pushes=1)
    assert owner.seen() == [(USER, 2)]
    assert [(slot, str(error)) for slot, error in owner.garbled] == [(SLOT, "the owner could not take it")]
    assert owner.events == []


async def test_an_owner_that_fails_when_it_is_told_is_told_again(owner: Owner) -> None:
    owner.late_fault = RuntimeError("the owner could not compare")
    await owner.feed.subscribe([SLOT])
    assert owner.events == ["lost", "subscribed"]


@pytest.mark.parametrize("message", [b"\x93abc", b"\x92ab", b"\xc1", b"", b"17", b"\x90", b"\x92\x01a"])
async def test_a_message_that_is_not_of_ours_costs_what_it_holds(
    owner: Owner, log: Log, eyes: Eyes, message: bytes
) -> None:
    await owner.feed.subscribe([SLOT])
    owner.events.clear()
    eyes("PUBLISH", KEYS.feed(SLOT), message)
    await append(log, USER, "a")
    await owner.until(pushes=1)
    assert [slot for slot, _ in owner.garbled] == [SLOT]
    assert (owner.seen(), owner.events) == ([(USER, 1)], [])


async def test_after_a_fence_all_that_was_published_before_has_come(owner: Owner, log: Log) -> None:
    await owner.feed.subscribe([SLOT])
    for number in range(1, 200):
        await append(log, USER, f"k{number}")
        await owner.feed.fence()
        assert len(owner.pushes) == number


async def test_a_broken_feed_has_no_fence(owner: Owner, eyes: Eyes) -> None:
    await owner.feed.subscribe([SLOT])
    eyes("CLIENT", "KILL", "TYPE", "pubsub")
    await owner.until(events=["subscribed", "subscribed", "lost"])
    with pytest.raises(StoreUnavailable):
        await owner.feed.fence()


async def test_messages_of_a_newer_doorstep_are_refused(owner: Owner, eyes: Eyes) -> None:
    with pytest.raises(StoreMisconfigured, match="format 2, this Doorstep knows 1"):
        read_message(msgpack.packb([2, "of", "any", "kind"]))
    await owner.feed.subscribe([SLOT])
    eyes("PUBLISH", KEYS.feed(SLOT), msgpack.packb([2, "of", "any", "kind"]))
    await owner.feed.fence()
    assert [type(error) for _, error in owner.garbled] == [StoreMisconfigured]


async def test_after_stop_nothing_comes_and_nobody_waits(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    connection, owner = await _cut_off(server)
    waiting = asyncio.create_task(owner.feed.subscribe([5]))
    await asyncio.sleep(0)
    await owner.stop()
    for late in (waiting, owner.feed.subscribe([6])):
        with pytest.raises(StoreUnavailable, match="stopped"):
            await late
    server.start()
    await know(connection)
    await append(Log(connection, HistorySettings()), USER, "a")
    await asyncio.sleep(0.1)
    assert (owner.pushes, owner.events[2:]) == ([], [])
    await connection.close()


@pytest.mark.slow
async def test_a_half_open_feed_is_noticed(valkey: ValkeyServer, proxy_factory: ProxyFactory) -> None:
    proxy = proxy_factory(valkey.url)
    connection = connect(redis_settings(f"redis://127.0.0.1:{proxy.port}", timeout_s=1))
    owner = Owner(connection)
    owner.start()
    await owner.feed.subscribe([SLOT])
    owner.events.clear()
    proxy.hold_replies()
    since = time.monotonic()
    await owner.until(events=["lost"])
    assert time.monotonic() - since < 10
    proxy.cut()
    proxy.release_replies()
    await owner.until(events=["lost", "subscribed"])
    await owner.stop()
    await connection.close()


async def test_a_subscriber_that_is_too_slow_is_cut_and_told(valkey_factory: ValkeyFactory) -> None:
    """Redis cuts it (`client-output-buffer-limit`): that shows as a loss, never as silence."""
    server = valkey_factory(client_output_buffer_limit="pubsub 256kb 128kb 1")
    connection, eyes = connect(redis_settings(server.url)), Eyes(server.url)
    owner = Owner(connection)
    owner.start()
    await owner.feed.subscribe([SLOT])
    owner.events.clear()
    message = msgpack.packb([1, USER, 1, "0" * 16, "f" * 16, b"x" * 1_000_000])
    published = 0
    while not eyes("INFO", "stats")["client_output_buffer_limit_disconnections"]:
        # Without an await: the feed can't read meanwhile. How much the kernel's buffers take nobody knows.
        eyes("PUBLISH", KEYS.feed(SLOT), message)
        published += 1
        assert published < 500
    for _ in range(200):  # it may be cut more than once, but in the end it is whole
        if owner.events[:1] == ["lost"] and owner.events[-1] == "subscribed":
            break
        await asyncio.sleep(0.1)
    assert owner.events[:1] == ["lost"]
    assert owner.events[-1] == "subscribed"
    assert len(owner.pushes) < published
    await owner.stop()
    await connection.close()
    eyes.close()
