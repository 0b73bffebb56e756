"""Three machines, each with its cell: nodes come, die and lose a holder in the middle of a stream."""

import asyncio
import contextlib
import itertools
import json
import os
import secrets
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from doorstep.development.processes import ServerProcess
from doorstep.development.valkey import ValkeyProcess
from tests.support.browser import Browser
from tests.support.kafka import kafka_process
from tests.support.machines import Machine, machines
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.service import SECRET

USERS = 40
DEVICES = 2
PER_SECOND = 300
_GCS, _PORT, _ADMIN_PORT = 6379, 8000, 8001
_BIN = Path(sys.executable).parent
_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A dead node is known as dead after some five seconds, not fifteen.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}


@dataclass(frozen=True)
class Site:
    """Machines, and the Kafka and the Valkey that they share."""

    machines: Sequence[Machine]
    kafka: str
    redis: str
    group: str

    @property
    def addresses(self) -> list[str]:
        """Of the gateways."""
        return [f"{machine.address}:{_PORT}" for machine in self.machines]

    def join(self, machine: Machine) -> None:
        """Start Ray on a machine: the first is the head."""
        head = self.machines[0]
        where = ["--head", f"--port={_GCS}"] if machine is head else [f"--address={head.address}:{_GCS}"]
        options = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
        command = [str(_BIN / "ray"), "start", *where, f"--node-ip-address={machine.address}", *options]
        machine.run(*command, *(["--include-dashboard=false"] if machine is head else []), env=_RAY)

    def serve(self) -> ServerProcess:
        """`doorstep serve` on the head, not started yet."""
        head = self.machines[0]
        env = {
            "DOORSTEP_RAY__ADDRESS": f"{head.address}:{_GCS}",
            "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "DOORSTEP_KAFKA__GROUP_ID": self.group,
            "DOORSTEP_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "DOORSTEP_REDIS__URL": self.redis,
            "DOORSTEP_AUTH__HS256_SECRET": SECRET,
            "DOORSTEP_GATEWAY__HOST": "0.0.0.0",
            "DOORSTEP_GATEWAY__PORT": str(_PORT),
            "DOORSTEP_ADMIN__HOST": "0.0.0.0",
            "DOORSTEP_ADMIN__PORT": str(_ADMIN_PORT),
            "DOORSTEP_HOLDERS": "2",
            "DOORSTEP_CONSUMERS": "2",
            **_RAY,
        }
        return head.process("doorstep", [str(_BIN / "doorstep"), "serve"], env)


class Roaming(Browser):
    """A device behind a balancer: each of its connections is to the next gateway."""

    def __init__(self, addresses: Iterator[str], user_id: str) -> None:
        super().__init__("", user_id)
        self._addresses = addresses

    async def _listen(self) -> None:
        self._address = next(self._addresses)
        await super()._listen()


def ask(machine: Machine, path: str) -> Any:
    """What the gateway of a machine says at its admin port; nothing where nobody answers."""
    try:
        url = f"http://{machine.address}:{_ADMIN_PORT}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError):
        return {}


async def until(holds: Callable[[], object], within_s: float) -> float:
    """Wait for a condition; how long it took."""
    began = time.monotonic()
    while not await asyncio.to_thread(holds):
        assert time.monotonic() - began < within_s
        await asyncio.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture
def site(tmp_path: Path, names: Names) -> Iterator[Site]:
    with machines(3, tmp_path) as (us, others), contextlib.ExitStack() as servers:
        kafka_files = tmp_path / "kafka"
        kafka_files.mkdir()
        kafka = kafka_process(kafka_files, {"num.partitions": "8"}, host=us)
        valkey = ValkeyProcess(tmp_path, {"bind": f"127.0.0.1 {us}", "protected-mode": "no"})
        for server in (kafka, valkey):
            servers.callback(server.stop)
            server.start()
        yield Site(others, kafka.bootstrap, f"redis://{us}:{valkey.port}", names.group())


