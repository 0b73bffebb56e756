"""Machines with Ray and Doorstep on them, and the Kafka and the Redis that they share."""

import asyncio
import json
import os
import secrets
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from doorstep.development.processes import ServerProcess
from doorstep.gateway.paths import ENDPOINT_PATH
from tests.support.machines import Machine
from tests.support.service import SECRET, token_for
from tests.support.waiting import PATIENCE_S

_GCS, PORT, _ADMIN_PORT = 6379, 8000, 8001
_BIN = Path(sys.executable).parent
_ASK_S = 2.0
_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node whose raylet is gone is known as dead after some five seconds, not 15; a silent one after 15,
    # not 65.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}


@dataclass(frozen=True)
class Site:
    """Machines, and the servers that they share."""

    machines: Sequence[Machine]
    us: str
    """The address of those servers."""
    kafka: str
    redis: str
    group: str
    ray: Mapping[str, str]
    """More of Ray's variables, on every machine."""
    head: Mapping[str, str]
    """And on the head."""

    @property
    def clients(self) -> str:
        """Where devices come from: an address that is not that of the servers."""
        return f"{self.us.rpartition('.')[0]}.200"

    def join(self, machine: Machine, code: Mapping[str, str] | None = None) -> None:
        """Start Ray on a machine: the first is the head. `code`: the environment of another checkout."""
        head = self.machines[0]
        where = ["--head", f"--port={_GCS}"] if machine is head else [f"--address={head.address}:{_GCS}"]
        options = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
        here = [f"--node-ip-address={machine.address}", f"--node-name={name_of(machine)}"]
        command = [str(_BIN / "ray"), "start", *where, *here, *options]
        more = ["--include-dashboard=false"] if machine is head else []
        env = {**_RAY, **self.ray, **(self.head if machine is head else {}), **(code or {})}
        machine.run(*command, *more, env=env)

    def serve(self, **settings: str) -> ServerProcess:
        """`doorstep serve` on the head, not started yet."""
        command = [str(_BIN / "doorstep"), "serve"]
        return self.machines[0].process("doorstep", command, {**self._settings, **settings})

    def doorstep(self, machine: Machine, *arguments: str) -> None:
        """Another command of `doorstep` on a machine, until it is done."""
        machine.run(str(_BIN / "doorstep"), *arguments, env=self._settings)

    @property
    def _settings(self) -> Mapping[str, str]:
        return {
            "DOORSTEP_RAY__ADDRESS": f"{self.machines[0].address}:{_GCS}",
            "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": self.kafka,
            "DOORSTEP_KAFKA__GROUP_ID": self.group,
            "DOORSTEP_REDIS__URL": self.redis,
            "DOORSTEP_REDIS__TIMEOUT_S": "2",
            "DOORSTEP_AUTH__HS256_SECRET": SECRET,
            "DOORSTEP_GATEWAY__HOST": "0.0.0.0",
            "DOORSTEP_GATEWAY__PORT": str(PORT),
            "DOORSTEP_ADMIN__HOST": "0.0.0.0",
            "DOORSTEP_ADMIN__PORT": str(_ADMIN_PORT),
            "DOORSTEP_HOLDERS": "2",
            "DOORSTEP_CONSUMERS": "2",
            **_RAY,
            **self.ray,
        }


def name_of(machine: Machine) -> str:
    """What Ray is told to call it: all have one host's name."""
    return f"machine-{machine.address.rpartition('.')[2]}"


def home_by(machine: Machine, user_id: str) -> str:
    """Where the gateway of a machine says that a user is at home: the name of a machine; empty where it does
    not answer."""
    headers = {"Authorization": f"Bearer {token_for(user_id)}"}
    url = str(_told(f"http://{address_of(machine)}{ENDPOINT_PATH}", headers).get("url", ""))
    return url.removeprefix("ws://").partition(".")[0]


def slots_heard(witness: Machine) -> int:
    """To how many slots the holders of all machines listen, as one of them says."""
    return sum(actor.get("slots", 0) for actor in actors(witness).values())


