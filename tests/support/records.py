"""Records as the producers around Doorstep send them: topic, key and the bytes of the value. Pure.

The values are what `json.dumps` makes of an envelope: spaces after separators, ASCII with escapes. What isn't
given follows from the ids, so that the same call makes the same bytes; give another `event_id` for a record
that the outbox sent again.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

SLOT_TOPIC = "huleedu.els.essay.slot.assigned.v1"
LIFECYCLE_SLOT_TOPIC = "huleedu.essay.lifecycle.essay.slot.assigned.v1"
VALIDATION_TOPIC = "huleedu.file.essay.validation.failed.v1"
REGISTRATION_TOPIC = "huleedu.batch.essays.registered.v1"
TEACHER_TOPIC = "huleedu.notification.teacher.requested.v1"

TIMESTAMP = "2026-11-23T08:15:30.123456Z"


class Wire(NamedTuple):
    """What a producer hands to Kafka."""

    topic: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Consumed:
    """What a consumer gets of it: the same attributes as aiokafka's record."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int = 0
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def stable_uuid(*names: object) -> str:
    """A UUID that follows from `names`."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, names))))


def to_bytes(envelope: Mapping[str, Any]) -> bytes:
    """The value of a record."""
    return json.dumps(envelope).encode()


def envelope_of(topic: str, data: Mapping[str, Any], **changed: Any) -> dict[str, Any]:
    """An envelope around `data`, with some of its fields `changed`."""
    return {
        "event_id": stable_uuid("event", topic, json.dumps(data)),
        "event_type": topic,
        "event_timestamp": TIMESTAMP,
        "source_service": "essay-lifecycle-service",
        "schema_version": 1,
        "correlation_id": stable_uuid("correlation", json.dumps(data)),
        "data_schema_uri": None,
        "data": data,
        "metadata": {},
    } | changed


def slot_assigned(
    batch_id: str,
    essay_id: str,
    file_upload_id: str | None = None,
    *,
    topic: str = SLOT_TOPIC,
    file_name: str = "Uppsats “Åsa Öberg” 🎓.docx",
    **envelope: Any,
) -> Wire:
    """ELS: the file has become this essay of the batch. `envelope` changes fields of the envelope."""
    correlation_id = envelope.setdefault("correlation_id", stable_uuid("correlation", batch_id, essay_id))
    data = {
        "event": "essay.slot.assigned",
        "batch_id": batch_id,
        "essay_id": essay_id,
        "file_upload_id": file_upload_id or stable_uuid("file", batch_id, essay_id),
        "text_storage_id": stable_uuid("text", batch_id, essay_id).replace("-", ""),
        "original_file_name": file_name,
        "correlation_id": correlation_id,
        "timestamp": TIMESTAMP,
    }
    value = envelope_of(topic, data, **envelope)
    return Wire(topic, essay_id.encode(), to_bytes(value))


def validation_failed(
    batch_id: str,
    file_upload_id: str,
    *,
    file_name: str = "tom fil.docx",
    error_code: str = "EMPTY_CONTENT",
    message: str = "The file is empty",
    **envelope: Any,
) -> Wire:
    """File Service: this file can't become an essay."""
    correlation_id = envelope.setdefault("correlation_id", stable_uuid("correlation", file_upload_id))
    data = {
        "event": "essay.validation.failed",
        "entity_id": batch_id,
        "file_upload_id": file_upload_id,
        "original_file_name": file_name,
        "raw_file_storage_id": stable_uuid("raw", file_upload_id).replace("-", ""),
        "validation_error_code": error_code,
        "validation_error_detail": {
            "error_code": error_code,
            "message": message,
            "correlation_id": correlation_id,
            "timestamp": TIMESTAMP,
            "service": "file_service",
            "operation": "validate_content",
            "details": {"file_name": file_name},
            "stack_trace": None,
            "trace_id": None,
            "span_id": None,
        },
        "file_size_bytes": 0,
        "correlation_id": correlation_id,
        "timestamp": TIMESTAMP,
    }
    value = envelope_of(VALIDATION_TOPIC, data, **{"source_service": "file-service"} | envelope)
    return Wire(VALIDATION_TOPIC, file_upload_id.encode(), to_bytes(value))


def batch_registered(batch_id: str, user_id: str, essays: int = 1, **envelope: Any) -> Wire:
    """BOS: this batch belongs to this user."""
    data = {
        "event": "batch.essays.registered",
        "entity_id": batch_id,
        "expected_essay_count": essays,
        "essay_ids": [stable_uuid("essay", batch_id, number) for number in range(essays)],
        "metadata": {"entity_id": batch_id, "entity_type": "batch", "timestamp": TIMESTAMP},
        "course_code": "ENG5",
        "student_prompt_ref": None,
        "user_id": user_id,
        "org_id": None,
        "class_id": None,
    }
    value = envelope_of(
        REGISTRATION_TOPIC, data, **{"source_service": "batch-service", "metadata": None} | envelope
    )
    return Wire(REGISTRATION_TOPIC, batch_id.encode(), to_bytes(value))


def teacher_notification(
    teacher_id: str,
    payload: Mapping[str, Any] | None = None,
    *,
    notification_type: str = "batch_processing_completed",
    correlation_id: str | None = None,
    batch_id: str | None = None,
    deadline: str | None = None,
    envelope: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Wire:
    """Any service: tell this teacher. `changed` fields of the data; the envelope has a correlation id of its
    own, as on the wire."""
    data = {
        "teacher_id": teacher_id,
        "notification_type": notification_type,
        "category": "batch_progress",
        "priority": "standard",
        "payload": {"message": "30 uppsatser klara"} if payload is None else payload,
        "action_required": False,
        "deadline_timestamp": deadline,
        "correlation_id": correlation_id or stable_uuid("correlation", teacher_id, notification_type),
        "batch_id": batch_id,
        "class_id": None,
        "timestamp": TIMESTAMP,
    } | changed
    value = envelope_of(TEACHER_TOPIC, data, **{"metadata": None} | dict(envelope or {}))
    return Wire(TEACHER_TOPIC, teacher_id.encode(), to_bytes(value))


def consumed(
    wire: Wire, partition: int = 0, offset: int = 0, headers: tuple[tuple[str, bytes], ...] = ()
) -> Consumed:
    """The record as a consumer gets it."""
    return Consumed(wire.topic, wire.key, wire.value, partition, offset, headers)
