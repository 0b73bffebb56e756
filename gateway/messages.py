"""The JSON that crosses a socket: control messages of the server, operations of the client.

A control message has the shape of a notification, `{"event": "doorstep.<name>", "data": {...}}`; one that
moves the client's position carries `cursor` at the top level too, where a notification has it.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

from doorstep.gateway.cursor import Cursor, CursorError

RESERVED_PREFIX = "doorstep."
"""Event names that no producer may use."""

MAX_TOKEN_CHARS = 8192


class ProtocolViolation(ValueError):  # noqa: N818 - the name of the close code that it leads to
    """The client sent something that is no operation: its fault, closed with 4009."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has everything up to `cursor`."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Refresh:
    """The client has a newer token. The token is kept out of `repr`."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a `doorstep.pong`: page code can't see the protocol's own pings."""


Op = Ack | Refresh | Ping


def welcome(user_id: str, cursor: Cursor, *, resumed: bool, ping_interval_ms: int) -> bytes:
    """First message of a socket: where it starts from, and whether that is the cursor it asked for."""
    return _message(
        "welcome",
        {"user_id": user_id, "cursor": str(cursor), "resumed": resumed, "ping_interval_ms": ping_interval_ms},
        cursor,
    )


def reset(reason: str, cursor: Cursor) -> bytes:
    """The client's cursor is of no use; notifications go on after `cursor`, the page reloads its state."""
    return _message("reset", {"reason": reason, "cursor": str(cursor)}, cursor)


def token_expiring(in_ms: int) -> bytes:
    """The token ends in `in_ms` milliseconds; without a refresh the socket is closed with 4001 then."""
    return _message("token_expiring", {"in_ms": in_ms})


def refreshed() -> bytes:
    """The newer token was accepted."""
    return _message("refreshed", {})


def pong() -> bytes:
    """Answer to the client's `ping` operation."""
    return _message("pong", {})


def reconnect(after_ms: int) -> bytes:
    """The server wants this socket elsewhere: reconnect after `after_ms` milliseconds, with the cursor."""
    return _message("reconnect", {"after_ms": after_ms})


def notification(seq: int, digest: bytes, payload: bytes) -> bytes:
    """The message of one log entry; `payload` is a JSON object with at least one field and no `seq`.

    Its cursor is written out here: this is done once for every notification that anybody gets.
    """
    return b'{"seq":%d,"cursor":"%d-%b",%b' % (seq, seq, digest, payload[1:])


def parse_op(data: bytes) -> Op:
    """Read one client operation; raises `ProtocolViolation` whose text never repeats the client's bytes."""
    try:
        message: Any = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise ProtocolViolation("the message is not JSON") from exc
    if not isinstance(message, dict):
        raise ProtocolViolation("the message is not a JSON object")
    match message.get("op"):
        case "ack":
            return _parse_ack(message)
        case "refresh":
            return _parse_refresh(message)
        case "ping":
            return Ping()
    raise ProtocolViolation('"op" must be "ack", "refresh" or "ping"')


def _parse_ack(message: dict[str, Any]) -> Ack:
    cursor = message.get("cursor")
    if not isinstance(cursor, str):
        raise ProtocolViolation('"ack" needs a "cursor"')
    try:
        return Ack(Cursor.parse(cursor))
    except CursorError as exc:
        raise ProtocolViolation('the "cursor" of "ack" is not one of ours') from exc


def _parse_refresh(message: dict[str, Any]) -> Refresh:
    token = message.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise ProtocolViolation('"refresh" needs a "token"')
    return Refresh(token)


def _message(name: str, data: dict[str, Any], cursor: Cursor | None = None) -> bytes:
    message: dict[str, Any] = {"event": RESERVED_PREFIX + name}
    if cursor is not None:
        message["cursor"] = str(cursor)
    message["data"] = data
    return orjson.dumps(message)
