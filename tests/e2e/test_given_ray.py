"""A Ray that was there before: what becomes of actors without it, and without the `serve` that began them."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from doorstep.actors.control.own_ray import LOOPBACK_ONLY
from doorstep.actors.placement.cell import HERE, node_of
from doorstep.actors.placement.homes import public_name
from doorstep.actors.placement.slots import SLOTS
from doorstep.development.ports import free_port
from tests.e2e.load import USERS, load_on, visitors_of
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service, token_for
from tests.support.waiting import until


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
    """One for all tests here, with a canary and homes; the last one ends it."""
    env = {
        **given_ray,
        "DOORSTEP_CANARY__INTERVAL_S": "0.5",
        "DOORSTEP_GATEWAY__PUBLIC_URL": "wss://{node}.school.test",
    }
    directory = tmp_path_factory.mktemp("doorstep")
    service = Service(directory, broker.bootstrap, store.url, Names().group(), env)
    service.start()
    yield service
    service.stop()


def pids(service: Service) -> dict[str, int]:
    """By name, the processes of the actors that answer."""
    actors = service.status().get("actors", {}).items()
    return {name: actor["process"]["pid"] for name, actor in actors if "process" in actor}


def lines_of(service: Service, event: str) -> list[str]:
    """Its lines so far of this event."""
    log = service.process.log
    said = log.read_text() if log.exists() else ""
    lines = [line for line in said.splitlines(keepends=True) if line[-1] == "\n"]
    return [line for line in lines if json.loads(line)["event"] == event]


def outcome(service: Service) -> int | str:
    """What becomes of a `serve` that is started now: its exit status, or `serving`."""
    before = len(lines_of(service, "serving"))
    service.process.start()
    deadline = time.monotonic() + 60
    while len(lines_of(service, "serving")) == before:
        if not service.process.running:
            return service.process.wait(0)
        assert time.monotonic() < deadline, service.process.output()
        time.sleep(0.05)
    return "serving"


def control_plane() -> psutil.Process:
    """The GCS of the given Ray."""
    return next(each for each in psutil.Process().children(recursive=True) if each.name() == "gcs_server")


def names_ray(service: Service) -> bool:
    """Whether `/status` says that it is away."""
    return any(what == "ray" for _, what in service.troubles())


async def sees(service: Service, user_id: str, count: int) -> bool:
    """Whether a user is sent as many notifications from now on."""
    async with Browser(service.address, user_id) as browser:
        await browser.wait_for(count)
    return len(browser.journal.notifications) >= count


def test_a_token_that_is_not_rays_is_named(given_ray: dict[str, str], names: Names, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    nobody = f"127.0.0.1:{free_port()}"
    env = {**given_ray, "RAY_AUTH_TOKEN_PATH": str(token)}
    refused = Service(tmp_path, nobody, f"redis://{nobody}", names.group(), env).run("down")
    assert refused.returncode == 1
    assert "does not let us in: " in refused.stdout + refused.stderr
    assert "RAY_AUTH_TOKEN_PATH" in refused.stdout + refused.stderr


def test_the_only_node_is_everybodys_home_by_the_name_of_its_host(service: Service) -> None:
    url = f"http://{service.address}/v1/endpoint"
    home = public_name("", socket.gethostname())
    mine = urllib.request.Request(url, headers={"Authorization": f"Bearer {token_for('anna')}"})
    wanted = {"url": f"wss://{home}.school.test/v1/ws"}
    service.wait_until(lambda: _json_at(mine) == wanted, "a home")
    assert _json_at(url) == {"url": f"ws://{service.address}/v1/ws"}
    (holder,) = (actor for name, actor in service.status()["actors"].items() if name.startswith("holder-"))
    assert holder["slots"] == SLOTS


def _json_at(where: str | urllib.request.Request) -> object:
    with urllib.request.urlopen(where, timeout=5) as answer:
        return json.loads(answer.read())


def test_an_outage_of_its_control_plane_is_named_and_costs_nothing(service: Service) -> None:
    (node,) = {node_of(name) for name in pids(service)} - {HERE}
    away = control_plane()
    away.suspend()
    try:
        service.wait_until(lambda: names_ray(service), "`ray` in /status")
        assert service.probe("/livez") == 200
        assert asyncio.run(sees(service, f"doorstep-canary.{node}", 2))
    finally:
        away.resume()
    service.wait_until_ready()


async def test_a_node_is_drained_over_a_while_and_takes_sockets_again(service: Service) -> None:
    (node,) = {node_of(name) for name in pids(service)} - {HERE}
    unknown = await asyncio.to_thread(service.run, "drain", "nowhere", "--over", "3s")
    assert unknown.returncode == 2
    assert f"there is no node 'nowhere'; there are: {node}" in unknown.stderr

    async with contextlib.AsyncExitStack() as stack:
        browsers = [Browser(service.address, f"user-{number}") for number in range(6)]
        for browser in browsers:
            await stack.enter_async_context(browser)
        done = await asyncio.to_thread(service.run, "drain", "--over", "6s")
        assert done.returncode == 0, done.stdout + done.stderr
        assert service.probe("/readyz") == 503
        await asyncio.to_thread(
            service.wait_until,
            lambda: service.status()["actors"][f"holder-0@{node}"]["connections"] == 0,
            "no connections",  # which /status learns a moment later
        )
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", service.port)
        gone = [browser.journal.gone[0] for browser in browsers]
        assert max(gone) - min(gone) > 2

        cancelled = await asyncio.to_thread(service.run, "drain", node, "--cancel")
        assert cancelled.returncode == 0, cancelled.stdout + cancelled.stderr
        await until(lambda: min(browser.journal.connects for browser in browsers) > 1)
    service.wait_until_ready()


def test_another_spec_is_shown_and_another_fleet_refused(service: Service) -> None:
    before = pids(service)
    more = service.run("up", "--holders", "2")
    assert more.returncode == 2
    assert "holders: 1 in force, 2 wanted" in more.stderr
    assert service.run("up", "--holders", "2", "--apply").returncode == 0
    assert len(pids(service)) == len(before) + 1
    assert service.run("up", "--apply").returncode == 0
    assert pids(service) == before

    second = service.changed(DOORSTEP_RAY__NAMESPACE="second").run("up")
    assert second.returncode == 2
    assert "has this Redis and prefix" in second.stderr
    assert pids(service) == before


def test_the_same_actors_are_adopted_and_left_and_others_refused(service: Service) -> None:
    first = pids(service)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait(10)

    assert outcome(service) == "serving"
    assert lines_of(service, "actors_adopted"), "it did not say that it goes on with what is there"
    assert pids(service) == first, "actors that are the same were replaced"
    assert service.stop(30) == 0
    assert pids(service) == first, "adopted actors were ended with their second `serve`"

    changed = service.changed(DOORSTEP_HISTORY__MAX_COUNT="77")
    assert outcome(changed) == 2, "actors with other settings were taken over"
    assert pids(service) == first, "actors with other settings were replaced unasked"
    theirs = service.status()["actors"]["supervisor"]["process"]["digest"]
    (refusal,) = lines_of(changed, "other_actors")
    digests = re.search(r"other settings: (\w+), ours are (\w+)", json.loads(refusal)["error"])
    assert digests is not None, refusal
    assert digests[1] == theirs != digests[2]


async def probe(service: Service) -> None:
    """Ask whether the node is ready, as a balancer does, until cancelled. Raises where it is not."""
    while True:
        assert await asyncio.to_thread(service.probe, "/readyz") == 200
        await asyncio.sleep(0.1)


async def test_all_actors_are_replaced_and_nobody_is_refused(
    service: Service, publisher: Publisher, names: Names, record_figure: FigureRecorder
) -> None:
    before = await asyncio.to_thread(pids, service)
    changed = service.changed(DOORSTEP_HISTORY__MAX_COUNT="77")
    refused = await asyncio.to_thread(changed.run, "up")
    assert refused.returncode == 2
    assert "this is in force" in refused.stderr

    async with load_on(service, publisher, names) as load, visitors_of(service) as visitors:
        probing = asyncio.create_task(probe(service))
        began = time.monotonic()
        done = await asyncio.to_thread(changed.run, "up", "--apply")
        took_s = time.monotonic() - began
        assert done.returncode == 0, done.stdout + done.stderr
        await until(lambda: min(load.connects()) > 1)  # who was told a moment ago may be on its way
        assert load.connects() == [2] * USERS
        assert not probing.done()
        probing.cancel()
    assert visitors.failed == []
    record_figure("all actors replaced", f"{took_s:.1f} s, {visitors.welcomed} connects, none refused")

    after = await asyncio.to_thread(pids, service)
    marked = {name: name.replace("@", ".e2@") for name in before if "@" in name}
    assert after.keys() == {*marked.values(), "consumer-0.e2", "supervisor"}
    await until(lambda: not any(map(psutil.pid_exists, before.values())))


async def test_who_connects_while_a_killed_gateway_is_restarted_waits_for_it(service: Service) -> None:
    """Only who was just let in is cut off."""
    before = await asyncio.to_thread(pids, service)
    (gateway, holder) = (
        next(name for name in before if name.startswith(kind)) for kind in ("gateway", "holder")
    )
    heir = psutil.Process(before[holder])
    await asyncio.to_thread(
        service.wait_until,
        lambda: service.port in {each.laddr.port for each in heir.net_connections()},
        "an heir",
    )
    async with visitors_of(service) as visitors:
        killed = time.monotonic()
        os.kill(before[gateway], signal.SIGKILL)
        await asyncio.to_thread(
            service.wait_until,
            lambda: pids(service).get(gateway, before[gateway]) != before[gateway],
            "another gateway",
        )
    assert [why for _, why in visitors.failed if "Refused" in why] == []
    assert [why for came, why in visitors.failed if came > killed] == []

    changed = service.changed(DOORSTEP_HISTORY__MAX_COUNT="77")
    assert (await asyncio.to_thread(changed.run, "down")).returncode == 0
    await until(lambda: not any(map(psutil.pid_exists, before.values())))


@pytest.mark.ray
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_serve_that_looks_for_a_ray_that_is_not_there_can_be_stopped(
    ending: signal.Signals, names: Names, tmp_path: Path
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    ray = {"DOORSTEP_RAY__ADDRESS": nobody, LOOPBACK_ONLY: "0"}
    misspelt = {"DOORSTEP_HOLDER": "3", "DOORSTEP_ELSEWHERE_USED": "yes"}
    service = Service(tmp_path, nobody, f"redis://{nobody}", names.group(), {**ray, **misspelt})
    service.process.start()
    looking = '"ray_away"'
    service.wait_until(lambda: looking in service.process.output(), looking)
    os.kill(service.process.pid, ending)
    assert service.process.wait(10) == 0
    assert '"stopped"' in service.process.output()
    told = [json.loads(line) for line in lines_of(service, "unknown_setting")]
    assert [(each["name"], each["did_you_mean"]) for each in told] == [
        ("DOORSTEP_HOLDER", "DOORSTEP_HOLDERS")
    ]
