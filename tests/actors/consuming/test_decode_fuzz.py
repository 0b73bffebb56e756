"""Random records: each becomes a notification, a registration or a dead letter, or is skipped."""

import copy
import random
from collections import Counter
from typing import Any

import orjson
import pytest

from doorstep.actors.consuming.decode import Event, Fault, Registration, decode
from doorstep.actors.kafka.dead_letters import dead_letter, shrunk
from doorstep.config.identifiers import identifier_fault
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from tests.support.fuzz import fuzz
from tests.support.records import (
    Consumed,
    batch_registered,
    slot_assigned,
    teacher_notification,
    validation_failed,
)

pytestmark = pytest.mark.patient

LIMIT = 2048
ROUTES = load_routes(Settings.model_fields["routes"].default)
WIRES = (
    slot_assigned("b-1", "e-1", "f-1"),
    validation_failed("b-1", "f-1"),
    batch_registered("b-1", "u-1"),
    teacher_notification("u-1"),
)
ENVELOPES = [orjson.loads(wire.value) for wire in WIRES]
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 63, 1.5, "", " ", "x", "{}", "Ü", "\x00", "\U0001f600" * 70, "x" * 3000, [], [[]],
    {}, {"data": {}}, "doorstep.reset", "2026-11-28T08:00:00Z", "2026-13-99", f"00-{1:032}-{2:016}-01",
)  # fmt: skip
TOPICS = (*(wire.topic for wire in WIRES), "not.routed")


def random_record(chance: random.Random) -> Consumed:
    """A real one with odd fields, missing ones and damaged bytes, or of another topic, or as it is."""
    which = chance.randrange(len(WIRES))
    envelope = copy.deepcopy(ENVELOPES[which])
    for _ in range(chance.choice((0, 1, 1, 2))):
        place = (
            chance.choice((envelope, envelope["data"])) if isinstance(envelope["data"], dict) else envelope
        )
        field = chance.choice((*place, "metadata"))
        place[field] = copy.deepcopy(chance.choice(ODD))
        if field != "data" and chance.random() < 0.2:
            del place[field]
    value = bytearray(orjson.dumps(envelope))
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        value[chance.randrange(len(value))] = chance.randrange(256)
    if chance.random() < 0.1:
        del value[chance.randrange(len(value)) :]
    topic = chance.choice(TOPICS) if chance.random() < 0.1 else WIRES[which].topic
    return Consumed(topic, chance.choice((None, b"", b"k")), None if chance.random() < 0.02 else bytes(value))


def end_of(record: Consumed) -> str:
    """What it becomes, which must be such that it can be stored."""
    outcome = decode(record, ROUTES, LIMIT)
    if isinstance(outcome, Event):
        assert identifier_fault(outcome.user_id or outcome.batch_id or "") is None
        assert orjson.loads(outcome.payload)["event"] == outcome.event_name
        return "event"
    if isinstance(outcome, Registration):
        assert identifier_fault(outcome.batch_id) is identifier_fault(outcome.user_id) is None
        return "registration"
    if isinstance(outcome, Fault):
        letter = dead_letter(record, outcome, 0.0)
        assert letter.value == (record.value or b"")
        assert len(list(shrunk(letter))) > 0
    return outcome.reason


@pytest.mark.fuzz
@pytest.mark.usefixtures("without_coverage")
def test_random_records_have_an_outcome() -> None:
    ends = Counter(end_of(random_record(chance)) for chance in fuzz())
    assert ends.keys() == {
        "event", "registration", "tombstone", "unrouted", "oversized", "invalid_json", "invalid_contract",
        "unknown_event", "reserved_event", "invalid_user", "invalid_batch",
    }  # fmt: skip
