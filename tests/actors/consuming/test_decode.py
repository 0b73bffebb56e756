"""What records become: real ones by the shipped routes, odd ones by routes of the test, and any bytes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import xxhash
from aiokafka import ConsumerRecord
from hypothesis import given, settings
from hypothesis import strategies as st

from doorstep.actors.consuming.decode import Event, Fault, Registration, Skip, decode
from doorstep.config.identifiers import identifier_fault
from doorstep.config.routes import RouteTable, load_routes
from doorstep.config.settings import Settings
from tests.support.records import (
    LIFECYCLE_SLOT_TOPIC,
    REGISTRATION_TOPIC,
    SLOT_TOPIC,
    TEACHER_TOPIC,
    TIMESTAMP,
    VALIDATION_TOPIC,
    Consumed,
    Wire,
    batch_registered,
    consumed,
    envelope_of,
    slot_assigned,
    teacher_notification,
    to_bytes,
    validation_failed,
)

pytestmark = pytest.mark.patient

LIMIT = 1 << 20
ROUTES = load_routes(Settings.model_fields["routes"].default)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER_TRACEPARENT = "00-11111111111111111111111111111111-1111111111111111-00"

Outcome = Event | Registration | Fault | Skip


def _decoded(wire: Wire, **place: Any) -> Outcome:
    return decode(consumed(wire, **place), ROUTES, LIMIT)


def _event(wire: Wire, **place: Any) -> Event:
    outcome = _decoded(wire, **place)
    assert isinstance(outcome, Event), outcome
    return outcome


def _fault(wire: Wire) -> Fault:
    outcome = _decoded(wire)
    assert isinstance(outcome, Fault), outcome
    return outcome


def _slot(data: dict[str, Any] | None = None, **envelope: Any) -> Wire:
    """A slot event with changed fields."""
    value = json.loads(slot_assigned("b-1", "e-1").value)
    return Wire(SLOT_TOPIC, b"e-1", to_bytes(value | {"data": value["data"] | (data or {})} | envelope))


# Real records.


def test_a_slot_event_becomes_a_notification_for_the_user_of_its_batch() -> None:
    event = _event(
        slot_assigned("b-1", "e-1", "f-1", file_name="Åsa.docx", event_id="ID-1", correlation_id="C-1")
    )
    assert (event.user_id, event.batch_id, event.event_name) == (None, "b-1", "essay.slot.assigned")
    assert event.correlation_id == "C-1"
    assert json.loads(event.payload) == {
        "event": "essay.slot.assigned",
        "id": "ID-1",
        "correlation_id": "C-1",
        "timestamp": TIMESTAMP,
        "data": {
            "batch_id": "b-1",
            "essay_id": "e-1",
            "file_upload_id": "f-1",
            "text_storage_id": json.loads(slot_assigned("b-1", "e-1").value)["data"]["text_storage_id"],
            "original_file_name": "Åsa.docx",
        },
    }


def test_a_slot_event_without_a_file_name_says_so() -> None:
    value = json.loads(slot_assigned("b-1", "e-1").value)
    del value["data"]["original_file_name"]
    event = _event(Wire(SLOT_TOPIC, b"e-1", to_bytes(value)))
    assert json.loads(event.payload)["data"]["original_file_name"] is None


def test_a_failed_validation_becomes_a_notification_with_code_and_message() -> None:
    event = _event(
        validation_failed("b-1", "f-1", file_name="Åsa.docx", error_code="EMPTY", message="No text")
    )
    assert (event.user_id, event.batch_id, event.event_name) == (None, "b-1", "essay.validation.failed")
    assert json.loads(event.payload)["data"] == {
        "batch_id": "b-1",
        "file_upload_id": "f-1",
        "original_file_name": "Åsa.docx",
        "error_code": "EMPTY",
        "message": "No text",
    }


def test_a_registration_tells_the_user_of_a_batch() -> None:
    registration = _decoded(batch_registered("b-1", "u-1", essays=30, correlation_id="C-1"))
    assert registration == Registration("b-1", "u-1", "C-1")


def test_a_registration_may_name_its_batch_in_either_field() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"batch_id": "b-2", "user_id": "u"}, "b-2"),
        ({"entity_id": None, "batch_id": "b-2", "user_id": "u"}, "b-2"),
        ({"entity_id": "b-1", "batch_id": "b-2", "user_id": "u"}, "b-1"),
    ]
    for data, batch in cases:
        value = to_bytes(envelope_of(REGISTRATION_TOPIC, data))
        registration = _decoded(Wire(REGISTRATION_TOPIC, b"", value))
        assert isinstance(registration, Registration)
        assert registration.batch_id == batch


def test_a_teacher_notification_shows_its_payload_and_the_named_fields_win() -> None:
    wire = teacher_notification(
        "u-1",
        {"message": "Klart", "nested": {"list": [1, None, 2.5, True]}, "priority": "forged", "deadline": 1},
        notification_type="batch_done",
        correlation_id="C-data",
        batch_id="b-1",
        deadline="2026-12-01T12:00:00Z",
        envelope={"correlation_id": "C-envelope"},
    )
    event = _event(wire)
    assert (event.user_id, event.batch_id, event.event_name) == ("u-1", None, "batch_done")
    assert event.correlation_id == "C-data"
    shown = json.loads(event.payload)
    assert (shown["event"], shown["correlation_id"], shown["timestamp"]) == (
        "batch_done",
        "C-data",
        TIMESTAMP,
    )
    assert shown["data"] == {
        "message": "Klart",
        "nested": {"list": [1, None, 2.5, True]},
        "category": "batch_progress",
        "priority": "standard",
        "action_required": False,
        "deadline": "2026-12-01T12:00:00Z",
        "batch_id": "b-1",
        "class_id": None,
        "correlation_id": "C-data",
        "timestamp": TIMESTAMP,
    }


def test_a_teacher_notification_without_deadline_says_null() -> None:
    assert json.loads(_event(teacher_notification("u-1")).payload)["data"]["deadline"] is None


def test_the_timestamp_is_the_envelopes_and_the_datas_own_stays_in_data() -> None:
    wire = teacher_notification("u-1", timestamp="2026-01-02T03:04:05Z")
    shown = json.loads(_event(wire).payload)
    assert (shown["timestamp"], shown["data"]["timestamp"]) == (TIMESTAMP, "2026-01-02T03:04:05Z")


def test_a_payload_becomes_a_frame_by_putting_seq_and_cursor_in_front() -> None:
    payload = _event(slot_assigned("b-1", "e-1")).payload
    frame = b'{"seq":%d,"cursor":"%s",' % (42, b"42-9f3c2b7a10d4e655") + payload[1:]
    assert list(json.loads(frame)) == ["seq", "cursor", "event", "id", "correlation_id", "timestamp", "data"]


@pytest.mark.parametrize("correlation_id", ["ABC-def", "  padded ", "Ünï 🎓", 'quo"te\\', "\x00"])
def test_a_correlation_id_is_kept_as_it_was_sent(correlation_id: str) -> None:
    event = _event(slot_assigned("b-1", "e-1", correlation_id=correlation_id))
    assert event.correlation_id == correlation_id
    assert json.loads(event.payload)["correlation_id"] == correlation_id


def test_an_event_without_correlation_id_is_delivered() -> None:
    event = _event(_slot(correlation_id=None))
    assert event.correlation_id is None
    assert json.loads(event.payload)["correlation_id"] is None


@pytest.mark.parametrize(
    "name", ["ÅÄÖ.docx", "文章.pdf", "🎓\u200d.txt", "a\u0000b", "\u202e.exe", "e\u0301.docx"]
)
def test_file_names_are_any_unicode(name: str) -> None:
    event = _event(validation_failed("b-1", "f-1", file_name=name))
    assert json.loads(event.payload)["data"]["original_file_name"] == name


def test_a_record_of_aiokafka_fits() -> None:
    wire = slot_assigned("b-1", "e-1")
    record = ConsumerRecord(wire.topic, 3, 7, 0, 0, wire.key, wire.value, None, 0, 0, ())
    assert decode(record, ROUTES, LIMIT) == _decoded(wire)


# Which events are the same.


def test_a_slot_event_sent_again_with_a_new_id_elsewhere_is_the_same_event() -> None:
    first = _event(slot_assigned("b-1", "e-1", "f-1"), partition=0, offset=5)
    again = _event(
        slot_assigned("b-1", "e-1", "f-1", topic=LIFECYCLE_SLOT_TOPIC, event_id="other"),
        partition=1,
        offset=9,
    )
    assert first.dedupe_key == again.dedupe_key


def test_slot_events_that_differ_in_any_part_of_the_key_are_different() -> None:
    triples = [
        ("b", "e", "f"),
        ("b", "e", "F"),
        ("b", "ef", ""),
        ("be", "", "f"),
        ("b", "", "ef"),
        ("b1:e", "e", "f"),
        ("b", "1:e", "f"),
        ("e", "b", "f"),
    ]
    keys = {
        _event(_slot({"batch_id": batch, "essay_id": essay, "file_upload_id": file})).dedupe_key
        for batch, essay, file in triples
    }
    assert len(keys) == len(triples)


def test_a_failed_validation_sent_again_with_a_new_id_is_the_same_event() -> None:
    first, again = (_event(validation_failed("b-1", "f-1", event_id=event_id)) for event_id in ("one", "two"))
    assert first.dedupe_key == again.dedupe_key


def test_an_event_id_decides_without_a_business_key_in_upper_or_lower_case() -> None:
    lower, upper, other = (
        _event(teacher_notification("u-1", {"n": number}, envelope={"event_id": event_id}), offset=number)
        for number, event_id in enumerate(["abc-1", "ABC-1", "abc-2"])
    )
    assert lower.dedupe_key == upper.dedupe_key != other.dedupe_key
    assert json.loads(upper.payload)["id"] == "ABC-1"


def test_one_event_id_under_two_names_is_two_events() -> None:
    one, two = (
        _event(teacher_notification("u-1", notification_type=name, envelope={"event_id": "x"}))
        for name in ("one", "two")
    )
    assert one.dedupe_key != two.dedupe_key


def test_the_same_place_in_a_topic_made_anew_is_another_event() -> None:
    wire = teacher_notification("u-1", envelope={"event_id": None})
    old, new, again, unknown = (
        decode(consumed(wire, partition=1, offset=2), ROUTES, LIMIT, topic_id)
        for topic_id in ("topic-then", "topic-now", "topic-now", "")
    )
    assert isinstance(old, Event)
    assert isinstance(new, Event)
    assert len({each.dedupe_key for each in (old, new, again, unknown) if isinstance(each, Event)}) == 3
    assert json.loads(new.payload)["id"] == f"{TEACHER_TOPIC}/1/2@topic-now"
    assert new == again


def test_a_place_in_kafka_decides_without_any_id() -> None:
    wire = teacher_notification("u-1", envelope={"event_id": None})
    places = [(0, 1), (0, 2), (1, 1), (0, 12), (0, 1)]
    keys = [_event(wire, partition=partition, offset=offset).dedupe_key for partition, offset in places]
    assert keys[0] == keys[-1]
    assert len(set(keys)) == len(places) - 1
    assert json.loads(_event(wire, partition=3, offset=7).payload)["id"] == f"{TEACHER_TOPIC}/3/7"


def test_dedupe_keys_are_the_same_in_every_version() -> None:
    """Logs outlive releases: whoever changes what is hashed makes every repeat in them a new event."""
    slot = _slot({"batch_id": "b", "essay_id": "e", "file_upload_id": "Åf"})
    teacher = teacher_notification("u", notification_type="n", envelope={"event_id": "ID"})
    nameless = teacher_notification("u", notification_type="n", envelope={"event_id": None})
    keys = [_event(wire, partition=1, offset=2).dedupe_key.hex() for wire in (slot, teacher, nameless)]
    assert keys == GOLDEN_KEYS


GOLDEN_KEYS = [
    xxhash.xxh3_64_hexdigest(text.encode())
    for text in (
        r"('key', 'essay.slot.assigned', 'b', 'e', '\xc5f')",
        "('id', 'n', 'id')",
        "('source', 'n', 'huleedu.notification.teacher.requested.v1/1/2')",
    )
]


# Traces.


@pytest.mark.parametrize(
    ("metadata", "headers", "expected"),
    [
        ({"traceparent": TRACEPARENT}, (), TRACEPARENT),
        ({}, (("traceparent", TRACEPARENT.encode()),), TRACEPARENT),
        (None, (("other", b"x"), ("traceparent", TRACEPARENT.encode())), TRACEPARENT),
        (
            {"traceparent": TRACEPARENT},
            (("traceparent", OTHER_TRACEPARENT.encode()),),
            TRACEPARENT,
        ),
        ({"traceparent": "broken"}, (("traceparent", TRACEPARENT.encode()),), TRACEPARENT),
        ({"traceparent": 7}, (), None),
        ({"traceparent": TRACEPARENT.upper()}, (), None),
        ({"traceparent": TRACEPARENT + "\n"}, (), None),
        ({"traceparent": TRACEPARENT + "-more"}, (), None),
        ({"traceparent": "01" + TRACEPARENT[2:] + "-more"}, (), "01" + TRACEPARENT[2:] + "-more"),
        ({"traceparent": "ff" + TRACEPARENT[2:]}, (), None),
        ({"traceparent": "00-" + "0" * 32 + TRACEPARENT[35:]}, (), None),
        ({"traceparent": TRACEPARENT[:36] + "0" * 16 + "-01"}, (), None),
        (None, (("traceparent", b"\xff\xfe"),), None),
        (None, (("traceparent", None),), None),
        (None, (), None),
    ],
)
def test_a_traceparent_is_shown_if_it_is_well_formed(
    metadata: object, headers: tuple[tuple[str, bytes], ...], expected: str | None
) -> None:
    event = _event(slot_assigned("b-1", "e-1", metadata=metadata), headers=headers)
    assert json.loads(event.payload).get("traceparent") == expected
    assert ("traceparent" in json.loads(event.payload)) == (expected is not None)


# Records that can't be delivered.


def test_tombstones_and_topics_without_a_route_are_skipped() -> None:
    assert decode(Consumed(SLOT_TOPIC, b"k", None), ROUTES, LIMIT) == Skip("tombstone")
    assert decode(Consumed("elsewhere", b"k", b"{"), ROUTES, LIMIT) == Skip("unrouted")
    assert decode(Consumed("elsewhere", b"k", None), ROUTES, LIMIT) == Skip("unrouted")


def test_a_value_over_the_limit_is_rejected_unread() -> None:
    wire = slot_assigned("b-1", "e-1")
    assert isinstance(decode(consumed(wire), ROUTES, len(wire.value)), Event)
    fault = decode(consumed(wire), ROUTES, len(wire.value) - 1)
    assert isinstance(fault, Fault)
    assert fault.reason == "oversized"
    assert fault.details == {"bytes": len(wire.value), "limit": len(wire.value) - 1}
    assert _fault(Wire(SLOT_TOPIC, b"", b"[" * (2 << 20))).reason == "oversized"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"\x00",
        b"null,",
        b"{",
        slot_assigned("b", "e").value[:-1],
        slot_assigned("b", "e").value + b"}",
        slot_assigned("b", "e").value.replace(b'"b"', b'"\xff"'),
        slot_assigned("b", "e").value.replace(b'"b"', b'"\\ud800"'),
        slot_assigned("b", "e").value.replace(b'"b"', b'"\x00"'),
        slot_assigned("b", "e").value.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + slot_assigned("b", "e").value,
        b"[" * 10_000,
        b'{"data":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b"9" * 5_000,
    ],
)
def test_what_is_not_json_is_rejected(value: bytes) -> None:
    for topic in ROUTES.by_topic:
        fault = _fault(Wire(topic, b"", value))
        assert fault.reason == "invalid_json"
        assert "isn't JSON" in fault.message


@pytest.mark.parametrize("value", [b"null", b"[]", b"[{}]", b"7", b'"text"', b"{}", b'{"data":{}}', b"NaN"])
def test_json_that_is_no_envelope_is_rejected(value: bytes) -> None:
    for topic in ROUTES.by_topic:
        assert _fault(Wire(topic, b"", value)).reason == "invalid_contract"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"essay_id": 7}, "data.essay_id"),
        ({"essay_id": None}, "data.essay_id"),
        ({"essay_id": ["e-1"]}, "data.essay_id"),
        ({"essay_id": {"id": "e-1"}}, "data.essay_id"),
        ({"batch_id": True}, "data.batch_id"),
        ({"timestamp": "soon"}, "data.timestamp"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(data: dict[str, Any], field: str) -> None:
    fault = _fault(_slot(data, correlation_id="C-1"))
    assert fault.reason == "invalid_contract"
    assert fault.correlation_id == "C-1"
    assert fault.details["route"] == "route.essay_slot_assigned"
    assert [error["field"] for error in fault.details["errors"]] == [field]
    assert field in fault.message


@pytest.mark.parametrize("field", ["batch_id", "essay_id", "file_upload_id", "text_storage_id"])
def test_a_field_that_is_missing_is_named(field: str) -> None:
    value = json.loads(_slot().value)
    del value["data"][field]
    fault = _fault(Wire(SLOT_TOPIC, b"", to_bytes(value)))
    assert fault.reason == "invalid_contract"
    assert fault.details["errors"] == [{"field": f"data.{field}", "problem": "Field required"}]


@pytest.mark.parametrize("data", [None, [], "text", 7, {}])
def test_data_that_is_no_object_with_fields_is_rejected(data: Any) -> None:
    for topic in ROUTES.by_topic:
        wire = Wire(topic, b"", to_bytes(envelope_of(topic, {}) | {"data": data}))
        assert _fault(wire).reason == "invalid_contract"


def test_an_event_of_another_type_is_unknown_whether_or_not_it_fits() -> None:
    for wire in (
        _slot(event_type="huleedu.other.v1"),
        _slot({"essay_id": 7}, event_type="huleedu.other.v1"),
        Wire(SLOT_TOPIC, b"", batch_registered("b-1", "u-1").value),
    ):
        fault = _fault(wire)
        assert fault.reason == "unknown_event"
        assert fault.correlation_id == json.loads(wire.value)["correlation_id"]


def test_an_event_may_name_any_topic_of_its_route() -> None:
    assert isinstance(_decoded(_slot(event_type=LIFECYCLE_SLOT_TOPIC)), Event)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("doorstep.welcome", "reserved_event"),
        ("doorstep.", "reserved_event"),
        ("", "invalid_contract"),
        ("a\nb", "invalid_contract"),
        ("x" * 300, "invalid_contract"),
    ],
)
def test_an_event_name_that_no_producer_may_use_is_rejected(name: str, reason: str) -> None:
    fault = _fault(teacher_notification("u-1", notification_type=name, correlation_id="C-1"))
    assert (fault.reason, fault.correlation_id) == (reason, "C-1")
    assert fault.details == {"field": "data.notification_type"}


@pytest.mark.parametrize("name", ["doorstep", "doorsteps.x", "Doorstep.x", "my.doorstep.x"])
def test_other_event_names_are_the_producers(name: str) -> None:
    assert _event(teacher_notification("u-1", notification_type=name)).event_name == name


@pytest.mark.parametrize("identifier", ["", "x" * 257, "a\x00", "a\nb", "{s1}"])
def test_ids_that_can_be_nobodys_are_rejected(identifier: str) -> None:
    for wire, reason in [
        (teacher_notification(identifier), "invalid_user"),
        (batch_registered("b-1", identifier), "invalid_user"),
        (batch_registered(identifier, "u-1"), "invalid_batch"),
        (slot_assigned(identifier, "e-1"), "invalid_batch"),
        (validation_failed(identifier, "f-1"), "invalid_batch"),
    ]:
        fault = _fault(wire)
        assert fault.reason == reason
        assert fault.correlation_id is not None


def test_a_registration_without_a_batch_is_rejected() -> None:
    value = to_bytes(envelope_of(REGISTRATION_TOPIC, {"user_id": "u-1"}))
    fault = _fault(Wire(REGISTRATION_TOPIC, b"", value))
    assert fault.reason == "invalid_batch"
    assert fault.details == {"field": "data.entity_id or data.batch_id"}


def test_an_absurd_correlation_id_stays_out_of_the_dead_letters_headers() -> None:
    fault = _fault(_slot({"essay_id": 7}, correlation_id="x" * 257))
    assert fault.correlation_id is None


# Odd JSON.


def _with_payload(payload: bytes) -> Wire:
    wire = teacher_notification("u-1", {"@": 0})
    return wire._replace(value=wire.value.replace(b'{"@": 0}', payload))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_numbers_that_would_become_null_are_not_json(number: bytes) -> None:
    assert _fault(_with_payload(b'{"n": %s}' % number)).reason == "invalid_json"


@pytest.mark.parametrize("number", [b"0", b"-0.0", b"1.5e300", b"18446744073709551616", b"-" + b"7" * 300])
def test_other_numbers_arrive_as_they_are(number: bytes) -> None:
    shown = json.loads(_event(_with_payload(b'{"n": %s, "text": "\\u00e5"}' % number)).payload)
    assert str(shown["data"]["n"]) == str(json.loads(number))
    assert shown["data"]["text"] == "å"


def test_the_last_of_two_equal_keys_wins_in_everything() -> None:
    event = _event(_with_payload(b'{"a": 1, "a": 2}'))
    assert event.payload.count(b'"a":') == 1
    assert json.loads(event.payload)["data"]["a"] == 2
    twice = slot_assigned("b-1", "e-1").value.replace(b'"batch_id":', b'"batch_id": "other", "batch_id":')
    assert _event(Wire(SLOT_TOPIC, b"", twice)).batch_id == "b-1"


def test_unknown_fields_are_allowed_everywhere_and_stay_out_of_the_notification() -> None:
    wire = _slot({"new": {"deep": [1, 2, {}]}, "user_id": "forged"}, tenant="t", data_version=2)
    assert _event(wire) == _event(_slot())


def test_odd_strings_in_a_payload_arrive() -> None:
    shown = json.loads(_event(_with_payload(b'{"\\u0000": "\\ud83c\\udf93\\u2028</script>"}')).payload)
    assert shown["data"]["\x00"] == "🎓\u2028</script>"


# Contracts of others.


@pytest.fixture(scope="module")
def own_routes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RouteTable]:
    """Routes whose contract is the module below."""
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "odd_contracts.py").write_text(ODD_CONTRACTS)
    (folder / "routes.toml").write_text(ODD_ROUTES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield load_routes(folder / "routes.toml")


ODD_CONTRACTS = """
from datetime import datetime
from typing import Any
from uuid import UUID
from pydantic import BaseModel, field_validator

