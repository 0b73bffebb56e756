"""Handshakes: which are one, which are wrong, and the answer."""

import pytest

from doorstep.gateway.head import Head, HeadError, parse_head
from doorstep.gateway.upgrade import is_websocket_upgrade, switching_protocols
from tests.gateway.wire import KEY, request, upgrade


def parsed(data: bytes) -> Head:
    head = parse_head(data)
    assert head is not None
    return head


def test_the_answer_is_the_one_of_the_rfc() -> None:
    """The example of RFC 6455, 1.3."""
    data = upgrade("/", "Sec-WebSocket-Protocol: chat").decode()
    lines = switching_protocols(parsed(data.replace(KEY, "dGhlIHNhbXBsZSBub25jZQ==").encode())).split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert lines[1:] == [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: doorstep.v1",
        "",
        "",
    ]


def test_a_browsers_upgrade_is_one() -> None:
    head = parsed(upgrade())
    assert is_websocket_upgrade(head)
    assert is_websocket_upgrade(
        parsed(request("/", "Upgrade: h2c, WebSocket", "Connection: keep-alive, UPGRADE"))
    )


@pytest.mark.parametrize(
    "headers", [(), ("Upgrade: websocket",), ("Connection: upgrade",), ("Upgrade: h2c",)]
)
def test_what_does_not_ask_for_an_upgrade_is_none(headers: tuple[str, ...]) -> None:
    assert not is_websocket_upgrade(parsed(request("/", *headers)))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("Version: 13", "Version: 12", "websocket_version"),
        ("Sec-WebSocket-Version: 13\r\n", "", "websocket_version"),
        ("Sec-WebSocket-Protocol: doorstep.v1\r\n", "", "subprotocol_missing"),
        ("doorstep.v1", "doorstep.v2, bearer.x", "subprotocol_missing"),
        (f"Sec-WebSocket-Key: {KEY}\r\n", "", "malformed_upgrade"),
        (KEY, "c2hvcnQ=", "malformed_upgrade"),
        (KEY, "not base64!", "malformed_upgrade"),
        (KEY, "caf\xe9", "malformed_upgrade"),
        ("GET ", "POST ", "malformed_upgrade"),
        ("HTTP/1.1", "HTTP/1.0", "malformed_upgrade"),
    ],
)
def test_a_wrong_handshake_is_not_answered(old: str, new: str, code: str) -> None:
    head = parsed(upgrade().decode().replace(old, new).encode("latin-1"))
    with pytest.raises(HeadError) as caught:
        switching_protocols(head)
    assert (caught.value.status, caught.value.code) == (400, code)
