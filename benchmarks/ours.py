"""Doorstep itself as a target of the benchmark, run as its users run it: `doorstep serve`."""

import re
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import orjson

from doorstep.benchmarks.dialect import Identity, Notice, upgrade_request
from doorstep.benchmarks.family import Family
from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.labels import OURS
from doorstep.benchmarks.records import teacher_records
from doorstep.benchmarks.redis_server import RedisServer
from doorstep.benchmarks.target import SECRET, Target
from doorstep.development.ports import free_port
from doorstep.development.processes import ServerProcess

TOPIC = "huleedu.notification.teacher.requested.v1"

_START_S = 90.0
_COMPONENTS = (
    (re.compile(r"ray::Consumer"), "consumer"),
    (re.compile(r"ray::Holder"), "holder"),
    (re.compile(r"ray::Gateway"), "gateway"),
    (re.compile(r"ray::Supervisor"), "supervisor"),
    (re.compile(r"raylet|gcs_server|ray::|/ray/"), "ray"),
    (re.compile(r""), "serve"),
)


@dataclass(frozen=True, slots=True)
class DoorstepDialect:
    """The public contract, version 1."""

    port: int

    def request(self, identity: Identity) -> bytes:
        path = f"/v1/ws?cursor={identity.position}" if identity.position else "/v1/ws"
        token = f"Authorization: Bearer {identity.token}"
        return upgrade_request(path, self.port, token, "Sec-WebSocket-Protocol: doorstep.v1")

    def greeting(self, identity: Identity) -> bytes:
        return b""

    def notice(self, message: bytes) -> Notice:
        if b'"doorstep.welcome"' in message:
            return Notice.RESET if b'"reset":"' in message else Notice.LIVE
        return Notice.RESET if b'"doorstep.reset"' in message else Notice.OTHER

    def pong(self) -> bytes:
        return b""

    def position(self, identity: Identity, message: bytes) -> str:
        return str(orjson.loads(message)["cursor"])


def start_doorstep(
    kafka: Kafka,
    redis: RedisServer,
    directory: Path,
    settings: Mapping[str, str],
    command: Sequence[str] = (),
) -> Target:
    """Start `doorstep serve` with `settings` (`DOORSTEP_…`) over those of the benchmark; returns when it is
    ready. `command`: something else with the same contract, started in its place.

    Raises `ServerError` if it does not get ready.
    """
    kafka.create_topic(TOPIC)
    # Every start is a group of its own that begins with what comes: where Redis is new and the group is not,
    # Doorstep would read all events of Kafka again, and rightly so.
    port, admin_port = free_port(), free_port()
    group = f"doorstep-bench-{uuid.uuid4().hex[:8]}"
    env = {
        "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "DOORSTEP_KAFKA__GROUP_ID": group,
        "DOORSTEP_KAFKA__START": "latest",
        "DOORSTEP_REDIS__URL": redis.url,
        "DOORSTEP_AUTH__HS256_SECRET": SECRET,
        "DOORSTEP_GATEWAY__PORT": str(port),
        "DOORSTEP_ADMIN__PORT": str(admin_port),
        "DOORSTEP_LOG_LEVEL": "warning",
        **settings,
    }
    doorstep = str(Path(sys.executable).with_name("doorstep"))
    process = ServerProcess(
        command or (doorstep, "serve"), log=directory / f"{OURS}.log", cwd=directory, env=env
    )
    family = Family.start(process, lambda: _is_ready(port, admin_port), _START_S)
    return Target(
        name=OURS,
        version=version("doorstep"),
        family=family,
        address=("127.0.0.1", port),
        dialect=DoorstepDialect(port),
        make_records=lambda size: teacher_records(TOPIC, size),
        group=group,
        components=_COMPONENTS,
    )


def _is_ready(port: int, admin_port: int) -> bool:
    """Whether all of it is; a peer that has no admin port says so on its public one."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/status", timeout=2) as answer:
            return bool(orjson.loads(answer.read())["ok"])
    except OSError:
        return _answers(port)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