def address_of(machine: Machine) -> str:
    """`host:port` of its public port."""
    return f"{machine.address}:{PORT}"


def ask(machine: Machine, path: str) -> Any:
    """What the gateway of a machine says at its admin port; nothing where nobody answers."""
    return _told(f"http://{machine.address}:{_ADMIN_PORT}{path}", {})


def _told(url: str, headers: Mapping[str, str]) -> Any:
    try:
        request = urllib.request.Request(url, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=_ASK_S) as answer:
            return json.loads(answer.read())
    except (OSError, ValueError, HTTPException):
        return {}


def is_ready_inside(machine: Machine) -> bool:
    """Whether it is ready for a probe on the machine itself, cut off or not."""
    url = f"http://127.0.0.1:{_ADMIN_PORT}/readyz"
    return '"ready":true' in machine.run("curl", "--silent", "--max-time", "2", url).replace(" ", "")


def is_ready(machine: Machine) -> bool:
    """Whether a balancer would send somebody there."""
    return bool(ask(machine, "/readyz").get("ready"))


def actors(machine: Machine) -> Mapping[str, Any]:
    """What `/status` of a machine says of every actor, by name."""
    told: Mapping[str, Any] = ask(machine, "/status").get("actors", {})
    return told


def cells(machine: Machine) -> set[str]:
    """The nodes that a machine's gateway knows of, by the actors of their cells."""
    return {name.partition("@")[2] for name in actors(machine)} - {""}


def troubles(machine: Machine) -> set[tuple[str, str]]:
    """What `/status` of a machine says is wrong: actor, and what it is."""
    return {(each["actor"], each["what"]) for each in ask(machine, "/status").get("troubles", ())}


def node_of(machine: Machine) -> str:
    """The name of its node; empty where its gateway does not answer."""
    return str(ask(machine, "/status").get("node", ""))


def partitions_of(machine: Machine) -> Mapping[str, Sequence[str]]:
    """By the names of the consumers, the partitions that they have, as `topic/number`."""
    told = actors(machine).items()
    return {name: actor.get("partitions", ()) for name, actor in told if name.startswith("consumer-")}


def consumers_on(node: Machine, witness: Machine) -> set[str]:
    """The names of the consumers that are on a node, as another one says."""
    name, told = node_of(node), actors(witness).items()
    return {each for each, actor in told if "partitions" in actor and actor["process"]["node"] == name}


def versions(machine: Machine) -> set[str]:
    """Of all actors that answer."""
    return {each["process"]["version"] for each in actors(machine).values() if "process" in each}


def unreachable(machine: Machine) -> set[str]:
    """The actors that do not answer, as `/status` of a machine says."""
    return {actor for actor, what in troubles(machine) if what == "actor"}


def kill_one(machine: Machine, name: str) -> int:
    """SIGKILL to the oldest process of that name on a machine; its id."""
    pid = machine.processes(name)[0].pid
    os.kill(pid, signal.SIGKILL)
    return pid


async def until(holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
    """Wait for a condition; how many seconds it took."""
    began = time.monotonic()
    while not await asyncio.to_thread(holds):
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def somewhere_else(site: Site) -> Machine:
    """Kill the supervisor until Ray has started it on another node than the head: that one."""
    head, *others = site.machines
    while True:
        for machine in others:
            if machine.processes("ray::SupervisorProcess"):
                return machine
        for process in head.processes("ray::SupervisorProcess"):
            process.kill()
        await until(
            lambda: any(each.processes("ray::SupervisorProcess") for each in site.machines),
            "a supervisor again",
        )


@asynccontextmanager
async def serving(site: Site, *machines: Machine, **settings: str) -> AsyncIterator[ServerProcess]:
    """`doorstep serve` on the head and these machines, as long as the block runs, ready."""
    for machine in (site.machines[0], *machines):
        await asyncio.to_thread(site.join, machine)
    serve = site.serve(**settings)
    serve.start()
    try:
        await until(lambda: all(map(is_ready, (site.machines[0], *machines))), "a service that is ready")
        yield serve
    finally:
        serve.kill()
