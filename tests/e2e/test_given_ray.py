"""A Ray that was there before: what becomes of the actors of a `serve` that was killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from doorstep.actors.control.own_ray import LOOPBACK_ONLY
from doorstep.development.ports import free_port
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service


@pytest.fixture
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


def pids(service: Service) -> dict[str, int]:
    return {name: actor["process"]["pid"] for name, actor in service.status()["actors"].items()}


def events(service: Service) -> Mapping[str, str]:
    """Its lines so far, by their events."""
    lines = [line for line in service.process.log.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    return {json.loads(line)["event"]: line for line in lines}


def wait_for(service: Service, event: str) -> None:
    service.process.wait_until(lambda: event in events(service), what=event, timeout_s=60)


@pytest.mark.timeout(240)
def test_the_same_actors_are_adopted_and_others_refused_or_replaced(
    given_ray: dict[str, str], broker: KafkaServer, store: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    service = Service(tmp_path, broker.bootstrap, store.url, names.group(), given_ray)
    service.start()
    first = pids(service)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(10)

    service.process.start()
    wait_for(service, "actors_adopted")
    assert pids(service) == first
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(10)

    changed = service.changed(DOORSTEP_HISTORY__MAX_COUNT="77")
    changed.process.start()
    assert changed.process.wait(60) == 2
    digest = service.status()["actors"]["supervisor"]["process"]["digest"]
    assert digest in events(changed)["other_actors"]

    replacing = service.changed("--replace", DOORSTEP_HISTORY__MAX_COUNT="77")
    replacing.process.start()
    wait_for(replacing, "serving")
    replacing.wait_until_ready()
    second = pids(replacing)
    assert set(second) == set(first)
    assert not set(second.values()) & set(first.values())
    assert replacing.stop(30) == 0
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