class Inner(BaseModel):
    at: datetime
    more: UUID | None = None

class Odd(BaseModel):
    user: Any = "u-1"
    name: Any = "odd"
    key: str | None = None
    number: int | None = None
    whole: Any = None
    inner: Inner | None = None
    counts: dict[int, int] = {}
    raw: bytes = b""
    many: list[str] = []
    fuse: str = ""

    @field_validator("fuse")
    @classmethod
    def burn(cls, value: str) -> str:
        return str(1 // 0) if value == "lit" else value
"""

ODD_ROUTES = """
[route.odd]
topics = ["odd"]
contract = "odd_contracts:Odd"
user = "data.user"
event_from = "data.name"
dedupe = ["data.key", "data.number"]
data_from = "data.whole"
correlation_id = "metadata.id"
data = { inner = "data.inner", at = "data.inner.at", counts = "data.counts", raw = "data.raw" }

[route.model]
topics = ["model"]
contract = "odd_contracts:Odd"
user = "data.user"
event = "model"
data_from = "data.inner"
"""


@pytest.fixture
def odd(own_routes: RouteTable) -> Callable[..., Outcome]:
    """Decode an odd record: fields of `data`, and of the envelope with `envelope=`."""

    def outcome(
        topic: str = "odd", offset: int = 0, envelope: dict[str, Any] | None = None, **data: Any
    ) -> Outcome:
        value = to_bytes(envelope_of(topic, data) | (envelope or {}))
        return decode(Consumed(topic, None, value, offset=offset), own_routes, LIMIT)

    return outcome


def test_values_that_are_not_plain_json_are_written_as_json(odd: Callable[..., Outcome]) -> None:
    inner = {"at": "2026-11-23T08:15:30Z", "more": "0d5c2a3e-0000-4000-8000-000000000000"}
    event = odd(inner=inner, raw="abc", whole={"inner": "hidden", "other": [1]})
    assert isinstance(event, Event), event
    shown = json.loads(event.payload)["data"]
    assert shown == {"inner": inner, "other": [1], "at": "2026-11-23T08:15:30Z", "counts": {}, "raw": "abc"}
    with_big_keys = odd(counts={"1": 2**70})
    assert isinstance(with_big_keys, Event)
    assert json.loads(with_big_keys.payload)["data"]["counts"] == {"1": 2**70}


def test_all_fields_of_a_model_may_be_shown(odd: Callable[..., Outcome]) -> None:
    event = odd("model", inner={"at": "2026-11-23T08:15:30Z"})
    assert isinstance(event, Event)
    assert json.loads(event.payload)["data"] == {"at": "2026-11-23T08:15:30Z", "more": None}
    without = odd("model")
    assert isinstance(without, Event)
    assert json.loads(without.payload)["data"] == {}


@pytest.mark.parametrize("whole", ["text", 7, [], True])
def test_an_object_to_show_that_is_none_is_rejected(odd: Callable[..., Outcome], whole: object) -> None:
    fault = odd(whole=whole)
    assert isinstance(fault, Fault)
    assert fault.reason == "invalid_contract"
    assert "data.whole isn't an object" in fault.message


def test_a_business_key_with_a_hole_gives_way_to_the_event_id(odd: Callable[..., Outcome]) -> None:
    def key(offset: int, event_id: str, **data: Any) -> bytes:
        event = odd(offset=offset, envelope={"event_id": event_id}, **data)
        assert isinstance(event, Event)
        return event.dedupe_key

    assert key(1, "x", key="k", number=1) == key(2, "y", key="k", number=1)
    assert key(1, "x", key="k") != key(2, "y", key="k")
    assert key(1, "x", key="k") == key(2, "x", key="k")
    assert key(1, "x", key="k1", number=1) != key(1, "x", key="k", number=11)


@pytest.mark.parametrize(("field", "reason"), [("user", "invalid_user"), ("name", "invalid_contract")])
@pytest.mark.parametrize("value", [None, 7, ["u-1"], {"id": "u-1"}])
def test_an_id_or_a_name_that_is_no_text_is_rejected(
    odd: Callable[..., Outcome], field: str, reason: str, value: object
) -> None:
    fault = odd(**{field: value})
    assert isinstance(fault, Fault)
    assert fault.reason == reason
    assert "is not there, or isn't text" in fault.message


def test_a_correlation_id_that_is_no_text_counts_as_none(odd: Callable[..., Outcome]) -> None:
    for metadata, expected in [({"id": "C-1"}, "C-1"), ({"id": 7}, None), ({}, None), (None, None)]:
        event = odd(envelope={"metadata": metadata})
        assert isinstance(event, Event)
        assert event.correlation_id == expected


def test_a_contract_that_breaks_costs_the_record_and_not_the_partition(odd: Callable[..., Outcome]) -> None:
    fault = odd(fuse="lit")
    assert isinstance(fault, Fault)
    assert fault.reason == "invalid_contract"
    assert "Odd of [route.odd] failed (ZeroDivisionError" in fault.message


def test_a_value_with_very_many_mistakes_is_not_listed(odd: Callable[..., Outcome]) -> None:
    few, many = odd(many=[1] * 50), odd(many=[1] * 100_000)
    assert isinstance(few, Fault)
    assert isinstance(many, Fault)
    assert (len(few.details["errors"]), len(many.details["errors"])) == (10, 0)
    assert "100000 fields are wrong" in many.message


# Anything.

WIRES = [
    slot_assigned("b-1", "e-1", topic=LIFECYCLE_SLOT_TOPIC),
    slot_assigned("b-1", "e-1", metadata={"traceparent": TRACEPARENT}),
    validation_failed("b-1", "f-1"),
    batch_registered("b-1", "u-1"),
    teacher_notification("u-1", {"deep": [{"er": 1.5}]}, deadline=TIMESTAMP),
]
TOPICS = [LIFECYCLE_SLOT_TOPIC, SLOT_TOPIC, VALIDATION_TOPIC, REGISTRATION_TOPIC, TEACHER_TOPIC]


def _json(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )


_scalars = st.none() | st.booleans() | st.integers() | st.text()
_finite_json = _json(_scalars | st.floats(allow_nan=False, allow_infinity=False))
_any_json = _json(_scalars | st.floats())
_anything = settings(max_examples=300)


def _keeps_its_promise(outcome: Outcome) -> None:
    """What every outcome must be, whatever the record was."""
    if isinstance(outcome, Event):
        assert (outcome.user_id is None) != (outcome.batch_id is None)
        assert identifier_fault(outcome.user_id or outcome.batch_id or "") is None
        assert len(outcome.dedupe_key) == 8
        assert not outcome.event_name.startswith("doorstep.")
        shown = orjson.loads(outcome.payload)
        assert outcome.payload.startswith(b'{"event":')
        assert set(shown) - {"traceparent"} == {"event", "id", "correlation_id", "timestamp", "data"}
        assert (shown["event"], shown["correlation_id"]) == (outcome.event_name, outcome.correlation_id)
    elif isinstance(outcome, Registration):
        assert identifier_fault(outcome.batch_id) is identifier_fault(outcome.user_id) is None
    elif isinstance(outcome, Fault):
        assert 0 < len(outcome.message) < 4096
        orjson.dumps([outcome.message, outcome.correlation_id, dict(outcome.details)])
    else:
        assert outcome.reason in ("tombstone", "unrouted")


@_anything
@given(st.sampled_from(TOPICS), st.binary() | st.text().map(str.encode))
def test_any_bytes_have_an_outcome(topic: str, value: bytes) -> None:
    outcome = decode(Consumed(topic, None, value), ROUTES, LIMIT)
    assert isinstance(outcome, Fault)
    _keeps_its_promise(outcome)


@_anything
@given(st.sampled_from(TOPICS), _any_json)
def test_any_json_has_an_outcome(topic: str, value: object) -> None:
    _keeps_its_promise(decode(Consumed(topic, None, json.dumps(value).encode()), ROUTES, LIMIT))


@_anything
@given(st.data())
def test_a_record_with_damaged_bytes_has_an_outcome(data: st.DataObject) -> None:
    wire = data.draw(st.sampled_from(WIRES))
    start = data.draw(st.integers(0, len(wire.value)))
    end = data.draw(st.integers(start, min(len(wire.value), start + 20)))
    damaged = wire.value[:start] + data.draw(st.binary(max_size=20)) + wire.value[end:]
    _keeps_its_promise(decode(Consumed(wire.topic, None, damaged), ROUTES, LIMIT))


@_anything
@given(st.data())
def test_a_record_with_an_odd_field_has_an_outcome(data: st.DataObject) -> None:
    wire = data.draw(st.sampled_from(WIRES))
    envelope = json.loads(wire.value)
    place = data.draw(st.sampled_from([envelope, envelope["data"]]))
    field = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        place[field] = data.draw(_any_json)
    else:
        del place[field]
    _keeps_its_promise(decode(Consumed(wire.topic, None, to_bytes(envelope)), ROUTES, LIMIT))


@_anything
@given(st.sampled_from(WIRES), st.dictionaries(st.text(), _finite_json, max_size=3))
def test_unknown_fields_never_change_the_outcome(wire: Wire, extra: dict[str, Any]) -> None:
    unknown = {f"x-{name}": value for name, value in extra.items()}
    envelope = json.loads(wire.value)
    extended = {**unknown, **envelope, "data": {**unknown, **envelope["data"]}}
    assert _decoded(wire._replace(value=to_bytes(extended))) == _decoded(wire)
