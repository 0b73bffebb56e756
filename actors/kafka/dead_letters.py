"""What a dead letter is: a record that can't become a notification, kept whole, and why. Pure.

Written by `dead_letter`, read again by `KeptLetter`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from doorstep.actors.records import Headers, Record, StoredRecord, partition_of, source_of

RejectReason = Literal[
    "oversized",  # longer than the limit: not even parsed
    "invalid_json",  # not JSON, not UTF-8, nested too deep, or with numbers that JSON doesn't have
    "invalid_contract",  # JSON, but not what the route's contract asks for
    "unknown_event",  # the envelope names an event that isn't of this route
    "reserved_event",  # named like one of the server's own messages
    "invalid_user",  # a user id that can't be one
    "invalid_batch",  # a batch id that can't be one
]
"""What is wrong with a record by itself."""

LetterReason = Literal[
    RejectReason,
    "context_timeout",  # nobody has registered its batch in time
    "park_full",  # too many wait for its batch already
    "context_conflict",  # it registers a batch that is another user's
]

REASON, ERROR, SOURCE = "doorstep-reason", "doorstep-error", "doorstep-source"

REPLAY_OF = "doorstep-replay-of"
"""On a replayed record: the source of the record that it repeats."""

_OURS = (REASON, ERROR, SOURCE)
_CUT = ({"size", "sha256"}, {"size", "sha256", "key_size", "key_sha256"})
"""The fields of a value that stands for one that was too large."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record can't become a notification: its producer's fault, or that of what should have come."""

    reason: LetterReason
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


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A record as it was found in the dead-letter topic."""

    record: StoredRecord
    kept_at: datetime

    @property
    def place(self) -> str:
        """Where it is kept: `partition/offset` of the dead-letter topic."""
        return f"{self.record.partition}/{self.record.offset}"

    @property
    def reason(self) -> str:
        """Why it is there; empty for a record that Doorstep has not written."""
        return self._header(REASON)

    @property
    def source(self) -> str:
        """`topic/partition/offset` of the original; empty for a record that Doorstep has not written."""
        return self._header(SOURCE)

    @property
    def topic(self) -> str:
        """The original's topic."""
        return partition_of(partition_of(self.source)[0])[0] if self.source.count("/") >= 2 else ""

    @property
    def error(self) -> Mapping[str, Any]:
        """What its error header says: error_code, message, correlation_id …"""
        try:
            told = orjson.loads(self._header(ERROR))
        except orjson.JSONDecodeError:
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def obstacle(self) -> str | None:
        """Why it can't be replayed; None when it can."""
        if not self.topic:
            return "its source is not known"
        return "its value was too large to be kept" if _is_cut(self.record.value) else None

    def replayed(self) -> DeadLetter:
        """The original record again: key, value, its own headers, and whose repetition it is."""
        theirs = [each for each in self.record.headers if each[0] not in (*_OURS, REPLAY_OF)]
        of = (REPLAY_OF, self.source.encode())
        return DeadLetter(self.record.key, self.record.value or b"", (*theirs, of))

    def _header(self, name: str) -> str:
        found = [value for each, value in self.record.headers if each == name and value is not None]
        return found[-1].decode(errors="replace") if found else ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters somebody asks for; what is None does not matter."""

    reason: str | None = None
    topic: str | None = None
    since: datetime | None = None

    def has(self, letter: KeptLetter) -> bool:
        """Whether it is one of them."""
        return (
            self.reason in (None, letter.reason)
            and self.topic in (None, letter.topic)
            and (self.since is None or letter.kept_at >= self.since)
        )


def _is_cut(value: bytes | None) -> bool:
    try:
        told = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and told.keys() in _CUT
