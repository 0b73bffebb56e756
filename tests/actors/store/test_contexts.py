"""Contexts and parked events on a real server."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest

from doorstep.actors.records import StoredRecord
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.redis.calls import Call, Connection
from doorstep.actors.store.redis.errors import StoreLost
from doorstep.actors.store.redis.link import Reply
from doorstep.actors.store.redis.single import SingleConnection
from doorstep.actors.store.values import Canary, Parked, Parking
from doorstep.config.settings import ContextSettings
from tests.actors.store.conftest import Eyes

PARKED, BATCH_FULL, FULL = Parking.PARKED, Parking.BATCH_FULL, Parking.FULL


@pytest.fixture
def contexts(connection: Connection) -> Contexts:
    """Contexts with small limits."""
    return _contexts(connection)


def _contexts(connection: Connection, *, park_ttl_s: int = 900) -> Contexts:
    settings = ContextSettings(max_parked_per_batch=4, max_parked=6, park_ttl_s=park_ttl_s)
    return Contexts(connection, settings)


def record(offset: int, topic: str = "events") -> StoredRecord:
    """A record with something in every field."""
    headers = (("trace", b"\xff\x00"), ("none", None))
    return StoredRecord(topic, 3, offset, b"key", b"value %d" % offset, headers)


def records(*offsets: int) -> list[StoredRecord]:
    return [record(offset) for offset in offsets]


async def park(contexts: Contexts, batch: str, *offsets: int) -> Sequence[str | Parking]:
    """Offer events of one batch."""
    return await contexts.resolve_or_park([(batch, each) for each in records(*offsets)])


async def parked(contexts: Contexts, batch: str) -> list[int]:
    """The offsets of a batch's parked events."""
    return [each.record.offset for each in await contexts.parked(batch, 100)]


async def test_the_first_registration_stays(contexts: Contexts, eyes: Eyes) -> None:
    assert await contexts.register("b", "u") == "new"
    assert await contexts.register("b", "u") == "same"
    assert await contexts.register("b", "v") == "conflict"
    assert await contexts.lookup(["b", "c"]) == {"b": "u"}
    assert 0 < eyes("TTL", "doorstep:{b:b}:user") <= 90 * 24 * 3600


async def test_registering_again_prolongs(contexts: Contexts, eyes: Eyes) -> None:
    await contexts.register("b", "u")
    eyes("EXPIRE", "doorstep:{b:b}:user", 10)
    await contexts.register("b", "v")
    assert eyes("TTL", "doorstep:{b:b}:user") <= 10
    await contexts.register("b", "u")
    assert eyes("TTL", "doorstep:{b:b}:user") > 10


async def test_a_known_user_is_returned_and_nothing_is_written(contexts: Contexts, eyes: Eyes) -> None:
    await contexts.register("b", "ü")
    assert await park(contexts, "b", 1, 2) == ["ü", "ü"]
    assert eyes("DBSIZE") == 3  # with what `stamp` writes


async def test_unknown_batches_are_parked_as_they_came(contexts: Contexts) -> None:
    waiting = [("b", record(5)), ("c", record(6)), ("b", record(3)), ("b", record(4, "other"))]
    assert await contexts.resolve_or_park(waiting) == [PARKED] * 4
    assert await contexts.parked("b", 10) == [
        Parked("b", record(5)), Parked("b", record(3)), Parked("b", record(4, "other")),
    ]  # fmt: skip
    assert await contexts.parked("b", 2) == [Parked("b", record(5)), Parked("b", record(3))]
    assert await parked(contexts, "c") == [6]
    assert await contexts.total() == 4


async def test_records_of_any_content_survive(contexts: Contexts) -> None:
    odd = StoredRecord("t.1-a_b", 0, 2**40, None, None, ())
    large = StoredRecord("t", 1, 0, b"", bytes(range(256)) * 4096, (("", b""), ("ü", b"\xff")))
    await contexts.resolve_or_park([("a} {b:\n", odd), ("a} {b:\n", large)])
    assert [each.record for each in await contexts.parked("a} {b:\n", 10)] == [odd, large]
    assert await contexts.unpark("a} {b:\n", [odd.identity, large.identity]) == 0
    assert await contexts.total() == 0


