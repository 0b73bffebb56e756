"""What a dead letter is: a record that can't become a notification, kept whole, and why. Pure."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from doorstep.actors.records import Headers, Record, source_of

REASON, ERROR, SOURCE = "doorstep-reason", "doorstep-error", "doorstep-source"

_OURS = (REASON, ERROR, SOURCE)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record can't become a notification: its producer's fault, or that of what should have come."""

    reason: str
    """`invalid_json`, `context_timeout`, …"""
    operation: str
    """What Doorstep was about to do."""
    message: str
    correlation_id: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic; the last three headers are ours."""

    key: bytes | None
    value: bytes
    headers: Headers


def dead_letter(record: Record, fault: Fault, now: float) -> DeadLetter:
    """The dead letter of a record: its key, value and headers as they were, and three headers of ours.

    `doorstep-reason` is the reason, `doorstep-source` is `topic/partition/offset`, `doorstep-error` is a JSON
    object of error_code, message, correlation_id, timestamp, service, operation, details. `now` is in Unix
    seconds. Such headers from an earlier delivery are replaced.
    """
    theirs = tuple((name, value) for name, value in record.headers if name not in _OURS)
    error = {
        "error_code": fault.reason.upper(),
        "message": fault.message,
        "correlation_id": fault.correlation_id,
        "timestamp": datetime.fromtimestamp(now, UTC),
        "service": "doorstep",
        "operation": fault.operation,
        "details": fault.details,
    }
    ours = (
        (REASON, fault.reason.encode()),
        (ERROR, orjson.dumps(error, default=str)),
        (SOURCE, source_of(record).encode()),
    )
    return DeadLetter(record.key, record.value or b"", (*theirs, *ours))


def shrunk(whole: DeadLetter) -> Iterator[DeadLetter]:
    """Ever smaller forms of a letter, for a broker that refuses its size: what is cut is told by its hash.

    First without the value, then without the key and the record's own headers too.
    """
    cut = {"size": len(whole.value), "sha256": hashlib.sha256(whole.value).hexdigest()}
    yield replace(whole, value=orjson.dumps(cut))
    if whole.key is not None:
        cut |= {"key_size": len(whole.key), "key_sha256": hashlib.sha256(whole.key).hexdigest()}
    yield DeadLetter(None, orjson.dumps(cut), whole.headers[-len(_OURS) :])
