"""What was delivered and shown, counted by event, and how long it took."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.holding import receipts as receipts_module
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.holding.receipt_stream import ReceiptStream
from doorstep.actors.holding.receipts import Receipts, made_at_of
from doorstep.actors.store.values import Logged, Pushed
from doorstep.config.settings import Settings

EVENTS = ["essay.slot.assigned", "essay"]


def payload(event: str = "essay", made_at: str = "2026-11-23T08:15:30Z") -> bytes:
    """A notification as a consumer writes it."""
    fields: dict[str, object] = {
        "event": event,
        "id": "i",
        "correlation_id": None,
        "timestamp": made_at,
        "data": {},
    }
    return json.dumps(fields, separators=(",", ":")).encode()


def push(user: str, seq: int, event: str = "essay") -> Pushed:
    return user.encode(), seq, b"", b"", payload(event)


def counted(counters: HolderMetrics, name: str) -> dict[str, float]:
    """A counter by event, without those that are 0."""
    samples = [sample for each in counters.collect() for sample in each.samples if sample.name == name]
    return {sample.labels["event"]: sample.value for sample in samples if sample.value}


def test_deliveries_are_counted_by_socket_and_event_and_only_known_events_are_labels() -> None:
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    receipts.aside += [(push("u", 1), 3), (push("u", 2, "essay.slot.assigned"), 1), (push("u", 3, 'a"b'), 1)]
    receipts.caught_up([Logged("u", 4, "", "", payload("essay.slot")), Logged("u", 5, "", "", payload())])
    receipts.count()
    assert counted(counters, "doorstep_delivered_total") == {
        "essay": 4,
        "essay.slot.assigned": 1,
        "other": 2,
    }


def test_what_is_acknowledged_is_told_apart_by_its_event() -> None:
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    receipts.aside.append((push("u", 1), 1))
    receipts.caught_up([Logged("u", 2, "", "", payload("essay.slot.assigned"))])
    receipts.aside.append((push("v", 1, "x"), 1))
    receipts.shown("u", 0, 2)
    receipts.shown("u", 2, 5)  # of which nothing is remembered
    receipts.shown("v", 0, 1)
    assert counted(counters, "doorstep_shown_total") == {"essay": 1, "essay.slot.assigned": 1, "other": 4}
    assert counted(counters, "doorstep_shown_seconds_count") == {"essay": 1, "other": 1}


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts_module, "_REMEMBERED", 4)
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    for seq in range(1, 11):
        receipts.aside.append((push("u", seq), 1))
        receipts.count()
    receipts.shown("u", 0, 10)
    assert counted(counters, "doorstep_shown_total") == {"essay": 4, "other": 6}


def test_an_acknowledgement_of_very_many_takes_no_time() -> None:
    counters = HolderMetrics()
    began = time.monotonic()
    Receipts(EVENTS, counters, ReceiptStream(Settings())).shown("u", 0, 10**15)
    assert time.monotonic() - began < 1
    assert counted(counters, "doorstep_shown_total") == {"other": 10**15}


def test_times_begin_at_the_events_own_timestamp_and_are_never_negative() -> None:
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    for ago_s in (2, -60):
        made_at = datetime.fromtimestamp(time.time() - ago_s, UTC).isoformat()
        receipts.sample(payload(made_at=made_at))
    receipts.sample(payload(made_at="yesterday"))
    assert counted(counters, "doorstep_delivery_seconds_count") == {"essay": 2}
    assert 2 <= counted(counters, "doorstep_delivery_seconds_sum")["essay"] < 3


@pytest.mark.parametrize(
    ("made_at", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T00:00:10.5", 10.5),
        ("1970-01-01T01:00:10+01:00", 10),
        ("", None),
        ("not a time", None),
    ],
)
def test_a_timestamp_is_read_or_left(made_at: str, seconds: float | None) -> None:
    assert made_at_of(payload(made_at=made_at)) == seconds


@given(st.binary())
def test_no_payload_is_too_odd(data: bytes) -> None:
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    receipts.aside.append(((b"u", 1, b"", b"", data), 1))
    receipts.sample(data)
    receipts.shown("u", 0, 1)
    assert sum(counted(counters, "doorstep_delivered_total").values()) == 1


@given(
    acknowledged=st.lists(st.integers(1, 30), max_size=8),
    sent=st.lists(st.sampled_from([*EVENTS, "x"]), max_size=30),
)
def test_each_is_shown_once_at_most(acknowledged: list[int], sent: list[str]) -> None:
    counters = HolderMetrics()
    receipts = Receipts(EVENTS, counters, ReceiptStream(Settings()))
    receipts.aside += [(push("u", seq, event), 1) for seq, event in enumerate(sent, 1)]
    shown = 0
    for seq in sorted(acknowledged):
        if shown < seq <= len(sent):
            receipts.shown("u", shown, seq)
            shown = seq
    assert sum(counted(counters, "doorstep_shown_total").values()) == shown
    for event, count in counted(counters, "doorstep_shown_total").items():
        assert count <= counted(counters, "doorstep_delivered_total")[event]
