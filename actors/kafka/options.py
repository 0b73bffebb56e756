"""The options of our Kafka clients, from the settings."""

from ssl import SSLContext
from typing import Any

from aiokafka.helpers import create_ssl_context

from doorstep.config.settings import KafkaSettings

_METADATA_AGE_MS = 5_000
"""How soon a topic or partition that did not exist at the start is found."""
_REBALANCE_MS = 10_000
_RETRY_MS = 250
_PARTITION_FETCH_BYTES = 1 << 20
_FETCH_BYTES = 2 << 20


def connection_options(kafka: KafkaSettings) -> dict[str, Any]:
    """How every client reaches the brokers and proves who it is.

    Raises `ValueError` where a setting that the security protocol needs is missing, and `OSError` for a
    certificate that can't be read.
    """
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": _ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None,
        "metadata_max_age_ms": _METADATA_AGE_MS,
        "retry_backoff_ms": _RETRY_MS,
        **(_login(kafka) if kafka.security_protocol.startswith("SASL") else {}),
    }


def reader_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For every consumer: only what is committed, and nothing is skipped when a position is gone."""
    return connection_options(kafka) | {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # Not `kafka.start`, which is for the first start only: a position that retention has overtaken, or
        # that a recreated topic does not have, continues with the oldest record there is.
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": kafka.fetch_max_wait_ms,
        # aiokafka asks a broker for more only when what it got is read: small answers keep it reading ahead.
        # Much of few partitions is much of few users, which costs less than little of many.
        "max_partition_fetch_bytes": _PARTITION_FETCH_BYTES,
        "fetch_max_bytes": _FETCH_BYTES,
    }


def member_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For the consumer that is a member of the group."""
    return reader_options(kafka) | {
        "group_id": kafka.group_id,
        "session_timeout_ms": kafka.session_timeout_ms,
        "heartbeat_interval_ms": kafka.session_timeout_ms // 5,
        # Longer than a member needs to finish its work, shorter than a request may take: joining waits.
        "rebalance_timeout_ms": _REBALANCE_MS,
        "request_timeout_ms": _REBALANCE_MS + 5_000,
        # Whoever works without a pause on what it has, be it a minute, is alive: heartbeats tell of the dead.
        "max_poll_interval_ms": 24 * 3600 * 1000,
    }


def producer_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For a producer whose records are kept by all replicas, once."""
    return connection_options(kafka) | {
        "enable_idempotence": True,
        "acks": "all",
        "compression_type": "zstd",
        # The broker decides what is too large: only it knows.
        "max_request_size": 1 << 30,
        "request_timeout_ms": 10_000,
    }


def _login(kafka: KafkaSettings) -> dict[str, Any]:
    if kafka.sasl_username is None or kafka.sasl_password is None:
        raise ValueError(
            f"kafka.security_protocol is {kafka.security_protocol}: "
            "set kafka.sasl_username and kafka.sasl_password too"
        )
    return {
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": kafka.sasl_password.get_secret_value(),
    }


def _ssl_context(kafka: KafkaSettings) -> SSLContext:
    password = kafka.ssl_password.get_secret_value() if kafka.ssl_password else None
    paths = (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
    cafile, certfile, keyfile = (None if path is None else str(path) for path in paths)
    context: SSLContext = create_ssl_context(
        cafile=cafile, certfile=certfile, keyfile=keyfile, password=password
    )
    return context
