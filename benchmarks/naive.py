"""The naive way, for comparison: a Redis pub/sub subscription per socket, no log, no resume."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from doorstep.benchmarks.dialect import Identity, Notice, upgrade_request
from doorstep.benchmarks.family import Family
from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.labels import NAIVE
from doorstep.benchmarks.naive_server import USER_HEADER, WELCOME
from doorstep.benchmarks.records import plain_records
from doorstep.benchmarks.redis_server import RedisServer
from doorstep.benchmarks.target import SECRET, Target
from doorstep.development.ports import free_port, is_open
from doorstep.development.processes import ServerProcess

TOPIC = "bench-naive"

_GROUP = "naive"
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class NaiveDialect:
    """Token in a header; a welcome once subscribed; then events."""

    port: int

    def request(self, identity: Identity) -> bytes:
        return upgrade_request("/", self.port, f"Authorization: Bearer {identity.token}")

    def greeting(self, identity: Identity) -> bytes:
        return b""

    def notice(self, message: bytes) -> Notice:
        return Notice.LIVE if message == WELCOME else Notice.OTHER

    def pong(self) -> bytes:
        return b""

    def position(self, identity: Identity, message: bytes) -> str:
        return ""


def start_naive(kafka: Kafka, redis: RedisServer, directory: Path) -> Target:
    """Start it; returns when it listens. Raises `ServerError` if it does not start."""
    kafka.create_topic(TOPIC)
    port = free_port()
    arguments = [str(port), kafka.bootstrap, redis.url, TOPIC, _GROUP, SECRET]
    command = [sys.executable, "-m", "doorstep.benchmarks.naive_server", *arguments]
    process = ServerProcess(command, log=directory / f"{NAIVE}.log", cwd=directory)
    family = Family.start(process, lambda: is_open(port), _START_S)
    return Target(
        name=NAIVE,
        version="websockets, redis-py and aiokafka in one process",
        family=family,
        address=("127.0.0.1", port),
        dialect=NaiveDialect(port),
        make_records=lambda size: plain_records(TOPIC, size, header=USER_HEADER, channel="{}"),
        group=_GROUP,
        components=((re.compile(""), NAIVE),),
    )
