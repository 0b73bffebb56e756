"""Ray, or `serve` itself, is killed: `serve` says so and ends, the actors end, and nothing is left behind."""

import asyncio
import json

import psutil
import pytest

from tests.e2e.conftest import ServiceFactory
from tests.e2e.test_privacy import directory_of
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.waiting import until

LIMIT_S = 30.0
RAY_LOST = 3


@pytest.mark.parametrize("server", ["raylet", "gcs_server", "doorstep"])
async def test_nothing_outlives_it(serve: ServiceFactory, names: Names, server: str) -> None:
    service = await asyncio.to_thread(serve)
    family, directory = service.family(), directory_of(service)
    async with Browser(service.address, names.user()):
        service.member(server).kill()
        status = await asyncio.to_thread(service.process.wait, LIMIT_S)
        _, alive = await asyncio.to_thread(psutil.wait_procs, family[1:], LIMIT_S)
    assert alive == []
    await until(lambda: not directory.exists())
    if server == "doorstep":
        return
    assert status == RAY_LOST
    told = [json.loads(line) for line in service.process.output().splitlines()]
    assert [line["error"] for line in told if line["event"] == "ray_lost"] == [
        f"Ray's {server} has ended: nobody would restart an actor"
    ]
