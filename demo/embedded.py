"""A Kafka-protocol broker and a Valkey that live and die with this process: no Docker, no Java, no set-up."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence

from confluent_kafka import KafkaException, Producer

from doorstep.actors.runtime.daemon_thread import in_daemon_thread
from doorstep.development.processes import ServerError, temporary_directory
from doorstep.development.valkey import ValkeyProcess

FETCH_MAX_WAIT_MS = 10
"""What its consumers have to set: the embedded broker answers a waiting fetch only when its wait is over."""

_START_S = 10.0
_STOP_S = 5.0


@contextlib.asynccontextmanager
async def embedded_kafka(topics: Sequence[str]) -> AsyncIterator[str]:
    """Run a broker inside this process; yields its bootstrap address, `127.0.0.1:<port>`.

    `topics` exist from the start, with four partitions each; others appear when they are first used.
    It keeps the last 5 MB of a partition, in memory, and serves one consumer per group. For demos and
    tests of demos only. Raises `ServerError` when it does not start.
    """
    # The address is never dialled: librdkafka replaces it by that of its own broker.
    producer = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
    try:
        yield await asyncio.to_thread(_create_topics, producer, topics)
    finally:
        # A demo was seen not to end, with only this left to do. The broker goes with this process anyhow.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await in_daemon_thread(producer.close)


def _create_topics(producer: Producer, topics: Sequence[str]) -> str:
    try:
        brokers = producer.list_topics(timeout=_START_S).brokers
        for topic in topics:
            producer.list_topics(topic, timeout=_START_S)  # to ask for a topic creates it
    except KafkaException as error:
        raise ServerError(f"the embedded Kafka broker did not start: {error}") from error
    broker = next(iter(brokers.values()))
    return f"{broker.host}:{broker.port}"


@contextlib.asynccontextmanager
async def embedded_valkey() -> AsyncIterator[str]:
    """Run a Valkey server on a free port of 127.0.0.1; yields its URL, with the password it wants.

    Its data is in memory and in a private temporary directory, and is gone when the context ends or this
    process dies. Ctrl-C in the terminal does not reach it. Raises `ServerError` when it does not start.
    """
    options = {"appendonly": "no", "maxmemory-policy": "noeviction"}
    with temporary_directory("doorstep-valkey-") as directory:
        valkey = ValkeyProcess(directory, options, password=secrets.token_hex(16))
        try:
            await asyncio.to_thread(valkey.start)
            yield valkey.url
        finally:
            await asyncio.to_thread(valkey.stop)
