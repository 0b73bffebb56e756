"""What a request's query says of a log: a cursor, and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from doorstep.gateway.cursor import Cursor, CursorError
from doorstep.gateway.head import Head, HeadError, parse_head


def whole_head(head: bytes) -> Head:
    """The parsed head; raises `HeadError` (400) if it is not whole."""
    request = parse_head(head)
    if request is None:
        raise HeadError(400, "malformed_head", "the request head is incomplete")
    return request


def cursor_of(text: str | None) -> Cursor | Literal["malformed"] | None:
    """The cursor, None for an empty one too; `"malformed"` for what is none: answered with a reset."""
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except CursorError:
        return "malformed"


def number_of(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """The number, clamped; raises `HeadError` (400) for anything else."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise HeadError(400, "malformed_query", f"{name} must be a number")
    return min(max(float(text), low), high)


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """What a socket asks: to go on after `cursor`; without one from the head, less the last `replay`."""

    cursor: Cursor | Literal["malformed"] | None
    replay: int

    @classmethod
    def parse(cls, head: bytes, max_replay: int) -> "SocketRequest":
        """Read the query of a request head; a number out of range is clamped, another raises `HeadError`."""
        query = whole_head(head).query
        return cls(cursor_of(query.get("cursor")), int(number_of(query, "replay", 0, 0, max_replay)))
