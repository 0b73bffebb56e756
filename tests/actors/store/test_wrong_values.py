"""Random garbage in the keys of one user and one batch, on a real server: everybody else is served."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.records import StoredRecord
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.values import Parking, Want
from doorstep.config.settings import ContextSettings, HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import (
    KEYS,
    START,
    append,
    cursors_of,
    entry,
    keys_of,
    read,
    redis_settings,
    stamp,
)
from tests.support.servers import ValkeyServer

SICK = "sick"
NEIGHBOUR = next(f"n{number}" for number in range(10_000) if slot_of(f"n{number}") == slot_of(SICK))
OTHERS = [NEIGHBOUR, "a", "b"]
LOG, HEAD, IDS = KEYS.user(slot_of(SICK), SICK)
PARKED, RECORDS = KEYS.parked(SICK)

Command = tuple[str | bytes | int | float, ...]

_texts = st.one_of(
    st.sampled_from(
        ["", "x", "0", "-1", "nan", "inf", "1e15", "9" * 400, "0" * 16, "f" * 16, "F" * 16, "0" * 32, "a b"]
    ),
    st.binary(max_size=40),
    st.just("huge"),
)
_keys = st.sampled_from([LOG, HEAD, IDS, KEYS.context(SICK), PARKED, RECORDS, KEYS.parking])
_numbers = st.sampled_from([0, 1, 2, 3, 7, 50, 10**14, 2**53, 2**63, 2**64 - 1])
_scores = st.sampled_from([0, 1, "-inf", "+inf", 1e300, 2.5])
_digests = st.one_of(_texts, st.text("0123456789abcdef", min_size=32, max_size=32))

garbage: st.SearchStrategy[Command] = st.one_of(
    st.tuples(st.just("DEL"), _keys),
    st.tuples(st.just("SET"), _keys, _texts),
    st.tuples(st.just("RPUSH"), _keys, _texts),
    st.tuples(st.just("HSET"), _keys, st.one_of(st.sampled_from("sde"), _texts), _texts),
    st.tuples(st.just("HSET"), st.just(HEAD), st.just("s"), _numbers, st.just("d"), _digests),
    st.tuples(st.just("ZADD"), _keys, _scores, _texts),
    st.tuples(
        st.just("XADD"),
        _keys,
        st.builds("{}-{}".format, _numbers, _numbers),
        st.sampled_from(["d", "x"]),
        _digests,
        st.sampled_from(["n", "x"]),
        _texts,
    ),
    st.tuples(st.just("XADD"), st.just(LOG), st.just("*"), st.just("d"), _texts),
    st.tuples(st.just("XSETID"), st.just(LOG), st.builds("{}-0".format, _numbers)),
    st.tuples(st.just("XTRIM"), st.just(LOG), st.just("MAXLEN"), st.integers(0, 3)),
)


@dataclass
class World:
    """A store in which one user and one batch are spoilt again and again."""

    eyes: Eyes
    log: Log
    contexts: Contexts
    appended: list[str]
    """The dedupe keys in the log of everybody else."""

    async def round(self, meddling: Sequence[Command]) -> None:
        for command in meddling:
            with suppress(redis.ResponseError):
                self.eyes(*(b"\xff" * 1_000_000 if word == "huge" else word for word in command))
        await self.others_read()
        await self.the_sick_one_reads()
        await self.everybody_gets_one()
        await self.batches_go_on()

    async def others_read(self) -> None:
        chain = cursors_of(self.appended)
        heads = await self.log.heads([SICK, *OTHERS])
        assert heads[1:] == [chain[-1]] * len(OTHERS)
        pages = await self.log.read(
            [Want(SICK, heads[0], 9), *(Want(user, chain[0], 1000) for user in OTHERS)]
        )
        assert [keys_of(page) for page in pages[1:] if page] == [self.appended] * len(OTHERS)

    async def the_sick_one_reads(self) -> None:
        for after in (START, Cursor(3, "f" * 16), Cursor(10**15, "f" * 16), None):
            page = await read(self.log, SICK, after, replay=5)
            assert all(len(each.digest) == 16 for each in page.notifications)

    async def everybody_gets_one(self) -> None:
        key = f"key-{len(self.appended)}"
        users = [NEIGHBOUR, SICK, "a", "b"]
        new = await self.log.append([entry(user, key) for user in users])
        self.appended.append(key)
        assert new == len(users)
        await self.others_read()
        page = await read(self.log, SICK, None, replay=1)
        assert keys_of(page) == [key]  # repaired, and goes on
        assert await append(self.log, SICK, key) == (0, page.head.seq)

    async def batches_go_on(self) -> None:
        batch = f"batch-{len(self.appended)}"
        waiting = [(SICK, _record(len(self.appended))), (batch, _record(0)), (batch, _record(1))]
        _, first, second = await self.contexts.resolve_or_park(waiting)
        assert (first, second) == (Parking.PARKED, Parking.PARKED)
        assert await self.contexts.register(batch, "a") == "new"
        assert batch in await self.contexts.orphans()
        parked = [each.record for each in await self.contexts.parked(batch, 10)]
        assert parked == [_record(0), _record(1)]
        assert await self.contexts.unpark(batch, [each.identity for each in parked]) == 0
        assert (await self.contexts.lookup([SICK, batch]))[batch] == "a"
        await self.contexts.expired(100)
        await self.contexts.total()
        await self.the_sick_batch_is_released()

    async def the_sick_batch_is_released(self) -> None:
        known = await self.contexts.lookup([SICK])
        if known:
            assert await self.contexts.register(SICK, SICK) in ("same", "conflict")
        else:
            assert await self.contexts.register(SICK, SICK) == "new"
        for _ in range(3):  # as the sweeper does
            while parked := await self.contexts.parked(SICK, 100):
                await self.contexts.unpark(SICK, [each.record.identity for each in parked])
            (user,) = await self.contexts.resolve_or_park([(SICK, _record(7))])
            if isinstance(user, str):
                return
        raise AssertionError("the batch is never released")


def _record(offset: int) -> StoredRecord:
    return StoredRecord("t", 0, offset, None, b"v", (), "topic-id")


def test_garbage_in_the_keys_of_one_costs_nobody_else_anything(valkey: ValkeyServer) -> None:
    eyes = Eyes(valkey.url)

    async def play(rounds: Sequence[Sequence[Command]]) -> None:
        connection = connect(redis_settings(valkey.url))
        await stamp(connection)
        log = Log(connection, HistorySettings())
        contexts = Contexts(connection, ContextSettings())
        world = World(eyes, log, contexts, [])
        try:
            for meddling in rounds:
                await world.round(meddling)
        finally:
            await connection.close()

    @settings(max_examples=120, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(garbage, min_size=1, max_size=4), min_size=1, max_size=4))
    def check(rounds: Sequence[Sequence[Command]]) -> None:
        eyes("FLUSHALL")
        asyncio.run(play(rounds))

    check()
    eyes.close()


async def test_checkpoints_that_are_none_are_as_good_as_lost(valkey: ValkeyServer, eyes: Eyes) -> None:
    connection = connect(redis_settings(valkey.url))
    checkpoints, key = Checkpoints(connection), KEYS.checkpoints(0, "g")
    await checkpoints.write("g", {("t", 0): 5, ("t", 1): 6})
    for field, value in (("t/0", "x"), ("t/x", "1"), ("t", "1"), (b"\xff", b"\xff"), ("t/2", "9" * 400)):
        eyes("HSET", key, field, value)
    assert {each: found.offset for each, found in (await checkpoints.read("g")).items()} == {("t", 1): 6}
    eyes("SET", key, "foreign")
    assert await checkpoints.read("g") == {}
    await checkpoints.write("g", {("t", 0): 5})
    assert [found.offset for found in (await checkpoints.read("g")).values()] == [5]
    await connection.close()
