"""The JSON of both directions."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.gateway import messages
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.messages import Ack, Ping, ProtocolViolation, Read, Refresh, parse_op

pytestmark = pytest.mark.patient

START = Cursor(0, "5" * 16)

CURSOR = Cursor(42, "9f3c2b7a10d4e655")
TERMS = messages.Terms(
    ping_interval_ms=25_000,
    history_max_count=1000,
    history_ttl_s=86_400,
    max_frame_bytes=16_384,
    max_frames_per_s=100,
    max_sockets_per_user=10,
    max_polls_per_user=20,
)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"event":"e","correlation_id":"c-\xc3\xa9"}', "c-é"),
        (b'{"event":"e"}', None),
        (b'{"correlation_id":7}', None),
        (b"[1]", None),
        (b"7", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_notification_says_by_which_id_it_is_followed(payload: bytes, expected: str | None) -> None:
    assert messages.correlation_id_in(payload) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            messages.welcome("teacher-é", CURSOR, TERMS, resumed=True, read=40, unread=3),
            {
                "event": "doorstep.welcome",
                "cursor": str(CURSOR),
                "data": {
                    "user_id": "teacher-é",
                    "cursor": str(CURSOR),
                    "resumed": True,
                    "reset": None,
                    "read": 40,
                    "unread": 3,
                    **TERMS.model_dump(),
                },
            },
        ),
        (
            messages.reset("gone", START),
            {
                "event": "doorstep.reset",
                "cursor": str(START),
                "data": {"reason": "gone", "cursor": str(START)},
            },
        ),
        (messages.read_moved(41, 2), {"event": "doorstep.read", "data": {"read": 41, "unread": 2}}),
        (messages.token_expiring(500), {"event": "doorstep.token_expiring", "data": {"in_ms": 500}}),
        (messages.refreshed(), {"event": "doorstep.refreshed", "data": {}}),
        (messages.pong(), {"event": "doorstep.pong", "data": {}}),
        (messages.reconnect(250), {"event": "doorstep.reconnect", "data": {"after_ms": 250}}),
    ],
)
def test_control_messages(message: bytes, expected: object) -> None:
    assert json.loads(message) == expected


def test_a_notification_is_its_payload_with_number_and_cursor_in_front() -> None:
    message = messages.notification(42, CURSOR.digest.encode(), b'{"event":"essay.slot.assigned","id":"e1"}')
    assert message == b'{"seq":42,"cursor":"42-9f3c2b7a10d4e655","event":"essay.slot.assigned","id":"e1"}'


@pytest.mark.parametrize(
    ("data", "op"),
    [
        (b'{"op":"ack","cursor":"42-9f3c2b7a10d4e655"}', Ack(CURSOR)),
        (b'{"op":"read","cursor":"42-9f3c2b7a10d4e655"}', Read(CURSOR)),
        (b'{"op":"refresh","token":"t"}', Refresh("t")),
        (b' {"op":"ping","later":[1]} ', Ping()),
    ],
)
def test_operations(data: bytes, op: object) -> None:
    assert parse_op(data) == op


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"ping"',
        b"{}",
        b'{"op":1}',
        b'{"op":["ping"]}',
        b'{"op":"PING"}',
        b'{"op":"subscribe"}',
        b'{"op":"ack"}',
        b'{"op":"ack","cursor":42}',
        b'{"op":"ack","cursor":"42"}',
        b'{"op":"read"}',
        b'{"op":"read","cursor":"42"}',
        b'{"op":"refresh"}',
        b'{"op":"refresh","token":""}',
        b'{"op":"refresh","token":{}}',
        b'{"op":"refresh","token":"' + b"x" * 8193 + b'"}',
        b'{"op":"ping"}\xff',
        b"[" * 4000,
    ],
)
def test_what_is_no_operation_breaks_the_protocol(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_op(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_operation_or_break_the_protocol(data: bytes) -> None:
    with suppress(ProtocolViolation):
        assert isinstance(parse_op(data), Ack | Refresh | Ping)


def test_a_token_is_shown_nowhere() -> None:
    assert "secret" not in repr(parse_op(b'{"op":"refresh","token":"secret"}'))
    with pytest.raises(ProtocolViolation) as caught:
        parse_op(b'{"op":"refresh","token":["secret"]}')
    assert "secret" not in str(caught.value)
