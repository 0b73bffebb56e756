"""Append and read on a real server, with each of the states in which a user's keys may be found."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgpack
import pytest

from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.feed import read_message
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Call, Connection, Script
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError, StoreLost, StoreUnavailable
from doorstep.actors.store.values import Canary, Entry, Logged, Want
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import (
    KEYS,
    START,
    append,
    by_slot,
    cursors_of,
    entry,
    head_key,
    ids_key,
    keys_of,
    log_key,
    read,
    redis_settings,
    stamp,
)
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers import ValkeyServer

USER = "teacher-1"
FOUR_USERS = ["a", "b", "c", "d"]


async def test_appends_are_numbered_and_read_back_in_order(log: Log) -> None:
    assert await append(log, USER, "a", "b") == (2, 2)
    assert await append(log, USER, "c") == (1, 3)
    page = await read(log, USER)
    chain = cursors_of("abc")
    assert page.notifications == [
        Logged(USER, after.seq, before.digest, after.digest, b'{"id":"%s"}' % key)
        for key, before, after in zip((b"a", b"b", b"c"), chain, chain[1:], strict=False)
    ]
    assert (page.head, page.reset) == (chain[3], None)


async def test_a_repeat_changes_nothing(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a", "b")
    before = [eyes("DUMP", key(USER)) for key in (log_key, head_key, ids_key)]
    assert await append(log, USER, "b", "a") == (0, 2)
    assert [eyes("DUMP", key(USER)) for key in (log_key, head_key, ids_key)] == before


async def test_a_key_twice_in_one_batch_is_appended_once(log: Log) -> None:
    assert await append(log, USER, "a", "b", "a", "b", "c") == (3, 3)
    assert keys_of(await read(log, USER)) == ["a", "b", "c"]


async def test_the_same_key_of_two_users_is_no_repeat(log: Log) -> None:
    assert await log.append([entry("u", "a"), entry("v", "a")]) == 2


async def test_many_slots_and_mixed_users_keep_their_order(log: Log) -> None:
    entries = [entry(f"user-{number % 40}", f"key-{number}") for number in range(400)]
    assert await log.append(entries) == 400
    for user in range(40):
        page = await read(log, f"user-{user}")
        assert keys_of(page) == [f"key-{number}" for number in range(user, 400, 40)]
        assert [each.seq for each in page.notifications] == list(range(1, 11))


async def test_more_of_one_slot_than_fits_into_a_call(log: Log) -> None:
    keys = [f"{number}" for number in range(5000)]
    assert await append(log, USER, *keys) == (5000, 5000)
    large = [(USER, b"large%d" % number, b"x" * 600_000) for number in range(5)]
    assert await log.append(large) == 5
    assert [each.payload for each in (await read(log, USER, None, replay=1)).notifications] == [
        b"x" * 600_000
    ]


async def test_more_of_several_slots_than_fits_into_a_call(log: Log, eyes: Eyes) -> None:
    pushes = eyes.listen()
    users = ["user-0", "user-1", "user-2"]
    assert len(by_slot(users)) == 3
    entries = [entry(user, f"{number}") for number in range(600) for user in users]
    assert await log.append(entries) == 1800
    sizes = [len(list(read_message(push))) for push in pushes(6)]
    assert sizes == [*[500] * 3, *[100] * 3]
    for user in users:
        assert keys_of(await read(log, user)) == [f"{number}" for number in range(600)]


async def test_nothing_to_append(log: Log) -> None:
    assert await log.append([]) == 0


@pytest.mark.parametrize("user", ["ü-Lehrer 1", "a}b{c}", "{x}", "*", "log:head", "\x00\n"])
async def test_any_text_is_a_user_id(log: Log, user: str) -> None:
    assert await append(log, user, "a") == (1, 1)
    assert keys_of(await read(log, user)) == ["a"]
    assert await log.heads([user, "nobody"]) == [cursors_of("a")[1], START]


async def test_keys_and_payloads_may_be_any_bytes(log: Log) -> None:
    every_byte = bytes(range(256))
    batch = [(USER, every_byte, every_byte), (USER, b"", b"")]
    assert await log.append(batch) == 2
    assert await log.append(batch) == 0
    assert [each.payload for each in (await read(log, USER)).notifications] == [every_byte, b""]


# Reading


async def test_pages_continue_each_other_up_to_the_head(log: Log) -> None:
    keys = [f"{number}" for number in range(150)]
    await append(log, USER, *keys)
    chain = cursors_of(keys)
    found, cursor = [], START
    while cursor != chain[-1]:
        page = await read(log, USER, cursor, limit=70)
        assert len(page.notifications) <= 70
        found += keys_of(page)
        cursor = page.notifications[-1].cursor
    assert found == keys
    at_head = await read(log, USER, cursor)
    assert (at_head.notifications, at_head.head, at_head.reset) == ((), chain[-1], None)


async def test_a_page_is_bounded_by_bytes_but_never_empty(log: Log) -> None:
    await log.append([(USER, b"%d" % number, b"x" * 200_000) for number in range(4)])
    await log.append([(USER, b"huge", b"x" * 900_000)])
    assert len((await read(log, USER)).notifications) == 2
    fourth = (await read(log, USER, None, replay=2)).notifications[0].cursor
    assert len((await read(log, USER, fourth)).notifications) == 1


async def test_without_a_cursor_it_starts_at_the_head_or_a_few_before(log: Log) -> None:
    await append(log, USER, *"abcd")
    chain = cursors_of("abcd")
    at_head = await read(log, USER, None)
    assert (list(at_head.notifications), at_head.head, at_head.reset) == ([], chain[4], None)
    replayed = await read(log, USER, None, replay=2)
    assert (keys_of(replayed), replayed.head, replayed.reset) == (["c", "d"], chain[4], None)
    assert replayed.notifications[0].previous == chain[2].digest
    assert keys_of(await read(log, USER, None, replay=9)) == ["a", "b", "c", "d"]
    assert keys_of(await read(log, USER, None, replay=3, limit=2)) == ["b", "c"]


async def test_a_user_without_a_log(log: Log) -> None:
    for after in (None, START):
        page = await read(log, USER, after)
        assert (list(page.notifications), page.head, page.reset) == ([], START, None)
    assert (await read(log, USER, Cursor(1, "f" * 16))).reset == "gone"


async def test_many_wants_in_one_read(log: Log) -> None:
    await append(log, "u", "a")
    await append(log, "v", "b", "c")
    pages = await log.read([Want("v", START, 1), Want("w", None, 5), Want("u", START, 5)])
    assert [keys_of(page) for page in pages if page] == [["b"], [], ["a"]]


@pytest.mark.parametrize(
    ("after", "reset"),
    [
        (Cursor(2, "f" * 16), "diverged"),  # of another history
        (Cursor(4, "f" * 16), "diverged"),  # at the head, but not it
        (Cursor(0, "f" * 16), "diverged"),
        (Cursor(5, "f" * 16), "diverged"),  # ahead of the head
        (Cursor(10**15, "f" * 16), "diverged"),
        (START, None),
    ],
)
async def test_a_foreign_cursor_is_told(log: Log, after: Cursor, reset: str | None) -> None:
    await append(log, USER, *"abcd")
    page = await read(log, USER, after)
    assert (page.reset, page.head) == (reset, cursors_of("abcd")[4])
    assert bool(page.notifications) == (reset is None)


async def test_a_trimmed_cursor_is_told_and_the_one_before_the_rest_is_served(log: Log, eyes: Eyes) -> None:
    await append(log, USER, *"abcdef")
    eyes("XTRIM", log_key(USER), "MAXLEN", 2)
    chain = cursors_of("abcdef")
    assert [(await read(log, USER, after)).reset for after in chain] == [*["trimmed"] * 4, None, None, None]
    assert keys_of(await read(log, USER, chain[4])) == ["e", "f"]
    replayed = await read(log, USER, None, replay=5)
    assert [each.cursor for each in replayed.notifications] == chain[5:]
    assert (await read(log, USER, Cursor(4, "f" * 16))).reset == "diverged"


async def test_a_hole_is_never_jumped(log: Log, eyes: Eyes) -> None:
    await append(log, USER, *"abcdef")
    eyes("XDEL", log_key(USER), "4-0")
    chain = cursors_of("abcdef")
    first = await read(log, USER)
    assert (keys_of(first), first.reset) == (["a", "b", "c"], None)
    second = await read(log, USER, chain[3])
    assert (second.reset, second.head) == ("trimmed", chain[6])


@pytest.mark.parametrize("digests", ["0" * 32, cursors_of("a")[1].digest + "0" * 16])
async def test_an_entry_that_was_changed_is_never_served(log: Log, eyes: Eyes, digests: str) -> None:
    await append(log, USER, "a", "b")
    eyes("DEL", log_key(USER))
    eyes("XADD", log_key(USER), "2-0", "d", digests, "n", "foreign")
    assert (await read(log, USER, cursors_of("a")[1])).reset == "diverged"


# How far a user has read


async def test_a_mark_moves_only_forward_and_only_to_cursors_of_the_log(log: Log, eyes: Eyes) -> None:
    await append(log, USER, *"abcd")
    chain = cursors_of("abcdef")
    assert (await read(log, USER)).unread == 4
    marks = [Cursor(2, "f" * 16), chain[2], chain[1], chain[2], chain[5], Cursor(10**15, "f" * 16), chain[4]]
    moved = [await log.mark_read({USER: cursor, "nobody": cursor}) for cursor in marks]
    assert moved == [0, 1, 0, 0, 0, 0, 1]
    await append(log, USER, *"ef")
    eyes("XTRIM", log_key(USER), "MAXLEN", 1)
    assert await log.mark_read({USER: chain[5]}) == 1  # the entry that follows proves it
    page = await read(log, USER, chain[6])
    assert (page.read, page.unread, page.reset) == (5, 1, None)
    assert (await read(log, "nobody")).read == 0


async def test_a_mark_has_the_users_subscribers_read(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a")
    messages = eyes.listen()
    await log.mark_read({USER: cursors_of("a")[1]})
    await append(log, USER, "b")
    hint, news = ([*read_message(message)] for message in messages(2))
    assert hint == [(USER.encode(), 0, b"", b"", b"")]
    assert [seq for _, seq, *_ in news] == [2]


@pytest.mark.parametrize("wrong", [("HSET", "r", "x"), ("HSET", "r", "9"), ("HDEL", "r")])
async def test_a_mark_that_is_none_is_put_right(log: Log, eyes: Eyes, wrong: tuple[str, ...]) -> None:
    await append(log, USER, "a", "b")
    eyes(wrong[0], head_key(USER), *wrong[1:])
    assert (await read(log, USER)).read == 0
    assert await log.mark_read({USER: cursors_of("ab")[1]}) == 1
    assert (await read(log, USER)).read == 1


async def test_a_mark_goes_with_its_head(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a", "b")
    await log.mark_read({USER: cursors_of("ab")[2]})
    eyes("DEL", head_key(USER))
    await append(log, USER, "c", "d", "e")
    assert (await read(log, USER)).read == 0


# The states in which a user's keys may be found


async def test_an_expired_log_goes_on_where_it_was(connection: Connection, eyes: Eyes) -> None:
    log = Log(connection, HistorySettings(ttl_s=1))
    await append(log, USER, "a", "b")
    await asyncio.sleep(1.1)
    assert [eyes("EXISTS", key(USER)) for key in (log_key, ids_key, head_key)] == [0, 0, 1]
    chain = cursors_of("abc")
    assert (await read(log, USER, chain[2])).reset is None
    assert (await read(log, USER, chain[1])).reset == "trimmed"
    assert await append(log, USER, "c") == (1, 3)
    assert keys_of(await read(log, USER, chain[2])) == ["c"]
    assert (await read(log, USER, chain[1])).reset == "trimmed"
    assert log.repairs == 0


async def test_a_lost_head_starts_over(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a", "b")
    eyes("DEL", head_key(USER))
    old = cursors_of("ab")
    assert (await read(log, USER, old[1])).reset == "gone"
    assert await append(log, USER, "b", "c") == (2, 2)
    assert keys_of(await read(log, USER)) == ["b", "c"]
    assert [(await read(log, USER, cursor)).reset for cursor in old[1:]] == ["diverged", "diverged"]
    assert log.repairs == 1


@pytest.mark.parametrize(
    "fields",
    [
        ("HDEL", "s"),
        ("HDEL", "d"),
        ("HDEL", "s", "d", "e"),
        *[("HSET", "s", seq) for seq in ("", "x", "-2", "1.5", "nan", "inf", "1e15", "9" * 400)],
        ("HSET", "d", "a" * 15),
        ("HSET", "d", "a" * 5_000_000),
        ("HSET", "d", "A" * 16),
        ("HSET", "d", b"\xff" * 16),
    ],
)
async def test_a_head_that_is_none_starts_over(log: Log, eyes: Eyes, fields: tuple[str | bytes, ...]) -> None:
    await append(log, USER, "a", "b")
    eyes(fields[0], head_key(USER), *fields[1:])
    assert await log.heads([USER]) == [START]
    assert (await read(log, USER, cursors_of("ab")[1])).reset == "gone"
    assert await append(log, USER, "c") == (1, 1)
    assert keys_of(await read(log, USER)) == ["c"]
    assert log.repairs == 1


async def test_a_head_behind_the_log_takes_the_logs_last_entry(log: Log, eyes: Eyes) -> None:
    chain = cursors_of("abcd")
    await append(log, USER, "a", "b", "c")
    eyes("HSET", head_key(USER), "s", 1, "d", chain[1].digest)
    assert await append(log, USER, "b", "d") == (1, 4)
    assert keys_of(await read(log, USER)) == ["a", "b", "c", "d"]
    assert await log.heads([USER]) == [chain[4]]
    assert float(eyes("ZSCORE", ids_key(USER), "d")) == 4
    assert log.repairs == 1


async def test_a_head_ahead_of_the_log_goes_on_from_the_head(log: Log, eyes: Eyes) -> None:
    chain = cursors_of("abcd")
    await append(log, USER, "a", "b", "c")
    eyes("XDEL", log_key(USER), "2-0", "3-0")
    assert (await read(log, USER, chain[1])).reset == "trimmed"
    assert await append(log, USER, "d") == (1, 4)
    assert (await read(log, USER, chain[1])).reset == "trimmed"
    assert keys_of(await read(log, USER, chain[3])) == ["d"]


async def test_a_log_without_its_tail_is_deleted_when_expirations_are_set_anew(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a", "b", "c")
    eyes("XDEL", log_key(USER), "2-0", "3-0")
    eyes("HDEL", head_key(USER), "e")
    assert await append(log, USER, "d") == (1, 4)
    assert [seq for seq, _ in eyes("XRANGE", log_key(USER), "-", "+")] == [b"4-0"]
    assert log.repairs == 1


async def test_a_log_that_was_once_longer_blocks_nobody(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a")
    eyes("XADD", log_key(USER), "50-0", "d", "x", "n", "foreign")
    eyes("XDEL", log_key(USER), "50-0")
    assert await append(log, USER, "b") == (1, 2)
    assert keys_of(await read(log, USER, cursors_of("a")[1])) == ["b"]


async def test_a_foreign_tail_blocks_nobody(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a")
    eyes("XADD", log_key(USER), "7-7", "some", "thing")
    assert await append(log, USER, "b", "c") == (2, 3)
    assert keys_of(await read(log, USER, cursors_of("a")[1])) == ["b", "c"]


@pytest.mark.parametrize("lost", [log_key, ids_key])
async def test_a_deleted_key_blocks_nobody(log: Log, eyes: Eyes, lost: Callable[[str], str]) -> None:
    await append(log, USER, "a")
    eyes("DEL", lost(USER))
    assert await append(log, USER, "b") == (1, 2)


@pytest.mark.parametrize("spoilt", [log_key, head_key, ids_key])
@pytest.mark.parametrize("first", [True, False])
async def test_a_key_of_another_type_is_repaired(
    log: Log, eyes: Eyes, spoilt: Callable[[str], str], first: bool
) -> None:
    if not first:
        await append(log, USER, "a")
    eyes("DEL", spoilt(USER))
    eyes("SET", spoilt(USER), "foreign")
    assert (await read(log, USER, Cursor(7, "f" * 16))).reset in ("gone", "diverged")
    last = 3 if not first and spoilt is not head_key else 2
    assert await append(log, USER, "b", "c", "b") == (2, last)
    assert keys_of(await read(log, USER, None, replay=2)) == ["b", "c"]
    assert [eyes("TYPE", key(USER)) for key in (log_key, head_key, ids_key)] == [b"stream", b"hash", b"zset"]
    assert all(eyes("PTTL", key(USER)) > 0 for key in (log_key, head_key, ids_key))
    assert log.repairs == 1


# Limits


async def test_the_window_forgets_the_oldest_keys(connection: Connection, eyes: Eyes) -> None:
    log = Log(connection, HistorySettings(dedupe_window=4))
    await append(log, USER, *"abcde")
    assert eyes("ZCARD", ids_key(USER)) == 4
    assert await append(log, USER, "b") == (0, 5)
    assert await append(log, USER, "a") == (1, 6)
    assert eyes("ZRANGE", ids_key(USER), 0, -1) == [b"c", b"d", b"e", b"a"]


async def test_a_large_window_is_trimmed_now_and_then(connection: Connection, eyes: Eyes) -> None:
    log = Log(connection, HistorySettings(dedupe_window=640))
    for start in range(0, 1000, 50):
        await append(log, USER, *(f"{number}" for number in range(start, start + 50)))
    assert 640 <= eyes("ZCARD", ids_key(USER)) <= 640 + 11
    assert await append(log, USER, "360") == (0, 1000)


async def test_the_log_keeps_at_least_max_count(connection: Connection, eyes: Eyes) -> None:
    log = Log(connection, HistorySettings(max_count=150))
    for start in range(0, 1000, 50):
        await append(log, USER, *(f"{number}" for number in range(start, start + 50)))
    assert 150 <= eyes("XLEN", log_key(USER)) <= 150 + 100 + 16
    assert len((await read(log, USER, None, replay=150)).notifications) == 150


async def test_expirations_are_set_at_first_and_moved_only_by_more_than_a_hundredth(
    connection: Connection, eyes: Eyes
) -> None:
    log = Log(connection, HistorySettings(ttl_s=100, head_ttl_s=1000))
    await append(log, USER, "a")
    assert 100_000 < eyes("PTTL", log_key(USER)) <= 101_000
    assert 100_000 < eyes("PTTL", ids_key(USER)) <= 101_000
    assert 1_000_000 < eyes("PTTL", head_key(USER)) <= 1_010_000
    for key in (log_key(USER), ids_key(USER), head_key(USER)):
        eyes("PEXPIRE", key, 50_000)
    await append(log, USER, "b")
    assert all(eyes("PTTL", key(USER)) <= 50_000 for key in (log_key, ids_key, head_key))
    eyes("HINCRBY", head_key(USER), "e", -1000)
    await append(log, USER, "c")
    assert eyes("PTTL", log_key(USER)) > 100_000
    assert eyes("PTTL", head_key(USER)) > 1_000_000


async def test_a_server_clock_that_was_set_back_still_expires(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a")
    eyes("HINCRBY", head_key(USER), "e", 3_600_000)
    eyes("PERSIST", log_key(USER))
    await append(log, USER, "b")
    assert eyes("PTTL", log_key(USER)) > 0


# Faults


_SCRIPT = Script("head.lua", "canary.lua", "append.lua")


def _arguments(
    *slots: str | int,
    payloads: int = 0,
    checkpoint: str | int = 0,
    max_count: str | int = 10,
    ttl: str | int = 10,
) -> list[bytes]:
    """Arguments of append.lua; `slots`: the message from the number of slots on."""
    message = ["", checkpoint, max_count, ttl, 10, 10, "PUBLISH", *slots]
    return [msgpack.packb(message, use_bin_type=False), *[b"payload"] * payloads]


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        (4, []),
        (4, [b""]),
        (4, [b"\xc1"]),
        (5, _arguments()),
        (5, _arguments(1)),
        (5, _arguments(1, "channel", 1)),
        (5, _arguments(1, "channel", 1, "u", 1, payloads=1)),
        (5, _arguments(1, "channel", 1, "u", 1, "key", "more", payloads=1)),
        (5, _arguments(1, "channel", 1, "u", 1, "key")),
        (5, _arguments(1, "channel", 1, "u", 1, "key", payloads=2)),
        (4, _arguments(1, "channel", 1, "u", 1, "key", payloads=1)),
        (8, _arguments(1, "channel", 1, "u", 1, "key", payloads=1)),
        (5, _arguments(1, "channel", 2, "u", 1, "key", payloads=1)),
        (5, _arguments(1, "channel", 1, "u", "x", "key", payloads=1)),
        (5, _arguments("x", "channel", 1, "u", 1, "key", payloads=1)),
        (5, _arguments(1, "channel", 1, "u", 1, "key", payloads=1, ttl="x")),
        (5, _arguments(1, "channel", 1, "u", 1, "key", payloads=1, max_count="x")),
        (5, _arguments(1, "channel", 1, "u", 1, "key", payloads=1, checkpoint="x")),
    ],
)
async def test_arguments_of_another_shape_write_nothing(
    connection: Connection, eyes: Eyes, keys: int, arguments: list[bytes]
) -> None:
    call: Call = _SCRIPT.call([f"{{t}}{number}" for number in range(keys)], arguments)
    with pytest.raises(StoreError, match="doorstep append"):
        await connection.run([call])
    assert eyes("DBSIZE") == 2  # what `stamp` writes


async def test_arguments_of_the_right_shape_are_taken(connection: Connection) -> None:
    """So that the test before shows what it says."""
    arguments = _arguments(1, "channel", 1, "u", 1, "key", payloads=1)
    keys = ["{t}m", KEYS.stamp(0), "{t}1", "{t}2", "{t}3"]
    assert await connection.run([_SCRIPT.call(keys, arguments)]) == [[1, 0]]


async def test_an_append_whose_witness_is_gone_writes_nothing(
    connection: Connection, log: Log, eyes: Eyes
) -> None:
    checkpoints = Checkpoints(connection)
    partition = ("t", 3)
    await checkpoints.write("g", {partition: 7})
    assert await log.append([entry(USER, "a")], Canary("g", partition, 7)) == 1
    assert await log.append([entry(USER, "later")], Canary("g", partition, 6)) == 1
    for canary in (Canary("g", partition, 8), Canary("g", ("t", 4), 7), Canary("h", partition, 7)):
        with pytest.raises(StoreLost, match="canary"):
            await log.append([entry(USER, "b")], canary)
    eyes("FLUSHALL")
    for latest in (Canary("g", partition, 7), None):
        with pytest.raises(StoreLost):
            await log.append([entry(USER, "b")], latest)
    assert eyes("DBSIZE") == 0


async def test_a_server_that_forgot_the_scripts(log: Log, eyes: Eyes) -> None:
    await append(log, USER, "a")
    eyes("SCRIPT", "FLUSH")
    assert await log.append([entry(f"user-{number}", "k") for number in range(200)]) == 200
    eyes("SCRIPT", "FLUSH")
    assert keys_of(await read(log, USER)) == ["a"]


async def test_a_full_server_takes_all_of_a_call_or_nothing(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory(maxmemory="8mb")
    eyes = Eyes(server.url)
    async with _log_on(server) as log:
        written = 0
        with suppress(StoreUnavailable):
            for written in range(100):
                await log.append(_four_users(written))
        assert 0 < written < 99
        assert [eyes("XLEN", log_key(user)) for user in FOUR_USERS] == [written] * 4
        with pytest.raises(StoreUnavailable, match="OOM"):
            await log.append(_four_users(written))
        eyes("CONFIG", "SET", "maxmemory", "0")
        assert await log.append(_four_users(written)) == 4
    eyes.close()


async def test_an_entry_that_could_not_be_added_is_no_repeat(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    eyes = Eyes(server.url)
    async with _log_on(server) as log:
        await append(log, USER, "a")
        eyes("ACL", "SETUSER", "default", "-xadd")
        with pytest.raises(StoreError, match="xadd"):
            await append(log, USER, "b")
        eyes("ACL", "SETUSER", "default", "+xadd")
        assert await append(log, USER, "b") == (1, 2)
        assert keys_of(await read(log, USER)) == ["a", "b"]
    eyes.close()


def _four_users(number: int) -> list[Entry]:
    """One call."""
    return [(user, b"%d" % number, b"x" * 50_000) for user in FOUR_USERS]


@asynccontextmanager
async def _log_on(server: ValkeyServer, timeout_s: float = 5.0) -> AsyncIterator[Log]:
    connection = connect(redis_settings(server.url, timeout_s=timeout_s))
    await stamp(connection)
    yield Log(connection, HistorySettings())
    await connection.close()


async def test_a_replica_refuses_and_the_call_may_be_repeated(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    eyes = Eyes(server.url)
    async with _log_on(server) as log:
        await append(log, USER, "a")
        eyes("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await append(log, USER, "b")
        with pytest.raises(StoreUnavailable, match="is a replica"):
            await append(log, USER, "b")
        eyes("REPLICAOF", "NO", "ONE")
        assert await append(log, USER, "b") == (1, 2)
    eyes.close()


async def test_a_reply_that_got_lost(valkey: ValkeyServer, proxy_factory: ProxyFactory, eyes: Eyes) -> None:
    proxy = proxy_factory(valkey.url)
    pushes = eyes.listen()
    connection = connect(redis_settings(f"redis://127.0.0.1:{proxy.port}", timeout_s=0.3))
    await stamp(connection)
    log = Log(connection, HistorySettings())
    await append(log, USER, "a")
    proxy.hold_replies()
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.3 s"):
        await append(log, USER, "b", "c")
    assert eyes("XLEN", log_key(USER)) == 3
    proxy.cut()
    proxy.release_replies()
    assert await append(log, USER, "b", "c", "d") == (1, 4)
    assert keys_of(await read(log, USER)) == ["a", "b", "c", "d"]
    assert [[seq for _, seq, *_ in read_message(push)] for push in pushes(3)] == [[1], [2, 3], [4]]
    await connection.close()
