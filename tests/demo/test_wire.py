"""The envelope has HuleEdu's form, and what is none is told apart."""

import uuid

import orjson
import pytest

from doorstep.demo.wire import SLOT_ASSIGNED, Message, Trace, WireError, now, seal, unseal

CORRELATION_ID = "0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_an_envelope_has_exactly_the_fields_of_huleedu() -> None:
    envelope = orjson.loads(seal(SLOT_ASSIGNED, "els", {"a": 1}, Trace(CORRELATION_ID)))
    assert uuid.UUID(envelope.pop("event_id")).version == 4
    assert envelope.pop("event_timestamp").endswith("Z")
    assert envelope == {
        "event_type": SLOT_ASSIGNED,
        "source_service": "els",
        "schema_version": 1,
        "correlation_id": CORRELATION_ID,
        "data_schema_uri": None,
        "data": {"a": 1},
        "metadata": None,
    }


@pytest.mark.parametrize("trace", [Trace(CORRELATION_ID), Trace(CORRELATION_ID, TRACEPARENT)])
def test_what_is_sealed_can_be_unsealed(trace: Trace) -> None:
    value = seal(SLOT_ASSIGNED, "els", {"name": "Åsa"}, trace)
    assert unseal(SLOT_ASSIGNED, value) == Message(SLOT_ASSIGNED, {"name": "Åsa"}, trace)


@pytest.mark.parametrize(
    "value",
    [None, b"", b"{", b"[]", b"7", b"null", b'{"data":{}}', b'{"correlation_id":"x","data":7}', b"\xff"],
)
def test_what_is_no_envelope_is_refused(value: bytes | None) -> None:
    with pytest.raises(WireError, match=SLOT_ASSIGNED):
        unseal(SLOT_ASSIGNED, value)


def test_a_request_keeps_its_correlation_id() -> None:
    trace = Trace.of_request({"X-Correlation-ID": CORRELATION_ID.upper(), "traceparent": TRACEPARENT})
    assert trace == Trace(CORRELATION_ID, TRACEPARENT)


@pytest.mark.parametrize("headers", [{}, {"X-Correlation-ID": "none of yours"}])
def test_a_request_without_a_correlation_id_gets_one(headers: dict[str, str]) -> None:
    first, second = Trace.of_request(headers), Trace.of_request(headers)
    assert uuid.UUID(first.correlation_id) != uuid.UUID(second.correlation_id)


def test_time_is_utc_with_a_z() -> None:
    assert now()[10] == "T"
    assert now().endswith("Z")
