"""The WebSocket handshake (RFC 6455, 4.2): judged and answered in one place, sent in another."""

import base64
import binascii
import hashlib

from doorstep.gateway.head import Head, HeadError

SUBPROTOCOL = "doorstep.v1"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_websocket_upgrade(head: Head) -> bool:
    """Whether the request asks to become a WebSocket, well formed or not."""
    return "websocket" in [item.lower() for item in head.items_of("upgrade")] and "upgrade" in [
        item.lower() for item in head.items_of("connection")
    ]


def switching_protocols(head: Head) -> str:
    """The 101 that answers an upgrade; raises `HeadError` unless that is RFC 6455's version 13 and offers our
    subprotocol: who does not know it can't know what to say on it."""
    proof = _proof_for(_key_in(head))
    if SUBPROTOCOL not in head.items_of("sec-websocket-protocol"):
        raise HeadError(400, "subprotocol_missing", f"the subprotocol {SUBPROTOCOL} must be offered")
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {proof}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    )


def _key_in(head: Head) -> bytes:
    if head.method != "GET" or head.minor != 1:
        raise HeadError(400, "malformed_upgrade", "a WebSocket starts with a GET of HTTP/1.1")
    if head.get("sec-websocket-version") != "13":
        raise HeadError(400, "websocket_version", "Sec-WebSocket-Version must be 13")
    key = (head.get("sec-websocket-key") or "").encode("latin-1")
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise HeadError(400, "malformed_upgrade", "Sec-WebSocket-Key is not base64") from exc
    if len(raw) != 16:
        raise HeadError(400, "malformed_upgrade", "Sec-WebSocket-Key must be 16 bytes in base64")
    return key


def _proof_for(key: bytes) -> str:
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode("ascii")