async def test_a_replay_is_parked_once_and_keeps_its_place(contexts: Contexts) -> None:
    await park(contexts, "b", 1, 2)
    assert await park(contexts, "b", 2, 1, 3, 3) == [PARKED] * 4
    assert await parked(contexts, "b") == [1, 2, 3]
    assert await contexts.total() == 3


async def test_nothing_overtakes_a_parked_event(contexts: Contexts) -> None:
    await park(contexts, "b", 1)
    await contexts.register("b", "u")
    assert await park(contexts, "b", 2) == [PARKED]
    assert await contexts.unpark("b", [record(1).identity]) == 1
    assert await park(contexts, "b", 3) == [PARKED]
    assert await contexts.unpark("b", [record(2).identity, record(3).identity]) == 0
    assert await park(contexts, "b", 4) == ["u"]
    assert await contexts.total() == 0


async def test_only_what_is_named_is_removed_and_again_is_harmless(contexts: Contexts) -> None:
    await park(contexts, "b", 1, 2, 3)
    for _ in range(2):
        assert await contexts.unpark("b", [record(2).identity, "unheard/0/0"]) == 2
    assert await parked(contexts, "b") == [1, 3]
    assert await contexts.total() == 2
    assert await contexts.unpark("b", []) == 2
    assert await contexts.unpark("nothing", []) == 0


async def test_limits_refuse_the_later_ones(contexts: Contexts) -> None:
    assert await park(contexts, "b", 1, 2, 3, 4, 5) == [*[PARKED] * 4, BATCH_FULL]
    assert await contexts.total() == 4
    assert await park(contexts, "c", 1, 2, 3) == [PARKED, PARKED, FULL]
    assert await park(contexts, "b", 5) == [FULL]
    assert await park(contexts, "b", 4, 1) == [PARKED, PARKED]
    await contexts.unpark("c", [record(1).identity])
    assert await park(contexts, "b", 5) == [BATCH_FULL]
    assert await park(contexts, "c", 3, 4) == [PARKED, FULL]
    assert await contexts.total() == 6


async def test_full_of_others_does_not_hold_up_the_known(contexts: Contexts) -> None:
    await park(contexts, "b", 1, 2, 3, 4)
    await park(contexts, "c", 1, 2)
    await contexts.register("d", "u")
    assert await contexts.resolve_or_park([("d", record(7)), ("e", record(8))]) == ["u", FULL]


async def test_a_context_that_comes_between_the_look_and_the_parking(connection: Connection) -> None:
    """Each way, all events of a batch go the same way, and none is left behind."""
    for number in range(40):
        contexts = _contexts(connection)
        batch = f"batch-{number}"
        fates, _ = await asyncio.gather(park(contexts, batch, 1, 2), contexts.register(batch, "u"))
        assert fates in ([PARKED, PARKED], ["u", "u"])
        assert await parked(contexts, batch) == ([1, 2] if fates[0] is PARKED else [])
        await contexts.unpark(batch, [each.identity for each in records(1, 2)])
    assert await contexts.total() == 0


async def test_what_has_waited_too_long_is_told_until_it_is_unparked(connection: Connection) -> None:
    contexts = _contexts(connection, park_ttl_s=4)
    await park(contexts, "b", 1, 2)
    assert await contexts.expired(10) == []
    await asyncio.sleep(2.2)
    await park(contexts, "c", 3)
    await park(contexts, "b", 1)  # a replay does not prolong
    await asyncio.sleep(1.9)
    for _ in range(2):
        assert await contexts.expired(10) == [Parked("b", record(1)), Parked("b", record(2))]
    assert await contexts.expired(1) == [Parked("b", record(1))]
    await contexts.unpark("b", [record(1).identity, record(2).identity])
    assert await contexts.expired(10) == []
    assert await contexts.total() == 1


