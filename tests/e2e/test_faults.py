"""Processes and servers that die in the middle of a stream: nothing is lost, doubled or out of order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import redis

from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service
from tests.support.waiting import until

USERS = 20


@contextlib.asynccontextmanager
async def browsers_of(service: Service, names: Names) -> AsyncIterator[Sequence[Browser]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Browser(service.address, names.user(number)))
            for number in range(USERS)
        ]


async def stream(publisher: Publisher, names: Names, first: int, count: int, per_second: float) -> None:
    """Publish `count` events at a steady rate, round the users."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(first, first + count):
        await asyncio.sleep(max(start + (number - first) / per_second - loop.time(), 0))
        publisher.send(teacher_notification(names.user(number % USERS), {"number": number}))


async def check(browsers: Sequence[Browser], events: int) -> None:
    """Every browser has its share, in order, once."""
    for which, browser in enumerate(browsers):
        numbers = list(range(which, events, USERS))
        await browser.wait_for(len(numbers))
        assert [n["data"]["number"] for n in browser.journal.notifications] == numbers
        assert browser.journal.seqs == list(range(1, len(numbers) + 1))
        assert browser.journal.resets == []


async def test_holders_and_consumers_killed_in_the_middle(
    serve: ServiceFactory, publisher: Publisher, names: Names
) -> None:
    service = await asyncio.to_thread(
        serve,
        DOORSTEP_HOLDERS="2",
        DOORSTEP_CONSUMERS="2",
        DOORSTEP_KAFKA__SESSION_TIMEOUT_MS="6000",
    )
    async with browsers_of(service, names) as browsers:
        publishing = asyncio.create_task(stream(publisher, names, 0, 5000, 1000))
        for kind in ("Holder", "Consumer", "Holder", "Gateway"):
            await asyncio.sleep(1)
            await asyncio.to_thread(service.kill, kind)
        await publishing
        await asyncio.to_thread(publisher.flush)
        await check(browsers, 5000)
        assert publisher.failed == []
        assert any(browser.journal.connects > 1 for browser in browsers)
        await asyncio.to_thread(service.wait_until_ready)


async def test_redis_stopped_for_10_s_with_its_feeds_cut_before(
    serve: ServiceFactory, store: ValkeyServer, publisher: Publisher, names: Names
) -> None:
    service = await asyncio.to_thread(serve)
    async with browsers_of(service, names) as browsers:
        publishing = asyncio.create_task(stream(publisher, names, 0, 3000, 200))
        await asyncio.sleep(1)
        with redis.Redis.from_url(store.url) as client:
            assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") > 0
        await asyncio.sleep(1)
        await asyncio.to_thread(store.stop)
        told = await _troubles(service, ("holder-0", "redis"), ("consumer-0", "redis"))
        await asyncio.sleep(7)
        await asyncio.to_thread(store.start)
        await publishing
        await check(browsers, 3000)
        assert told["holder-0", "redis"]["state"] == "open"
        assert told["holder-0", "redis"]["since"]
        assert all(browser.journal.connects == 1 for browser in browsers)
        await asyncio.to_thread(service.wait_until_ready)


async def test_redis_loses_everything_while_clients_are_connected(
    serve: ServiceFactory, store: ValkeyServer, publisher: Publisher, names: Names
) -> None:
    """Each has had more than is appended again at once: nobody gets anything twice, and nobody is reset."""
    service = await asyncio.to_thread(serve, DOORSTEP_CONSUMERS="2", DOORSTEP_KAFKA__MAX_POLL_RECORDS="50")
    async with browsers_of(service, names) as browsers:
        await stream(publisher, names, 0, 6000, 3000)
        await check(browsers, 6000)
        await asyncio.to_thread(service.wait_until, lambda: _all_committed(service), "all commits")
        with redis.Redis.from_url(store.url) as client:
            await asyncio.to_thread(client.flushall)
        await stream(publisher, names, 6000, USERS, 3000)
        await check(browsers, 6000 + USERS)
        assert all(browser.journal.connects == 1 for browser in browsers)
        counted = b'doorstep_consumer_restarts_total{actor="consumer-0",cause="lost_writes"} 1'
        await until(lambda: counted in service.ask("/metrics"))


def _all_committed(service: Service) -> bool:
    lines = service.ask("/metrics").decode().splitlines()
    counts = [line.split()[-1] for line in lines if line.startswith("doorstep_consumer_in_flight_records{")]
    return len(counts) == 2 and not any(map(float, counts))


async def _troubles(service: Service, *those: tuple[str, str]) -> dict[tuple[str, str], dict[str, Any]]:
    """What `/status` says as soon as these are among it, and its breakers are open."""

    def told() -> bool:
        found = service.troubles()
        return all(each in found and found[each]["state"] == "open" for each in those)

    await asyncio.to_thread(service.wait_until, told, f"{those} in /status")
    return await asyncio.to_thread(service.troubles)


async def test_kafka_stopped_for_10_s(
    serve: ServiceFactory, broker: KafkaServer, publisher: Publisher, names: Names
) -> None:
    service = await asyncio.to_thread(serve)
    async with browsers_of(service, names) as browsers:
        publishing = asyncio.create_task(stream(publisher, names, 0, 4000, 200))
        await asyncio.sleep(3)
        await asyncio.to_thread(broker.stop)
        told = await _troubles(service, ("consumer-0", "kafka"))
        readiness = await asyncio.to_thread(service.probe, "/readyz")
        await asyncio.sleep(6)
        await asyncio.to_thread(broker.start)
        await publishing
        await asyncio.to_thread(publisher.flush)
        assert publisher.failed == []
        await check(browsers, 4000)
        assert told["consumer-0", "kafka"]["state"] == "open"
        assert readiness == 200  # sockets are no better off elsewhere
        assert all(browser.journal.connects == 1 for browser in browsers)
        await asyncio.to_thread(service.wait_until_ready)


async def test_a_holder_that_cannot_listen_dies_loudly_until_it_can(
    serve: ServiceFactory, names: Names, run_dir: Path
) -> None:
    """Root may write everywhere; what even root can't replace by a socket is a directory."""
    service = await asyncio.to_thread(serve, DOORSTEP_RUN_DIR=str(run_dir))
    place = run_dir / "holder-0.sock"
    place.unlink()
    place.mkdir()
    await asyncio.to_thread(service.kill, "Holder")
    await asyncio.to_thread(
        service.wait_until,
        lambda: service.process.log.read_text().count("main_task_over") >= 2,
        "a holder that dies again and again",
    )
    assert f"can't listen at {place}" in service.process.log.read_text()
    assert not service.is_ready()
    place.rmdir()
    await asyncio.to_thread(service.wait_until_ready)
    async with Browser(service.address, names.user()):
        pass
