"""What a request's query says of a log: a cursor, and numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl

from doorstep.gateway.cursor import Cursor, CursorError
from doorstep.gateway.head import HeadError


def fields_of(query: str) -> Mapping[str, str]:
    """The decoded query; of a repeated name the first value. Raises `HeadError` (400) for too many fields."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50)
    except ValueError as exc:
        raise HeadError(400, "malformed_query", "the query can't be read") from exc
    return dict(reversed(pairs))


def cursor_of(text: str | None) -> Cursor | Literal["malformed"] | None:
    """The cursor, None for an empty one too; `"malformed"` for what is none: answered with a reset."""
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except CursorError:
        return "malformed"


def number_of(fields: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    """The number, clamped; raises `HeadError` (400) for anything else."""
    text = fields.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise HeadError(400, "malformed_query", f"{name} must be a number")
    return min(max(float(text), low), high)


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """What a socket asks: to go on after `cursor`; without one from the head, less the last `replay`."""

    cursor: Cursor | Literal["malformed"] | None
    replay: int

    @classmethod
    def parse(cls, query: str, max_replay: int) -> "SocketRequest":
        """Read a query; a number out of range is clamped, what is none raises `HeadError`."""
        fields = fields_of(query)
        return cls(cursor_of(fields.get("cursor")), int(number_of(fields, "replay", 0, 0, max_replay)))
