"""Records are sorted by what has to be done with them, each kind in its order."""

from doorstep.actors.consuming.classify import classify
from doorstep.actors.records import StoredRecord, source_of
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from tests.support.records import (
    SLOT_TOPIC,
    Consumed,
    batch_registered,
    consumed,
    slot_assigned,
    teacher_notification,
)

_ROUTES = load_routes(Settings.model_fields["routes"].default)


def test_every_kind_in_its_order() -> None:
    records = [
        consumed(slot_assigned("batch", "essay-1"), offset=1),
        consumed(batch_registered("batch", "user")),
        Consumed(SLOT_TOPIC, b"key", b"{", 0, 2),
        Consumed(SLOT_TOPIC, b"key", None, 0, 3),
        Consumed("no.such.topic", b"key", b"{}", 0, 4),
        consumed(slot_assigned("batch", "essay-2"), offset=5),
    ]
    found = classify(records, _ROUTES, 1 << 20, now=0.0)
    assert [record.offset for record, _ in found.events] == [1, 5]
    assert [registration.user_id for _, registration in found.registrations] == ["user"]
    (refused,) = found.refused
    assert (refused.record.offset, refused.fault.reason) == (2, "invalid_json")
    assert dict(refused.letter.headers)["doorstep-reason"] == b"invalid_json"
    assert found.skipped == {"tombstone": 1, "unrouted": 1}


def test_pieces_come_to_the_same() -> None:
    records = [consumed(slot_assigned("batch", f"essay-{number}"), offset=number) for number in range(5)]
    whole = classify(records, _ROUTES, 1 << 20, now=0.0)
    pieces = classify(records[:2], _ROUTES, 1 << 20, now=0.0)
    assert classify(records[2:], _ROUTES, 1 << 20, now=0.0, into=pieces) is pieces
    assert pieces == whole


def test_a_stored_record_is_of_the_topic_that_it_was_read_from() -> None:
    wire = teacher_notification("u", {"n": 1}, envelope={"event_id": None})
    stored = StoredRecord(wire.topic, 0, 7, wire.key, wire.value, (), "then")
    (_, late), (_, fresh) = classify(
        [stored, consumed(wire, partition=0, offset=7)],
        _ROUTES,
        1 << 20,
        now=0.0,
        topic_ids={wire.topic: "now"},
    ).events
    assert late.dedupe_key != fresh.dedupe_key
    assert stored.identity == f"{wire.topic}/0/7@then"
    assert stored._replace(topic_id="").identity == source_of(stored)
