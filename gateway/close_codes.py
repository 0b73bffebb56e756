"""Every WebSocket close code that a client of Doorstep may see, and what it should do about it. Pure."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Reconnect = Literal["never", "with_jitter", "with_backoff", "with_new_token"]


class CloseCode(IntEnum):
    """The number in the close frame. 1000-1015 are RFC 6455's, 4000-4999 are ours.

    1005 and 1006 are never in a frame: a browser reports them where there was no code, or no frame.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    CONNECTION_LOST = 1006
    INVALID_DATA = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOKEN_EXPIRED = 4001
    FORBIDDEN = 4003
    TOO_MANY_CONNECTIONS = 4008
    PROTOCOL_VIOLATION = 4009


@dataclass(frozen=True, slots=True)
class CloseRule:
    """What one close code means to a client."""

    meaning: str
    reconnect: Reconnect


CLOSE_RULES: dict[CloseCode, CloseRule] = {
    CloseCode.NORMAL: CloseRule("the client closed, or asked to be closed", "never"),
    CloseCode.GOING_AWAY: CloseRule("this server is stopping", "with_jitter"),
    CloseCode.PROTOCOL_ERROR: CloseRule("a frame broke RFC 6455", "never"),
    CloseCode.UNSUPPORTED_DATA: CloseRule("a binary message came; only text is spoken here", "never"),
    CloseCode.NO_STATUS: CloseRule("something between closed, and said no code", "with_backoff"),
    CloseCode.CONNECTION_LOST: CloseRule(
        "the connection was lost, or refused before the 101: ask by HTTP why", "with_backoff"
    ),
    CloseCode.INVALID_DATA: CloseRule("a text message was not UTF-8", "never"),
    CloseCode.MESSAGE_TOO_BIG: CloseRule("a message was longer than the limit", "never"),
    CloseCode.INTERNAL_ERROR: CloseRule("a fault of the server", "with_backoff"),
    CloseCode.SERVICE_RESTART: CloseRule("the holder restarts, or the user moved", "with_jitter"),
    CloseCode.TRY_AGAIN_LATER: CloseRule("the client read too slowly; refused late: 503", "with_backoff"),
    CloseCode.TOKEN_EXPIRED: CloseRule(
        "the token expired, or the one that was to replace it had; refused late: 401", "with_new_token"
    ),
    CloseCode.FORBIDDEN: CloseRule("the new token is another user's; refused late: 403", "never"),
    CloseCode.TOO_MANY_CONNECTIONS: CloseRule(
        "the user has too many sockets; only where refused late: 429", "with_backoff"
    ),
    CloseCode.PROTOCOL_VIOLATION: CloseRule(
        "a message was not one of the client operations, or far too many came; refused late: 400", "never"
    ),
}
"""The one table; `docs/protocol.md` says the same."""
