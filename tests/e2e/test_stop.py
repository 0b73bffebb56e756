"""A stop is clean: in time, in order, and nothing is left or lost."""

import asyncio
import contextlib
import json
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.service import Service

LIMIT_S = 19.0
"""Less than the 20 s that may go by before who does not stop is made to."""
DRAIN_S = 60
USERS, DEVICES, EVENTS = 100, 5, 2000
READ_MEANWHILE = 250
"""Events that may come while the last commit is under way, and so are read again: at 250 a second far fewer.
Without that commit it is all that was read since the start, at least 500."""


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
    _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
    assert alive == []


async def test_a_signal_to_all_that_it_has_started_ends_it_as_well(
    serve: ServiceFactory, run_dir: Path
) -> None:
    """So `timeout` and systemd do it: Ray's servers end while `serve` still asks them."""
    with_secrets = run_dir / "run"
    service = await asyncio.to_thread(serve, DOORSTEP_RUN_DIR=str(with_secrets))
    family = psutil.Process(service.process.pid).children(recursive=True)
    begun = time.monotonic()
    service.process.signal(signal.SIGTERM)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    status = await asyncio.to_thread(service.process.wait, 30)
    assert (status, time.monotonic() - begun < LIMIT_S) == (0, True)
    assert all(json.loads(line) for line in service.process.output(200).splitlines())
    assert not with_secrets.exists()
    _, alive = psutil.wait_procs(family, timeout=LIMIT_S)
    assert alive == []


async def test_500_sockets_under_load_lose_nothing_by_a_restart(
    serve: ServiceFactory, publisher: Publisher, names: Names
) -> None:
    only_at_the_end = {"DOORSTEP_KAFKA__COMMIT_INTERVAL_MS": "600000"}
    service = await asyncio.to_thread(serve, DOORSTEP_DRAIN_S=str(DRAIN_S), **only_at_the_end)
    users = [names.user(number) for number in range(USERS)]
    async with contextlib.AsyncExitStack() as stack:
        browsers = [Browser(service.address, user, retry_s=20) for user in users for _ in range(DEVICES)]
        for browser in browsers:
            await stack.enter_async_context(browser)
        publishing = asyncio.create_task(_publish(publisher, users))
        await asyncio.sleep(2)
        begun = time.monotonic()
        service.process.signal(signal.SIGTERM)
        unready = await asyncio.to_thread(_until_unready, service)
        status = await asyncio.to_thread(service.process.wait, 2 * DRAIN_S)
        took_s = time.monotonic() - begun
        said = service.process.output(200)
        await asyncio.to_thread(service.start)
        await publishing
        await asyncio.to_thread(publisher.flush)
        for browser in browsers:
            await browser.wait_for(EVENTS // USERS)
        outcomes = await asyncio.to_thread(_outcomes, service)
    assert (status, took_s < DRAIN_S) == (0, True)
    assert outcomes["appended"] > 0
    assert outcomes.get("repeated", 0) < READ_MEANWHILE, "consumers are to finish and commit"
    assert unready < min(browser.journal.gone[0] for browser in browsers), "balancers are to notice first"
    assert "actor_did_not_stop" not in said
    for number, browser in enumerate(browsers):
        expected = list(range(number // DEVICES, EVENTS, USERS))
        assert [each["data"]["number"] for each in browser.journal.notifications] == expected
        assert browser.journal.resets == []


def _until_unready(service: Service) -> float:
    """When `/readyz` said first that this gateway takes no more sockets."""
    service.process.wait_until(
        lambda: service.probe("/readyz") == 503, what="503 of /readyz", timeout_s=DRAIN_S
    )
    return time.monotonic()


def _outcomes(service: Service) -> dict[str, float]:
    """What has become of the records that consumers have read since their start, and of how many."""
    page = service.ask("/metrics").decode()
    found = re.findall(r'^doorstep_consumer_records_total\{.*outcome="(\w+)".*} (\S+)$', page, re.MULTILINE)
    return {outcome: float(count) for outcome, count in found}


async def _publish(publisher: Publisher, users: list[str]) -> None:
    for number in range(EVENTS):
        publisher.send(teacher_notification(users[number % USERS], {"number": number}))
        await asyncio.sleep(0.004)
