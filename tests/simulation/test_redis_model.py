"""The simulated Redis against the real one: the same random commands and calls, the same answers."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from pydantic import SecretStr

from doorstep.actors.records import StoredRecord
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Call, Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.values import Want
from doorstep.config.settings import ContextSettings, HistorySettings, RedisSettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.helpers import stamp
from tests.simulation.loop import Loop, Process
from tests.simulation.network import Network
from tests.simulation.redis_lua import Lua
from tests.simulation.redis_server import RedisServer
from tests.simulation.world import BORN
from tests.support.servers import ValkeyServer

Step = Callable[[Connection], Awaitable[Any]]
"""One question to a server."""

_IN_A_SCRIPT = "local said = redis.pcall(unpack(ARGV)) return said"


def _command(chance: random.Random) -> list[str | int]:
    """One command on one of a few keys, of the type that the key has or of another."""
    key, member, number = f"k{chance.randrange(5)}", chance.choice("abcdef"), chance.randrange(8)
    some = chance.sample("abcdef", 3)
    pairs = [word for each in some for word in (each, number)]
    scored = [word for each in some for word in (chance.randrange(9), each)]
    a, b = chance.choice(("-inf", "(2", 3)), chance.choice(("+inf", "(6", 5))
    everything: Sequence[Sequence[str | int]] = (
        ("SET", key, member),
        ("SET", key, member, "PX", 100_000),
        ("GET", key),
        ("MGET", key, "k1"),
        ("DEL", key),
        ("UNLINK", key, "k2"),
        ("EXISTS", key, "k3"),
        ("PEXPIRE", key, 100_000),
        ("HSET", key, *pairs),
        ("HSET", key, "a"),
        ("HGET", key, member),
        ("HMGET", key, *some),
        ("HGETALL", key),
        ("HEXISTS", key, member),
        ("HKEYS", key),
        ("HLEN", key),
        ("HDEL", key, *some),
        ("ZADD", key, *scored),
        ("ZADD", key, "NX", *scored),
        ("ZREM", key, *some),
        ("ZCARD", key),
        ("ZSCORE", key, member),
        ("ZRANGE", key, number - 4, number - 2),
        ("ZRANGE", key, -1, -1, "WITHSCORES"),
        ("ZRANGEBYSCORE", key, a, b),
        ("ZRANGEBYSCORE", key, a, b, "LIMIT", 1, 2),
        ("ZREMRANGEBYSCORE", key, a, b),
        ("ZREMRANGEBYRANK", key, 0, number - 4),
        ("ZSCAN", key, 0),
        ("XADD", key, f"{number}-0", "d", member, "n", member),
        ("XADD", key, number, "d", member),
        ("XRANGE", key, "-", "+", "COUNT", 2),
        ("XRANGE", key, f"{number}-0", "6-0"),
        ("XREVRANGE", key, "+", "-", "COUNT", 1),
    )
    return list(chance.choice(everything))


def _raw(words: Sequence[str | int]) -> Step:
    return lambda connection: connection.run_one(Call(str(words[1]), tuple(words)))


def _scripted(words: Sequence[str | int]) -> Step:
    return _raw(["EVAL", _IN_A_SCRIPT, 0, *words])


def _step_of_store(chance: random.Random) -> Step:
    """One call of the store, as consumers and holders make it."""
    user, batch = f"u{chance.randrange(3)}", f"b{chance.randrange(3)}"
    history = HistorySettings(max_count=1000, dedupe_window=4)
    entries = [(user, b"key-%d" % chance.randrange(20), b'{"n":%d}' % chance.randrange(99)) for _ in range(3)]
    records = [
        (batch, StoredRecord("topic", 0, chance.randrange(20), b"k", b"v", ()))
        for _ in range(chance.randint(1, 3))
    ]
    limit = chance.randint(1, 4)
    named = [each[1].identity for each in records]
    context = ContextSettings(max_parked_per_batch=5, max_parked=12)
    steps: Sequence[Step] = (
        lambda connection: Log(connection, history).append(entries),
        lambda connection: Log(connection, history).append(entries),
        lambda connection: Log(connection, history).read([Want(user, None, limit, limit)], now=True),
        lambda connection: Log(connection, history).read([Want(user, Cursor(limit, "0" * 16), 5)], now=True),
        lambda connection: Log(connection, history).heads(["u0", "u1", "u2"]),
        lambda connection: _mark_read(Log(connection, history), user),
        lambda connection: Contexts(connection, context).resolve_or_park(records),
        lambda connection: Contexts(connection, context).register(batch, user),
        lambda connection: Contexts(connection, context).parked(batch, limit),
        lambda connection: Contexts(connection, context).unpark(batch, named),
        lambda connection: Contexts(connection, context).orphans(),
        lambda connection: Contexts(connection, context).total(),
    )
    return chance.choice(steps)


async def _mark_read(log: Log, user: str) -> tuple[int, Sequence[Any]]:
    (head,) = await log.heads([user])
    assert head is not None
    return await log.mark_read({user: head}), await log.read([Want(user, head, 1)])


async def _answers(connection: Connection, steps: Sequence[Step]) -> list[Any]:
    """What each step comes to; of a refusal only its first words, as servers put them differently."""
    answers: list[Any] = []
    for step in steps:
        try:
            answers.append(await step(connection))
        except StoreError as error:
            answers.append(str(error).split(":")[-1].split()[:1])
    await connection.close()
    return answers


def _simulated(prepare: Callable[[Connection], Awaitable[None]], steps: Sequence[Step]) -> list[Any]:
    loop = Loop()
    network = Network(loop, random.Random(1))
    loop.connector = network.connect
    RedisServer(network, "redis", Lua(), lambda: BORN + loop.time())
    process = Process(loop, "test", "host")

    async def ask() -> list[Any]:
        connection = connect(RedisSettings(url=SecretStr("redis://redis")))
        await prepare(connection)
        return await _answers(connection, steps)

    async def wait_for_it() -> list[Any]:
        return await process.call(loop.create_task, ask())

    try:
        return loop.run(wait_for_it())
    finally:
        loop.close()


async def _nothing(_: Connection) -> None: ...


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", [_raw, _scripted])
async def test_commands(valkey: ValkeyServer, seed: int, form: Callable[[Sequence[str | int]], Step]) -> None:
    chance = random.Random(seed)
    commands = [_command(chance) for _ in range(1500)]
    steps = [form(words) for words in commands]
    real = await _answers(connect(RedisSettings(url=SecretStr(valkey.url))), steps)
    simulated = await asyncio.to_thread(_simulated, _nothing, steps)
    for words, said, expected in zip(commands, simulated, real, strict=True):
        assert said == expected, words


@pytest.mark.parametrize("seed", range(4))
async def test_calls_of_the_store(valkey: ValkeyServer, seed: int) -> None:
    chance = random.Random(seed)
    steps = [_step_of_store(chance) for _ in range(400)]
    connection = connect(RedisSettings(url=SecretStr(valkey.url)))
    await stamp(connection)
    real = await _answers(connection, steps)
    assert await asyncio.to_thread(_simulated, stamp, steps) == real