async def test_it_is_known_how_long_the_oldest_has_waited(connection: Connection) -> None:
    contexts = _contexts(connection, park_ttl_s=900)
    assert await contexts.oldest_parked_s() == 0
    await park(contexts, "b", 1)
    await asyncio.sleep(1)
    await park(contexts, "c", 2)
    assert 1 <= await contexts.oldest_parked_s() < 5
    await contexts.unpark("b", [record(1).identity])
    assert await contexts.oldest_parked_s() < 1
    await contexts.unpark("c", [record(2).identity])
    assert await contexts.oldest_parked_s() == 0


async def test_orphans_are_parked_events_of_a_known_user(contexts: Contexts) -> None:
    await park(contexts, "b", 1)
    await park(contexts, "c", 2)
    assert await contexts.orphans() == []
    await contexts.register("b", "u")
    assert await contexts.orphans() == ["b"]
    await contexts.unpark("b", [record(1).identity])
    assert await contexts.orphans() == []


async def test_orphans_among_many(connection: Connection) -> None:
    contexts = Contexts(connection, ContextSettings())
    batches = [f"batch-{number}" for number in range(700)]
    waiting = [(batch, record(number)) for number in range(3) for batch in batches]
    assert set(await contexts.resolve_or_park(waiting)) == {PARKED}
    for batch in batches[::2]:
        await contexts.register(batch, "u")
    assert set(await contexts.orphans()) == set(batches[::2])
    assert await contexts.total() == 2100


# What a crash leaves


async def test_an_index_that_says_too_much_is_tidied_up(connection: Connection, eyes: Eyes) -> None:
    contexts = _contexts(connection, park_ttl_s=900)
    await park(contexts, "b", 1)
    eyes("ZADD", "doorstep:{parking}:index", 0, "events/3/9 gone", 0, "events/3/8 b")
    assert await contexts.total() == 3
    assert await contexts.expired(10) == []
    assert await contexts.total() == 1
    assert await parked(contexts, "b") == [1]


async def test_a_crash_between_index_and_parking_is_made_good_by_the_replay(
    contexts: Contexts, eyes: Eyes
) -> None:
    eyes("ZADD", "doorstep:{parking}:index", 1, "events/3/1 b")
    assert await park(contexts, "b", 1) == [PARKED]
    assert await contexts.expired(10) == [Parked("b", record(1))]


class Stepped(SingleConnection):
    """A connection each of whose calls waits for its turn."""

    def __init__(self, connection: Connection) -> None:
        self.keys = connection.keys
        self._connection = connection
        self._turns = asyncio.Semaphore(0)
        self._done = asyncio.Semaphore(0)

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        await self._turns.acquire()
        try:
            return await self._connection.run(calls)
        finally:
            self._done.release()

    async def step(self, work: asyncio.Task[Any]) -> None:
        """Let `work` make its next call, if it makes any more."""
        self._turns.release()
        done = asyncio.create_task(self._done.acquire())
        await asyncio.wait([work, done], return_when=asyncio.FIRST_COMPLETED)
        done.cancel()
        await asyncio.sleep(0)


@pytest.mark.parametrize("first", range(6))
async def test_a_replay_while_it_is_removed_is_not_lost_from_the_index(
    connection: Connection, first: int
) -> None:
    """In whatever order their calls come: what is parked in the end is in the index (which may say more)."""
    for order in _orders(first):
        looking = _contexts(connection)
        await park(looking, "b", 1)
        steps = {"unpark": Stepped(connection), "replay": Stepped(connection)}
        works: dict[str, asyncio.Task[Any]] = {
            "unpark": asyncio.create_task(_contexts(steps["unpark"]).unpark("b", [record(1).identity])),
            "replay": asyncio.create_task(park(_contexts(steps["replay"]), "b", 1)),
        }
        for who in order:
            await steps[who].step(works[who])
        assert all(work.done() for work in works.values())
        assert await looking.total() >= len(await parked(looking, "b")), order
        await looking.unpark("b", [record(1).identity])


def _orders(first: int) -> Iterator[Sequence[str]]:
    """All orders of five calls each, in which `first` calls of one come before any of the other."""
    for places in combinations(range(10), 5):
        order = ["replay" if place in places else "unpark" for place in range(10)]
        if order.index("unpark") == first:
            yield order


