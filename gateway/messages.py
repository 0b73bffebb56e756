"""The JSON that crosses a socket: control messages of the server, operations of the client. Pure.

A control message has the shape of a notification, `{"event": "doorstep.<name>", "data": {...}}`; one that
moves the client's position carries `cursor` at the top level too, where a notification has it.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from doorstep.config.contracts import Contract
from doorstep.config.identifiers import RESERVED_PREFIX
from doorstep.gateway.cursor import Cursor, CursorError, ResetReason

MAX_TOKEN_CHARS = 8192
"""The longest token, wherever it comes from."""


class Control(Contract):
    """The base of what the server says of itself: each model is the `data` of one control message."""

    event: ClassVar[str]


class Terms(Contract):
    """What holds for every connection of a server."""

    ping_interval_ms: int
    """How often the server sends a ping: no byte for two of them means reconnect."""
    history_max_count: int
    """How many notifications a log keeps at least: as far back as a cursor can be resumed."""
    history_ttl_s: int
    """Seconds that a log lives after its last notification."""
    max_frame_bytes: int
    """The longest message of a client."""
    max_frames_per_s: float
    """How many messages a client may send for long."""
    max_sockets_per_user: int
    """How many sockets a user may have."""
    max_polls_per_user: int
    """How many polls of a user may wait."""


class ReadState(Contract):
    """How far a user has read, on whatever device."""

    read: int
    """The `seq` of the last notification that the user has read; 0: none."""
    unread: int
    """How many notifications follow it in the log, whether this client has them yet or not."""


class Welcome(Terms, ReadState, Control):
    """First message of a socket: where it starts from, and what holds for it."""

    event = RESERVED_PREFIX + "welcome"

    user_id: str
    """Whose notifications these are."""
    cursor: str
    """Where the socket stands; the same as at the top level."""
    resumed: bool
    """Whether that is the cursor that the client asked for."""
    reset: str | None
    """Why not, if it asked for one: as in `doorstep.reset`, which does not follow then; else null."""


class Reset(Control):
    """The position of a connected client is lost: fetch the state anew, then go on from `cursor`."""

    event = RESERVED_PREFIX + "reset"

    reason: str
    """`gone`, `trimmed`, `diverged` or `malformed`."""
    cursor: str
    """Where notifications go on; the same as at the top level."""


class ReadMoved(ReadState, Control):
    """The user has read on, on this device or another one; or the log is another one now."""

    event = RESERVED_PREFIX + "read"


class TokenExpiring(Control):
    """The token is about to end: send a `refresh`, or the socket closes with 4001."""

    event = RESERVED_PREFIX + "token_expiring"

    in_ms: int
    """Milliseconds until then."""


class Refreshed(Control):
    """The newer token is in force."""

    event = RESERVED_PREFIX + "refreshed"


class Pong(Control):
    """Answer to the client's `ping`."""

    event = RESERVED_PREFIX + "pong"


class Reconnect(Control):
    """The server is about to close this socket: come back later, with the cursor."""

    event = RESERVED_PREFIX + "reconnect"

    after_ms: int
    """Milliseconds to wait before that."""


CONTROLS: tuple[type[Control], ...] = (
    Welcome,
    Reset,
    ReadMoved,
    TokenExpiring,
    Refreshed,
    Pong,
    Reconnect,
)
"""Every message of the server that is no notification."""


class ProtocolViolation(ValueError):  # noqa: N818 - the name of the close code that it leads to
    """The client sent something that is no operation: its fault, closed with 4009."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The page has shown everything up to `cursor`: counted, once a second is often enough."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Read:
    """The user has read everything up to `cursor`: remembered, and told to all of the user's devices."""

    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Refresh:
    """The client has a newer token of the same user."""

    token: str = field(repr=False)  # a secret


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a `doorstep.pong`: page code can't see the protocol's own pings."""


Op = Ack | Read | Refresh | Ping


def welcome(
    user_id: str,
    cursor: Cursor,
    terms: Terms,
    *,
    resumed: bool,
    reset: ResetReason | None = None,
    read: int = 0,
    unread: int = 0,
) -> bytes:
    """First message of a socket: where it starts from, and whether that is the cursor it asked for."""
    data = Welcome(
        user_id=user_id,
        cursor=str(cursor),
        resumed=resumed,
        reset=reset,
        read=read,
        unread=unread,
        **dict(terms),
    )
    return _message(data, cursor)


def reset(reason: ResetReason, cursor: Cursor) -> bytes:
    """The client's cursor is of no use; notifications go on after `cursor`, the page reloads its state."""
    return _message(Reset(reason=reason, cursor=str(cursor)), cursor)


def read_moved(read: int, unread: int) -> bytes:
    """The user has read up to the number `read`."""
    return _message(ReadMoved(read=read, unread=unread))


def token_expiring(in_ms: int) -> bytes:
    """The token ends in `in_ms` milliseconds; without a refresh the socket is closed with 4001 then."""
    return _message(TokenExpiring(in_ms=in_ms))


def refreshed() -> bytes:
    """The newer token was accepted."""
    return _message(Refreshed())


def pong() -> bytes:
    """Answer to the client's `ping` operation."""
    return _message(Pong())


def reconnect(after_ms: int) -> bytes:
    """The server wants this socket elsewhere: reconnect after `after_ms` milliseconds, with the cursor."""
    return _message(Reconnect(after_ms=after_ms))


def notification(seq: int, digest: bytes, payload: bytes) -> bytes:
    """The message of one log entry; `payload` is a JSON object with at least one field and no `seq`.

    Its cursor is written out here: this is done once for every notification that anybody gets.
    """
    return b'{"seq":%d,"cursor":"%d-%b",%b' % (seq, seq, digest, payload[1:])


def correlation_id_in(payload: bytes) -> str | None:
    """What a log entry says of itself, for the log; None where that can't be read."""
    try:
        found: Any = orjson.loads(payload)["correlation_id"]
    except (ValueError, TypeError, LookupError):
        return None
    return found if isinstance(found, str) else None


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
            return Ack(_cursor_in(message, "ack"))
        case "read":
            return Read(_cursor_in(message, "read"))
        case "refresh":
            return _parse_refresh(message)
        case "ping":
            return Ping()
    raise ProtocolViolation('"op" must be "ack", "read", "refresh" or "ping"')


def _cursor_in(message: dict[str, Any], op: str) -> Cursor:
    cursor = message.get("cursor")
    if not isinstance(cursor, str):
        raise ProtocolViolation(f'"{op}" needs a "cursor"')
    try:
        return Cursor.parse(cursor)
    except CursorError as exc:
        raise ProtocolViolation(f'the "cursor" of "{op}" is not one of ours') from exc


def _parse_refresh(message: dict[str, Any]) -> Refresh:
    token = message.get("token")
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise ProtocolViolation('"refresh" needs a "token"')
    return Refresh(token)


def _message(data: Control, cursor: Cursor | None = None) -> bytes:
    message: dict[str, Any] = {"event": data.event}
    if cursor is not None:
        message["cursor"] = str(cursor)
    message["data"] = data.model_dump()
    return orjson.dumps(message)
