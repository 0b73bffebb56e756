"""The image and deploy/compose.yaml do what they are for, run for real."""

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.containers.compose import Deployment, DockerError, build_image, run
from tests.support.names import Names
from tests.support.plugin import FigureRecorder

IMAGES = ("PYTHON_IMAGE", "KAFKA_IMAGE", "VALKEY_IMAGE")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def deployment(record_figure: FigureRecorder, record_component: FigureRecorder) -> Iterator[Deployment]:
    record_component("Docker", run("docker", "version", "--format", "{{.Server.Version}}").strip())
    record_component("Images", ", ".join(os.environ[name] for name in IMAGES))
    started = time.monotonic()
    build_image()
    built = time.monotonic()
    running = Deployment()
    try:
        running.up()
        record_figure("containers: image built", f"{built - started:.0f} s")
        record_figure("containers: compose up until healthy", f"{time.monotonic() - built:.0f} s")
        yield running
    finally:
        running.down()


@contextmanager
def _socket(deployment: Deployment, user: str, query: str = "") -> Iterator[ClientConnection]:
    token = deployment.doorstep("token", user).strip()
    url = f"ws://127.0.0.1:{deployment.port}/v1/ws{query}"
    headers = {"Authorization": f"Bearer {token}"}
    with connect(url, additional_headers=headers, subprotocols=[Subprotocol("doorstep.v1")]) as socket:
        yield socket


def _next(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=20))
    return message


def test_an_event_reaches_the_published_port(deployment: Deployment, names: Names) -> None:
    with _socket(deployment, names.user()) as socket:
        assert _next(socket)["event"] == "doorstep.welcome"
        deployment.doorstep("produce", "--count", "3", names.user())
        assert [_next(socket)["seq"] for _ in range(3)] == [1, 2, 3]


def test_the_log_survives_a_restart_of_everything(deployment: Deployment, names: Names) -> None:
    with _socket(deployment, names.user()) as socket:
        start = _next(socket)["data"]["cursor"]
        deployment.doorstep("produce", "--count", "1", names.user())
        assert _next(socket)["seq"] == 1
    deployment.compose("down")
    deployment.up()
    with _socket(deployment, names.user(), f"?cursor={start}") as socket:
        assert _next(socket)["data"]["resumed"] is True
        assert _next(socket)["seq"] == 1


def test_it_is_ready(deployment: Deployment) -> None:
    assert json.loads(deployment.inside("doorstep", "doorstep", "status", "--json"))["ok"] is True
    with urllib.request.urlopen(f"http://127.0.0.1:{deployment.port}/healthz", timeout=5) as answer:
        assert json.load(answer) == {"status": "alive"}


def test_nothing_runs_as_root(deployment: Deployment) -> None:
    owners = run("docker", "top", deployment.container("doorstep"), "-eo", "uid,pid").splitlines()[1:]
    assert len(owners) > 5
    assert {line.split()[0] for line in owners} == {"10001"}


def test_the_image_cannot_be_written_to(deployment: Deployment) -> None:
    with pytest.raises(DockerError, match="Read-only file system"):
        deployment.inside("doorstep", "touch", "/opt/doorstep/x")


def test_valkey_keeps_what_it_acknowledged(deployment: Deployment) -> None:
    settings = deployment.inside("valkey", "valkey-cli", "config", "get", "appendonly", "maxmemory-policy")
    assert settings.split() == ["appendonly", "yes", "maxmemory-policy", "noeviction"]


def test_it_stops_cleanly(deployment: Deployment, record_figure: FigureRecorder) -> None:
    started = time.monotonic()
    deployment.compose("stop", "doorstep")
    record_figure("containers: stop", f"{time.monotonic() - started:.1f} s")
    state = deployment.state("doorstep")
    assert state["ExitCode"] == 0
    assert not state["OOMKilled"]
    deployment.up()
