"""What HuleEdu's services put on Kafka: their topics, and the envelope around every record."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import orjson

BATCH_REGISTERED = "huleedu.batch.essays.registered.v1"
CONTENT_PROVISIONED = "huleedu.file.essay.content.provisioned.v1"
VALIDATION_FAILED = "huleedu.file.essay.validation.failed.v1"
SLOT_ASSIGNED = "huleedu.els.essay.slot.assigned.v1"
EXCESS_CONTENT = "huleedu.els.excess.content.provisioned.v1"

TOPICS = (BATCH_REGISTERED, CONTENT_PROVISIONED, VALIDATION_FAILED, SLOT_ASSIGNED, EXCESS_CONTENT)

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """What follows one request through all services."""

    correlation_id: str
    traceparent: str | None = None

    @classmethod
    def of_request(cls, headers: Mapping[str, str]) -> Self:
        """From `X-Correlation-ID` (a new one where it is missing or no UUID) and `traceparent`."""
        try:
            correlation_id = uuid.UUID(headers.get("X-Correlation-ID", ""))
        except ValueError:
            correlation_id = uuid.uuid4()
        return cls(str(correlation_id), headers.get("traceparent"))


@dataclass(frozen=True, slots=True)
class Message:
    """A record as its reader sees it."""

    topic: str
    data: Data
    trace: Trace


class WireError(Exception):
    """A record is no envelope."""


def now() -> str:
    """The time as HuleEdu writes it: ISO 8601, UTC, microseconds, `Z`."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def seal(topic: str, service: str, data: Data, trace: Trace) -> bytes:
    """The value of a record: `data` in an envelope with an event id of its own."""
    return orjson.dumps(
        {
            "event_id": str(uuid.uuid4()),
            "event_type": topic,
            "event_timestamp": now(),
            "source_service": service,
            "schema_version": 1,
            "correlation_id": trace.correlation_id,
            "data_schema_uri": None,
            "data": data,
            "metadata": {"traceparent": trace.traceparent} if trace.traceparent else None,
        }
    )


def unseal(topic: str, value: bytes | None) -> Message:
    """Take the envelope off. Raises `WireError` where there is none."""
    try:
        envelope = orjson.loads(value or b"")
        metadata = envelope.get("metadata") or {}
        trace = Trace(envelope["correlation_id"], metadata.get("traceparent"))
        return Message(topic, dict(envelope["data"]), trace)
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise WireError(f"a record of {topic} is no envelope: {error!r}") from error
