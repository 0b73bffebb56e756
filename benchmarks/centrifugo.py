"""The peer: Centrifugo, with its Kafka consumer, and history and recovery in Redis."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doorstep.benchmarks.dialect import Identity, Notice, upgrade_request
from doorstep.benchmarks.errors import SetupError
from doorstep.benchmarks.family import Family
from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.labels import PEER
from doorstep.benchmarks.records import plain_records
from doorstep.benchmarks.redis_server import RedisServer
from doorstep.benchmarks.target import SECRET, Target
from doorstep.development.ports import free_port, is_open
from doorstep.development.processes import ServerProcess

TOPIC = "bench-peer"

_GROUP = "cent"
_NAMESPACE = "usr"
_CHANNEL_HEADER = "x-ch"
_START_S = 30.0


@dataclass(frozen=True, slots=True)
class CentrifugoDialect:
    """Its JSON protocol, with the personal channel that the server subscribes a user to."""

    port: int

    def request(self, identity: Identity) -> bytes:
        return upgrade_request("/connection/websocket", self.port)

    def greeting(self, identity: Identity) -> bytes:
        if not identity.position:
            return b'{"id":1,"connect":{"token":"%b"}}' % identity.token.encode()
        offset, epoch = identity.position.split(" ")
        recover = {"recover": True, "offset": int(offset), "epoch": epoch}
        connect = {"token": identity.token, "subs": {_channel(identity): recover}}
        return json.dumps({"id": 1, "connect": connect}).encode()

    def notice(self, message: bytes) -> Notice:
        if message == b"{}":
            return Notice.PING
        if not message.startswith(b'{"id":1,"connect":'):
            return Notice.OTHER
        lost = b'"was_recovering":true' in message and b'"recovered":true' not in message
        return Notice.RESET if lost else Notice.LIVE

    def pong(self) -> bytes:
        return b"{}"

    def position(self, identity: Identity, message: bytes) -> str:
        said = json.loads(message)
        if "connect" in said:
            state = said["connect"]["subs"][_channel(identity)]
            return f"{state.get('offset', 0)} {state['epoch']}"
        return f"{said['push']['pub']['offset']} {identity.position.partition(' ')[2]}"


def start_centrifugo(binary: Path, kafka: Kafka, redis: RedisServer, directory: Path) -> Target:
    """Start it; returns when it listens. Raises `SetupError` if `binary` isn't it, `ServerError` if it does
    not start."""
    said = _version(binary)
    kafka.create_topic(TOPIC)
    port, configuration = free_port(), directory / "centrifugo.json"
    configuration.write_text(json.dumps(_configuration(port, kafka, redis)))
    command = (str(binary), "-c", str(configuration))
    process = ServerProcess(command, log=directory / f"{PEER}.log", cwd=directory)
    family = Family.start(process, lambda: is_open(port), _START_S)
    return Target(
        name=PEER,
        version=said,
        family=family,
        address=("127.0.0.1", port),
        dialect=CentrifugoDialect(port),
        make_records=lambda size: plain_records(
            TOPIC, size, header=_CHANNEL_HEADER, channel=f"{_NAMESPACE}:#{{}}"
        ),
        group=_GROUP,
        components=((re.compile(""), PEER),),
    )


def _configuration(port: int, kafka: Kafka, redis: RedisServer) -> dict[str, Any]:
    return {
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "subscribe_to_user_personal_channel": {
                "enabled": True,
                "personal_channel_namespace": _NAMESPACE,
            },
            "allowed_origins": ["*"],
        },
        "channel": {
            "namespaces": [
                {
                    "name": _NAMESPACE,
                    "history_size": 100,
                    "history_ttl": "300s",
                    "force_recovery": True,
                    "force_positioning": True,
                    "allow_user_limited_channels": True,
                }
            ]
        },
        "engine": {"type": "redis", "redis": {"address": [redis.url]}},
        "http_server": {"port": str(port), "address": "127.0.0.1"},
        "log": {"level": "info"},
        "consumers": [
            {
                "enabled": True,
                "name": "kf",
                "type": "kafka",
                "kafka": {
                    "brokers": [kafka.bootstrap],
                    "topics": [TOPIC],
                    "consumer_group": _GROUP,
                    "fetch_max_wait": "20ms",
                    "publication_data_mode": {"enabled": True, "channels_header": _CHANNEL_HEADER},
                },
            }
        ],
    }


def _channel(identity: Identity) -> str:
    return f"{_NAMESPACE}:#{identity.user_id}"


def _version(binary: Path) -> str:
    try:
        said = subprocess.run(  # noqa: S603 - the binary that the user named
            [binary, "version"], check=True, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupError(f"{binary} is no Centrifugo: {error}") from error
    return said.stdout.strip()
