"""A stop is clean: in time, in order, and nothing is left or lost."""

import asyncio
import contextlib
import signal
import time

import psutil
import pytest

from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification

LIMIT_S = 6.0
DRAIN_S = 10
USERS, DEVICES, EVENTS = 100, 5, 2000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything(serve: ServiceFactory, names: Names, number: signal.Signals) -> None:
    service = await asyncio.to_thread(serve)
    family = psutil.Process(service.process.pid).children(recursive=True)
    async with Browser(service.address, names.user()):
        begun = time.monotonic()
        service.process.signal(number)
        status = await asyncio.to_thread(service.process.wait, 30)
    assert status == 0
    assert time.monotonic() - begun < LIMIT_S
    _, alive = psutil.wait_procs(family, timeout=1)
    assert alive == []


@pytest.mark.timeout(240)
async def test_500_sockets_under_load_lose_nothing_by_a_restart(
    serve: ServiceFactory, publisher: Publisher, names: Names
) -> None:
    service = await asyncio.to_thread(serve, DOORSTEP_DRAIN_S=str(DRAIN_S))
    users = [names.user(number) for number in range(USERS)]
    async with contextlib.AsyncExitStack() as stack:
        browsers = [Browser(service.address, user, retry_s=20) for user in users for _ in range(DEVICES)]
        for browser in browsers:
            await stack.enter_async_context(browser)
        publishing = asyncio.create_task(_publish(publisher, users))
        await asyncio.sleep(2)
        begun = time.monotonic()
        service.process.signal(signal.SIGTERM)
        status = await asyncio.to_thread(service.process.wait, 3 * DRAIN_S)
        took_s = time.monotonic() - begun
        said = service.process.output(200)
        await asyncio.to_thread(service.start)
        await publishing
        await asyncio.to_thread(publisher.flush)
        for browser in browsers:
            await browser.wait_for(EVENTS // USERS, 60)
    assert (status, took_s < DRAIN_S) == (0, True)
    assert "actor_did_not_stop" not in said
    for number, browser in enumerate(browsers):
        expected = list(range(number // DEVICES, EVENTS, USERS))
        assert [each["data"]["number"] for each in browser.journal.notifications] == expected
        assert browser.journal.resets == []


async def _publish(publisher: Publisher, users: list[str]) -> None:
    for number in range(EVENTS):
        publisher.send(teacher_notification(users[number % USERS], {"number": number}))
        await asyncio.sleep(0.004)
