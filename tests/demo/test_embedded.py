"""The embedded servers work, and are gone when the demo is, however it ends."""

import asyncio
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from doorstep.config.settings import KafkaSettings
from doorstep.demo.embedded import FETCH_MAX_WAIT_MS, embedded_kafka, embedded_valkey
from doorstep.demo.stream import Publisher, following, producing
from doorstep.demo.wire import TOPICS, Message, Trace
from doorstep.development.ports import is_open
from doorstep.development.processes import ServerProcess
from tests.support.waiting import PATIENCE_S

_DIES = """
import asyncio, os, signal
from doorstep.demo.embedded import embedded_valkey
async def main():
    async with embedded_valkey() as url:
        print(url, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2].partition("/")[0])


async def test_kafka_serves_producers_and_several_readers_at_once() -> None:
    seen: list[list[int]] = [[], []]
    done = asyncio.Event()

    def see(reader: int, message: Message) -> None:
        seen[reader].append(message.data["number"])
        if all(len(each) == 100 for each in seen):
            done.set()

    async def first(message: Message) -> None:
        see(0, message)

    async def second(message: Message) -> None:
        see(1, message)

    async with embedded_kafka(TOPICS) as address:
        settings = KafkaSettings(bootstrap_servers=address, fetch_max_wait_ms=FETCH_MAX_WAIT_MS)
        async with (
            producing(settings) as producer,
            following(settings, TOPICS[:1], first),
            following(settings, TOPICS[:2], second),
        ):
            for number in range(100):
                await Publisher(producer, "test").publish(TOPICS[0], "key", {"number": number}, Trace("c"))
            await asyncio.wait_for(done.wait(), PATIENCE_S)
    assert seen == [list(range(100))] * 2
    assert not is_open(port_of(address))


@pytest.mark.valkey
async def test_valkey_wants_its_password_and_forgets_everything() -> None:
    async with embedded_valkey() as url:
        async with redis.Redis.from_url(url) as client:
            assert await client.set("key", "value")
            assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
            directory = Path(str((await client.config_get("dir"))["dir"]))
        stranger = redis.Redis(port=port_of(url), retry=Retry(NoBackoff(), 0))
        with pytest.raises(AuthenticationError):
            await stranger.ping()
        await stranger.aclose()
        assert (await asyncio.to_thread(directory.stat)).st_mode & 0o777 == 0o700
    assert not is_open(port_of(url))
    assert not await asyncio.to_thread(directory.exists)


@pytest.mark.valkey
async def test_valkey_goes_down_with_the_process_that_runs_it(tmp_path: Path) -> None:
    process = ServerProcess([sys.executable, "-c", _DIES], log=tmp_path / "log")
    process.start()
    await asyncio.to_thread(
        process.wait_until, lambda: "redis://" in process.output(), what="the process", timeout_s=PATIENCE_S
    )
    port = urlsplit(process.output()).port
    assert port is not None
    assert is_open(port)
    process.signal(signal.SIGKILL)
    process.wait(5)
    for _ in range(100):
        if not is_open(port):
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("Valkey lives on without its owner")
