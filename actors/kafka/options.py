"""The options of our Kafka clients, from the settings: of aiokafka's first, then of librdkafka's."""

from ssl import SSLContext
from typing import Any

from doorstep.config.settings import KafkaSettings

_METADATA_AGE_MS = 5_000
"""How soon a topic or partition that did not exist at the start is found."""
_RETRY_MS = 250
_LONGEST_RETRY_MS = 1_000
_REQUEST_MS = 10_000
_SILENT_MS = 60_000
_BEAT_MS = 500
"""How soon a member hears that partitions are to move; those that do have no owner until all have."""
_PARTITION_FETCH_BYTES = 1 << 20
_FETCH_BYTES = 4 << 20
_QUEUE_KB = 16_384
_FULL_QUEUE_MS = 5
_EVENTS_AT_ONCE = 10_000


def connection_options(kafka: KafkaSettings) -> dict[str, Any]:
    """How aiokafka reaches the brokers and proves who it is.

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
    """For aiokafka's consumer: only what is committed, and nothing is skipped when a position is gone."""
    return connection_options(kafka) | {
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # Not `kafka.start`, which is for the first start only: a position that retention has overtaken, or
        # that a recreated topic does not have, continues with the oldest record there is.
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": kafka.fetch_max_wait_ms,
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


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """How librdkafka reaches the brokers and proves who it is.

    Raises `ValueError` where a setting that the security protocol needs is missing.
    """
    options = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "topic.metadata.refresh.interval.ms": _METADATA_AGE_MS,
        "retry.backoff.ms": _RETRY_MS,
        "reconnect.backoff.max.ms": _LONGEST_RETRY_MS,
        "socket.timeout.ms": _REQUEST_MS,
        # What goes wrong is told by callbacks; librdkafka's own lines would be none of our log's.
        "log_level": 0,
    }
    if kafka.security_protocol.startswith("SASL"):
        login = _login(kafka)
        options |= {
            "sasl.mechanism": login["sasl_mechanism"],
            "sasl.username": login["sasl_plain_username"],
            "sasl.password": login["sasl_plain_password"],
        }
    if kafka.security_protocol.endswith("SSL"):
        options |= _tls(kafka)
    return options


def dead_letter_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For the producer of dead letters, which are kept by all replicas, or told to be not, within seconds."""
    return client_options(kafka) | {
        "acks": "all",
        "enable.idempotence": True,
        # Of several, one that a partition refuses while it comes into being is taken for kept when the next
        # one is kept: librdkafka counts on a refusal of both, and a new partition takes any number first.
        "max.in.flight.requests.per.connection": 1,
        "compression.type": "zstd",
        "partitioner": "murmur2_random",  # as Kafka's own client has it
        # The broker decides what is too large: only it knows.
        "message.max.bytes": 1_000_000_000,
        "message.timeout.ms": _REQUEST_MS,
    }


def event_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For a producer of what may be lost: little waits, and not for long."""
    return client_options(kafka) | {
        "acks": "1",
        "compression.type": "zstd",
        "partitioner": "murmur2_random",
        "linger.ms": 5,
        "message.timeout.ms": _REQUEST_MS,
        "queue.buffering.max.messages": _EVENTS_AT_ONCE,
        "queue.buffering.max.kbytes": _QUEUE_KB,
    }


def query_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For a client that asks for offsets, and reads nothing."""
    return client_options(kafka) | {
        "group.id": kafka.group_id,
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    }


def reading_options(kafka: KafkaSettings) -> dict[str, Any]:
    """For who reads: safe like `reader_options`, and told of the ends of partitions."""
    return query_options(kafka) | {
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # which also tells of what is no record: see GroupEvents
        "auto.offset.reset": "earliest",
        "check.crcs": True,
        "socket.nagle.disable": True,
        "fetch.wait.max.ms": kafka.fetch_max_wait_ms,
        # Much of few partitions is much of few users, which costs less than little of many.
        "max.partition.fetch.bytes": _PARTITION_FETCH_BYTES,
        "fetch.max.bytes": _FETCH_BYTES,
        "queued.max.messages.kbytes": _QUEUE_KB,
        "fetch.queue.backoff.ms": _FULL_QUEUE_MS,
        "fetch.error.backoff.ms": _RETRY_MS,
    }


def group_options(kafka: KafkaSettings, client_id: str, instance_id: str) -> dict[str, Any]:
    """For the member of the consumer group: partitions that stay are not taken away while others move.

    Who comes back as the same `instance_id` within the session timeout has its partitions at once, and nobody
    else's move; two at once can't be: Kafka fences the older one.
    """
    return reading_options(kafka) | {
        "client.id": client_id,
        "group.instance.id": instance_id,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": kafka.session_timeout_ms,
        "heartbeat.interval.ms": min(kafka.session_timeout_ms // 5, _BEAT_MS),
        # A rebalance waits so long for a member that is alive and says nothing. Its thread says something
        # twenty times a second, whatever the event loop does.
        "max.poll.interval.ms": max(_SILENT_MS, kafka.session_timeout_ms),
    }


def _tls(kafka: KafkaSettings) -> dict[str, Any]:
    """A key may be in one file with its certificate; librdkafka wants to be told of both."""
    options = {
        "ssl.ca.location": kafka.ssl_cafile,
        "ssl.certificate.location": kafka.ssl_certfile,
        "ssl.key.location": kafka.ssl_keyfile or kafka.ssl_certfile,
    }
    named = {name: str(path) for name, path in options.items() if path is not None}
    password = kafka.ssl_password
    return named | ({} if password is None else {"ssl.key.password": password.get_secret_value()})


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
    from aiokafka.helpers import create_ssl_context  # noqa: PLC0415 - no holder needs aiokafka

    password = kafka.ssl_password.get_secret_value() if kafka.ssl_password else None
    paths = (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile)
    cafile, certfile, keyfile = (None if path is None else str(path) for path in paths)
    context: SSLContext = create_ssl_context(
        cafile=cafile, certfile=certfile, keyfile=keyfile, password=password
    )
    return context
