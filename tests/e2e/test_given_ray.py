"""A Ray that was there before: what becomes of actors without it, and without the `serve` that began them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from doorstep.actors.control.own_ray import LOOPBACK_ONLY
from doorstep.actors.placement.cell import HERE, node_of
from doorstep.development.ports import free_port
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service


@pytest.fixture(scope="module")
def given_ray() -> Iterator[dict[str, str]]:
    """What `serve` needs to be told of it."""
    directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the path of a Unix socket must be short
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.ray_process", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield {
            "DOORSTEP_RAY__ADDRESS": process.stdout.readline().strip(),
            LOOPBACK_ONLY: "0",  # else Ray would look for it at this machine's other address
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(directory / "ray" / "token"),
        }
        process.stdin.close()
        process.wait(30)


@pytest.fixture(scope="module")
def service(
    given_ray: dict[str, str],
    broker: KafkaServer,
    store: ValkeyServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """One for all tests here, with a canary; the last one ends it."""
    env = {**given_ray, "DOORSTEP_CANARY__INTERVAL_S": "0.5"}
    directory = tmp_path_factory.mktemp("doorstep")
    service = Service(directory, broker.bootstrap, store.url, Names().group(), env)
    service.start()
    yield service
    service.stop()


def pids(service: Service) -> dict[str, int]:
    return {name: actor["process"]["pid"] for name, actor in service.status()["actors"].items()}


def lines_of(service: Service, event: str) -> list[str]:
    """Its lines so far of this event."""
    lines = [line for line in service.process.log.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    return [line for line in lines if json.loads(line)["event"] == event]


def wait_for(service: Service, event: str, times: int = 1) -> None:
    service.process.wait_until(lambda: len(lines_of(service, event)) >= times, what=event, timeout_s=60)


def control_plane() -> psutil.Process:
    """The GCS of the given Ray."""
    return next(each for each in psutil.Process().children(recursive=True) if each.name() == "gcs_server")


def names_ray(service: Service) -> bool:
    """Whether `/status` says that it is away."""
    return any(what == "ray" for _, what in service.troubles())


async def sees(service: Service, user_id: str, count: int) -> bool:
    """Whether a user is sent as many notifications from now on."""
    async with Browser(service.address, user_id) as browser:
        await browser.wait_for(count, 10)
    return len(browser.journal.notifications) >= count


@pytest.mark.timeout(240)
def test_an_outage_of_its_control_plane_is_named_and_costs_nothing(service: Service) -> None:
    (node,) = {node_of(name) for name in pids(service)} - {HERE}
    away = control_plane()
    away.suspend()
    try:
        service.process.wait_until(lambda: names_ray(service), what="`ray` in /status", timeout_s=20)
        assert service.probe("/livez") == 200
        assert asyncio.run(sees(service, f"doorstep-canary.{node}", 2))
    finally:
        away.resume()
    service.wait_until_ready()


@pytest.mark.timeout(240)
def test_the_same_actors_are_adopted_and_left_and_others_refused_or_replaced(service: Service) -> None:
    first = pids(service)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(10)

    service.process.start()
    wait_for(service, "actors_adopted")
    wait_for(service, "serving", times=2)
    assert service.stop(30) == 0
    assert pids(service) == first

    changed = service.changed(DOORSTEP_HISTORY__MAX_COUNT="77")
    changed.process.start()
    assert changed.process.wait(60) == 2
    digest = service.status()["actors"]["supervisor"]["process"]["digest"]
    assert digest in lines_of(changed, "other_actors")[0]

    replacing = service.changed("--replace", DOORSTEP_HISTORY__MAX_COUNT="77")
    replacing.process.start()
    wait_for(replacing, "serving")
    replacing.wait_until_ready()
    second = pids(replacing)
    assert set(second) == set(first)
    assert not set(second.values()) & set(first.values())
    os.kill(replacing.process.pid, signal.SIGKILL)
    replacing.process.wait(10)

    assert replacing.run("down").returncode == 0
    assert not any(psutil.pid_exists(pid) for pid in second.values())


@pytest.mark.ray
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_serve_that_looks_for_a_ray_that_is_not_there_can_be_stopped(
    ending: signal.Signals, names: Names, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    ray = {"DOORSTEP_RAY__ADDRESS": nobody, LOOPBACK_ONLY: "0"}
    service = Service(tmp_path, nobody, f"redis://{nobody}", names.group(), ray)
    service.process.start()
    looking = "Connecting to existing Ray cluster"
    service.process.wait_until(lambda: looking in service.process.output(), what=looking, timeout_s=60)
    os.kill(service.process.pid, ending)
    assert service.process.wait(10) == 0
    assert '"stopped"' in service.process.output()
