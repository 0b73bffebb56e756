"""What the benchmark produces is what the services produce, and means the same to every target."""

from dataclasses import dataclass

import orjson
import pytest

from doorstep.actors.consuming.decode import Event as Decoded
from doorstep.actors.consuming.decode import decode
from doorstep.benchmarks.mark import find_marks
from doorstep.benchmarks.records import Event, plain_records, teacher_records
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings

TOPIC = "huleedu.notification.teacher.requested.v1"
EVENT = Event("steady-0-17", user=17, number=4, due_ns=123_456_789_012_345)
EVENT_ID = b"00c0ffee-0000-4000-8000-000000000001"


@dataclass
class _Consumed:
    topic: str
    key: bytes | None
    value: bytes | None
    partition: int = 0
    offset: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def _decoded(payload_bytes: int) -> Decoded:
    key, value, _headers = teacher_records(TOPIC, payload_bytes).record(EVENT, EVENT_ID)
    settings = Settings()
    decoded = decode(
        _Consumed(TOPIC, key, value), load_routes(settings.routes), settings.kafka.max_record_bytes
    )
    assert isinstance(decoded, Decoded)
    return decoded


def test_doorstep_takes_it_for_an_event_of_the_user() -> None:
    decoded = _decoded(600)

    assert decoded.user_id == EVENT.user_id
    assert [tuple(map(int, mark)) for mark in find_marks(decoded.payload)] == [(17, 4, EVENT.due_ns)]


@pytest.mark.parametrize("payload_bytes", [600, 2_000])
def test_the_notification_is_as_long_as_asked_for(payload_bytes: int) -> None:
    assert len(_decoded(payload_bytes).payload) == pytest.approx(payload_bytes, abs=12)


def test_other_servers_get_the_same_notification() -> None:
    records = plain_records("bench-peer", 600, header="x-ch", channel="usr:#{}")

    _key, value, headers = records.record(EVENT, EVENT_ID)

    assert headers == (("x-ch", b"usr:#steady-0-17"),)
    assert orjson.loads(value) == orjson.loads(_decoded(600).payload)