@contextlib.asynccontextmanager
async def devices_of(site: Site, names: Names) -> AsyncIterator[Sequence[Browser]]:
    async with contextlib.AsyncExitStack() as stack:
        devices = []
        for which in range(USERS * DEVICES):
            addresses = itertools.islice(itertools.cycle(site.addresses), which % 3, None)
            device = Roaming(addresses, names.user(which % USERS))
            devices.append(await stack.enter_async_context(device))
        yield devices


async def stream(publisher: Publisher, names: Names, enough: asyncio.Event) -> int:
    """Publish events at a steady rate, round the users, until there are enough; how many there are."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in itertools.count():
        if enough.is_set() and number % USERS == 0:
            return number
        await asyncio.sleep(max(start + number / PER_SECOND - loop.time(), 0))
        publisher.send(teacher_notification(names.user(number % USERS), {"number": number}))
    raise AssertionError


async def check(devices: Sequence[Browser], events: int) -> None:
    """Every device has its share, in order, once."""
    for which, device in enumerate(devices):
        numbers = list(range(which % USERS, events, USERS))
        await device.wait_for(len(numbers), 40)
        assert [n["data"]["number"] for n in device.journal.notifications] == numbers
        assert device.journal.seqs == list(range(1, len(numbers) + 1))
        assert device.journal.resets == []


def is_ready(machine: Machine) -> bool:
    return bool(ask(machine, "/readyz").get("ready"))


def cells(machine: Machine) -> set[str]:
    """The nodes that a machine's gateway knows of, by the actors of their cells."""
    return {name.partition("@")[2] for name in ask(machine, "/status").get("actors", ())} - {""}


async def somewhere_else(site: Site) -> Machine:
    """Kill the supervisor until Ray has started it on another node than the head: that one."""
    head, *others = site.machines
    while True:
        for machine in others:
            if machine.processes("ray::SupervisorProcess"):
                return machine
        for process in head.processes("ray::SupervisorProcess"):
            process.kill()
        await until(lambda: any(each.processes("ray::SupervisorProcess") for each in site.machines), 30)


@pytest.mark.timeout(300)
async def test_nothing_is_lost_when_a_node_joins_a_holder_dies_and_the_supervisors_node_dies(
    site: Site, names: Names, record_figure: FigureRecorder
) -> None:
    head, second, third = site.machines
    publisher = Publisher(site.kafka)
    await asyncio.to_thread(site.join, head)
    await asyncio.to_thread(site.join, second)
    serve = site.serve()
    with contextlib.ExitStack() as stack:
        stack.callback(serve.kill)
        serve.start()
        await until(lambda: is_ready(head) and is_ready(second), 60)
        async with devices_of(site, names) as devices:
            enough = asyncio.Event()
            publishing = asyncio.create_task(stream(publisher, names, enough))
            await asyncio.sleep(3)

            await asyncio.to_thread(site.join, third)
            ready = await until(lambda: is_ready(third), 60)
            record_figure("a node's gateway ready after `ray start`", f"{ready:.1f} s")
            await asyncio.sleep(2)

            os.kill(second.processes("ray::HolderProcess")[0].pid, signal.SIGKILL)
            await asyncio.sleep(2)
            await until(lambda: is_ready(second), 30)

            dying = await somewhere_else(site)
            os.kill(dying.processes("raylet")[0].pid, signal.SIGKILL)
            gone = await until(lambda: not dying.processes("ray::HolderProcess"), 15)
            record_figure("actors gone after their raylet", f"{gone:.1f} s")
            forgotten = await until(lambda: len(cells(head)) == 2, 60)
            record_figure("a dead node's cell forgotten", f"{forgotten:.1f} s")
            await asyncio.sleep(3)

            enough.set()
            events = await publishing
            await asyncio.to_thread(publisher.flush)
            assert publisher.failed == []
            await check(devices, events)
            await until(lambda: ask(head, "/status").get("ok"), 30)
        psutil.Process(serve.pid).children()[0].terminate()
        assert await asyncio.to_thread(serve.wait, 40) == 0
        for machine in {*site.machines} - {dying}:
            assert not machine.processes("ray::HolderProcess")
            assert "doorstep" not in machine.run("ls", "/mnt")
