"""What a command costs through our link and through redis-py, in one run (docs/decisions/0002)."""

import time

import pytest
import redis.asyncio

from doorstep.actors.store.redis.calls import Call
from doorstep.actors.store.redis.connection import connect
from doorstep.config.settings import load_settings
from tests.support.plugin import FigureRecorder
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.alone

PIPELINE = 200
ROUNDS = 50
ARGUMENTS = (3, "a:{s1}:log", "a:{s1}:head", "a:{s1}:ids", "u", 1, b"12345678", b"x" * 370)


async def test_the_link_costs_less_than_half_of_redis_py(
    valkey: ValkeyServer, record_figure: FigureRecorder
) -> None:
    theirs = redis.asyncio.Redis.from_url(valkey.url, protocol=3)
    ours = connect(load_settings(redis={"url": valkey.url}).redis)
    sha = await theirs.script_load("return 1")
    calls = [Call("k", ("EVALSHA", sha, *ARGUMENTS)) for _ in range(PIPELINE)]

    async def through_redis_py() -> None:
        pipeline = theirs.pipeline(transaction=False)
        for _ in range(PIPELINE):
            pipeline.evalsha(sha, *ARGUMENTS)
        await pipeline.execute()

    costs = []
    for run in (through_redis_py, lambda: ours.run(calls)):
        await run()
        begun = time.process_time()
        for _ in range(ROUNDS):
            await run()
        costs.append((time.process_time() - begun) / ROUNDS / PIPELINE * 1e6)
    await theirs.aclose()
    await ours.close()
    record_figure("client CPU of a Redis command", f"{costs[1]:.1f} µs (redis-py: {costs[0]:.1f} µs)")
    assert costs[1] < costs[0] / 2
