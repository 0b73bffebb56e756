"""Reads records that aiokafka can't, with librdkafka.

aiokafka decodes the names of headers as UTF-8, and fails on a whole batch of records for one that isn't, at
the same place again and again. Kafka's brokers take any bytes as a name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from doorstep.actors.records import Partition, Record
from doorstep.config.settings import KafkaSettings

_WAIT_S = 2.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FallbackRecord:
    """A record; without headers, where their names can't be read."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def read_fallback(kafka: KafkaSettings, partition: Partition, offset: int, limit: int) -> Sequence[Record]:
    """Up to `limit` records of a partition from `offset` on; none when no broker answers.

    Blocks for up to 2 seconds and longer: call it in a thread.
    """
    topic, number = partition
    logger.warning("records_malformed", topic=topic, partition=number, offset=offset)
    consumer = Consumer(_options(kafka))
    try:
        consumer.assign([TopicPartition(topic, number, offset)])
        messages = consumer.consume(limit, _WAIT_S)
        return [_record(message) for message in messages if message.error() is None]
    except KafkaException:
        return []
    finally:
        consumer.close()


def _record(message: Message) -> FallbackRecord:
    return FallbackRecord(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        _headers(message),
    )


def _headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    try:
        headers = message.headers() or []
    except (SystemError, UnicodeDecodeError):
        return ()
    return tuple((str(each[0]), each[1] if isinstance(each[1], bytes) else None) for each in headers)


def _options(kafka: KafkaSettings) -> dict[str, Any]:
    """librdkafka's names for what `kafka_client` says to aiokafka."""
    options = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "group.id": kafka.group_id,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": kafka.sasl_password and kafka.sasl_password.get_secret_value(),
        "ssl.ca.location": kafka.ssl_cafile and str(kafka.ssl_cafile),
        "ssl.certificate.location": kafka.ssl_certfile and str(kafka.ssl_certfile),
        "ssl.key.location": kafka.ssl_keyfile and str(kafka.ssl_keyfile),
        "ssl.key.password": kafka.ssl_password and kafka.ssl_password.get_secret_value(),
    }
    return {name: value for name, value in options.items() if value is not None}
