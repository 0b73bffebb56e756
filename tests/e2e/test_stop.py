"""A stop is clean: within 5 s, and no process is left."""

import asyncio
import signal
import time

import psutil
import pytest

from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.names import Names

LIMIT_S = 5.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_everything(serve: ServiceFactory, names: Names, number: signal.Signals) -> None:
    service = await asyncio.to_thread(serve)
    family = psutil.Process(service.process.pid).children(recursive=True)
    async with Browser(service.address, names.user()):
        begun = time.monotonic()
        service.process.signal(number)
        status = await asyncio.to_thread(service.process.wait, 20)
    assert status == 0
    assert time.monotonic() - begun < LIMIT_S
    _, alive = psutil.wait_procs(family, timeout=1)
    assert alive == []
