"""The Kafka records of a benchmark, and the notification that each should become."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from doorstep.benchmarks.mark import MARK_TEMPLATE

Record = tuple[bytes, bytes, Sequence[tuple[str, bytes]]]
"""Key, value, headers."""

TIMESTAMP = "2026-11-02T08:30:00.000000Z"

_CORRELATION_ID = "0b7c4f0e-6a83-4c2b-9f6d-5a1e2d3c4b5a"


@dataclass(frozen=True, slots=True)
class Event:
    """One event to produce."""

    user_id: str
    user: int
    number: int
    due_ns: int


class Records(Protocol):
    """Makes the records for one kind of server. Frozen and picklable: it is sent to the producer."""

    @property
    def topic(self) -> str:
        """Where they go."""

    def record(self, event: Event, event_id: bytes) -> Record:
        """The record that makes the server deliver `event`; `event_id` is a UUID nothing else has."""


@dataclass(frozen=True, slots=True)
class TeacherRecords:
    """What Doorstep gets: `TeacherNotificationRequestedV1` in HuleEdu's envelope."""

    topic: str
    value: bytes
    """With `%b` for event id and user, and a mark's `%d` three times."""

    def record(self, event: Event, event_id: bytes) -> Record:
        user_id = event.user_id.encode()
        value = self.value % (event_id, user_id, event.user, event.number, event.due_ns)
        return user_id, value, ()


@dataclass(frozen=True, slots=True)
class PlainRecords:
    """What servers get that publish a value as it is: the notification itself, the channel in a header."""

    topic: str
    value: bytes
    """With `%b` for event id, and a mark's `%d` three times."""
    header: str
    channel: str
    """Name of the channel, with `{}` for the user."""

    def record(self, event: Event, event_id: bytes) -> Record:
        value = self.value % (event_id, event.user, event.number, event.due_ns)
        channel = self.channel.format(event.user_id).encode()
        return event.user_id.encode(), value, ((self.header, channel),)


def teacher_records(topic: str, payload_bytes: int) -> TeacherRecords:
    """Records whose notification is about `payload_bytes` long without `seq` and `cursor`."""
    pad = _pad(payload_bytes)
    value = (
        b'{"event_id":"%%b","event_type":"%b","event_timestamp":"%b","source_service":"benchmark",'
        b'"schema_version":1,"correlation_id":"%b","data_schema_uri":null,"data":{"teacher_id":"%%b",'
        b'"notification_type":"essay_ready","category":"system_alerts","priority":"standard",'
        b'"payload":{%b,"pad":"%b"},"action_required":false,"deadline_timestamp":null,'
        b'"correlation_id":"%b","batch_id":null,"class_id":null,"timestamp":"%b"},"metadata":null}'
    ) % (topic.encode(), _stamp(), _id(), MARK_TEMPLATE, pad, _id(), _stamp())
    return TeacherRecords(topic, value)


def plain_records(topic: str, payload_bytes: int, *, header: str, channel: str) -> PlainRecords:
    """Records that are the same notification as that of `teacher_records`, ready to be published."""
    return PlainRecords(topic, _notification(_pad(payload_bytes)), header, channel)


def _notification(pad: bytes) -> bytes:
    return (
        b'{"event":"essay_ready","id":"%%b","correlation_id":"%b","timestamp":"%b","data":{%b,"pad":"%b",'
        b'"category":"system_alerts","priority":"standard","action_required":false,"deadline":null,'
        b'"batch_id":null,"class_id":null,"correlation_id":"%b","timestamp":"%b"}}'
    ) % (_id(), _stamp(), MARK_TEMPLATE, pad, _id(), _stamp())


def _pad(payload_bytes: int) -> bytes:
    event_id, mark = bytes(36), (1000, 100, 10**14)
    return b"x" * max(0, payload_bytes - len(_notification(b"") % (event_id, *mark)))


def _id() -> bytes:
    return _CORRELATION_ID.encode()


def _stamp() -> bytes:
    return TIMESTAMP.encode()
