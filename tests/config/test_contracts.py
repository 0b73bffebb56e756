"""The contracts take what producers send, keep it as it was sent, and convert nothing."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from doorstep.config.contracts import (
    BatchEssaysRegisteredV1,
    Contract,
    Envelope,
    EssaySlotAssignedV1,
    EssayValidationFailedV1,
    TeacherNotificationRequestedV1,
)
from tests.support.records import (
    TIMESTAMP,
    Wire,
    batch_registered,
    slot_assigned,
    teacher_notification,
    validation_failed,
)

pytestmark = pytest.mark.patient

WIRES: list[tuple[type[Contract], Wire]] = [
    (EssaySlotAssignedV1, slot_assigned("b-1", "e-1")),
    (EssayValidationFailedV1, validation_failed("b-1", "f-1")),
    (BatchEssaysRegisteredV1, batch_registered("b-1", "u-1", essays=2)),
    (TeacherNotificationRequestedV1, teacher_notification("u-1", deadline=TIMESTAMP)),
]

ENVELOPE: dict[str, Any] = {"event_type": "t", "event_timestamp": TIMESTAMP, "data": {}}

REGISTERED: dict[str, Any] = {"entity_id": "b-1", "user_id": "u-1"}


@pytest.mark.parametrize(("contract", "wire"), WIRES)
def test_a_real_record_is_valid_and_keeps_every_field_as_it_was_sent(
    contract: type[Contract], wire: Wire
) -> None:
    sent = json.loads(wire.value)
    envelope = Envelope.model_validate_json(wire.value)
    data = contract.model_validate_json(json.dumps(sent["data"]))
    for model, original in ((envelope, sent), (data, sent["data"])):
        kept = model.model_dump()
        shown = {name: value for name, value in kept.items() if not isinstance(value, dict)}
        assert shown == {name: original.get(name) for name in shown}


def test_unknown_fields_are_allowed_and_dropped() -> None:
    registered = BatchEssaysRegisteredV1.model_validate_json(json.dumps(REGISTERED | {"new": {"deep": [1]}}))
    assert registered == BatchEssaysRegisteredV1(entity_id="b-1", user_id="u-1")


@pytest.mark.parametrize("wrong", [{"user_id": 7}, {"user_id": None}, {"entity_id": 7}])
def test_text_is_text(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BatchEssaysRegisteredV1.model_validate_json(json.dumps(REGISTERED | wrong))


@pytest.mark.parametrize("wrong", [{"schema_version": "1"}, {"schema_version": 1.0}, {"metadata": []}])
def test_nothing_is_converted(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Envelope.model_validate_json(json.dumps(ENVELOPE | wrong))


def test_models_are_frozen() -> None:
    registered, field = BatchEssaysRegisteredV1(entity_id="b-1", user_id="u-1"), "user_id"
    with pytest.raises(ValidationError, match="frozen"):
        setattr(registered, field, "u-2")


def test_an_envelope_may_lack_what_nobody_decides_by() -> None:
    envelope = Envelope.model_validate_json(json.dumps(ENVELOPE))
    assert (envelope.event_id, envelope.correlation_id, envelope.metadata) == (None, None, None)


@pytest.mark.parametrize("missing", ["event_type", "event_timestamp", "data"])
def test_an_envelope_needs_type_time_and_data(missing: str) -> None:
    envelope = {name: value for name, value in ENVELOPE.items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        Envelope.model_validate_json(json.dumps(envelope))


def test_an_empty_event_id_is_refused_because_all_such_events_would_be_one() -> None:
    with pytest.raises(ValidationError, match="event_id"):
        Envelope.model_validate_json(json.dumps(ENVELOPE | {"event_id": ""}))


@pytest.mark.parametrize(
    "timestamp",
    [
        "2026-11-23T08:15:30.123456Z",
        "2026-11-23T08:15:30Z",
        "2026-11-23T08:15:30",
        "2026-11-23T08:15:30.1+02:00",
        "2026-11-23 08:15:30-0500",
        "2026-06-30T23:59:60Z",
    ],
)
def test_timestamps_are_iso_8601_and_kept(timestamp: str) -> None:
    envelope = Envelope.model_validate_json(json.dumps(ENVELOPE | {"event_timestamp": timestamp}))
    assert envelope.event_timestamp == timestamp


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "yesterday",
        "2026-11-23",
        "2026-13-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        f"{TIMESTAMP}\n",
        "\uff12026-11-23T08:15:30Z",
        1766476800,
    ],
)
def test_other_timestamps_are_refused(timestamp: str | int) -> None:
    with pytest.raises(ValidationError, match="event_timestamp"):
        Envelope.model_validate_json(json.dumps(ENVELOPE | {"event_timestamp": timestamp}))


def test_errors_do_not_quote_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        BatchEssaysRegisteredV1.model_validate_json(json.dumps(REGISTERED | {"user_id": ["private"]}))
    assert "private" not in str(caught.value)