@pytest.mark.parametrize("key", ["user", "parked", "records"])
async def test_keys_of_another_type_are_replaced(contexts: Contexts, eyes: Eyes, key: str) -> None:
    eyes("XADD", f"doorstep:{{b:b}}:{key}", "*", "a", "b")
    assert await contexts.lookup(["b"]) == {}
    assert await contexts.parked("b", 10) == []
    assert await contexts.unpark("b", [record(1).identity]) == 0
    assert await park(contexts, "b", 1) == [PARKED]
    assert await parked(contexts, "b") == [1]
    assert await contexts.register("b", "u") == "new"
    assert await contexts.lookup(["b"]) == {"b": "u"}


async def test_an_index_of_another_type_is_replaced(contexts: Contexts, eyes: Eyes) -> None:
    eyes("SET", "doorstep:{parking}:index", "foreign")
    assert await park(contexts, "b", 1) == [PARKED]
    assert await contexts.total() == 1


# Sweeping


async def test_one_sweeper_at_a_time(contexts: Contexts) -> None:
    assert await contexts.claim_sweep("one", 5)
    assert not await contexts.claim_sweep("two", 5)
    assert await contexts.claim_sweep("one", 0.05)
    await asyncio.sleep(0.1)
    assert await contexts.claim_sweep("two", 5)
    assert not await contexts.claim_sweep("one", 5)


async def test_the_same_place_in_a_topic_made_anew_is_parked_beside(contexts: Contexts) -> None:
    then, now = record(1)._replace(topic_id="then"), record(1)._replace(topic_id="now")
    assert await contexts.resolve_or_park([("b", then), ("b", now), ("b", now)]) == [Parking.PARKED] * 3
    assert [each.record for each in await contexts.parked("b", 9)] == [then, now]
    assert await contexts.unpark("b", [then.identity]) == 1
    assert [each.record for each in await contexts.parked("b", 9)] == [now]


async def test_a_batch_whose_order_is_lost_keeps_its_events(contexts: Contexts, eyes: Eyes) -> None:
    await park(contexts, "b", 9, 10, 11)
    eyes("SET", "doorstep:{b:b}:parked", "foreign")
    await park(contexts, "b", 12)
    assert [each.record.offset for each in await contexts.parked("b", 9)] == [9, 10, 11, 12]


@pytest.mark.parametrize("user", [b"\xff", b"a{b}", b"x" * 257, b""])
async def test_a_user_that_can_be_none_is_forgotten(contexts: Contexts, eyes: Eyes, user: bytes) -> None:
    eyes("SET", "doorstep:{b:b}:user", user)
    assert await contexts.lookup(["b"]) == {}
    assert await park(contexts, "b", 1) == [Parking.PARKED]
    eyes("SET", "doorstep:{b:b}:user", user)
    assert await contexts.register("b", "u") == "new"
    assert contexts.repairs == 2


async def test_parked_records_that_are_none_are_removed(contexts: Contexts, eyes: Eyes) -> None:
    await park(contexts, "b", 1, 2, 3, 4)
    eyes("HSET", "doorstep:{b:b}:records", record(2).identity, "foreign", record(3).identity, b"\xc0")
    eyes("HDEL", "doorstep:{b:b}:records", record(4).identity)
    assert [each.record for each in await contexts.parked("b", 9)] == [record(1)]
    assert await contexts.unpark("b", [record(1).identity]) == 0
    assert contexts.repairs == 2


# A Redis that has lost what it acknowledged


async def test_nothing_is_parked_or_registered_where_the_canary_is_gone(
    connection: Connection, contexts: Contexts
) -> None:
    canary = Canary("group", ("!consumer", 0), 7)
    with pytest.raises(StoreLost):
        await contexts.register("b", "u", canary)
    with pytest.raises(StoreLost):
        await contexts.resolve_or_park([("b", record(1))], canary)
    assert await contexts.lookup(["b"]) == {}
    assert await contexts.parked("b", 10) == []
    await Checkpoints(connection).write(canary.group, {canary.partition: canary.checkpoint})
    assert await contexts.resolve_or_park([("b", record(1))], canary) == [PARKED]
    assert await contexts.register("b", "u", canary) == "new"
