"""The HTTP fallback's side of a handed-over socket: one request, one answer, then closed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from doorstep.gateway.cursor import Cursor
from doorstep.gateway.origin import cors_headers
from doorstep.gateway.problem import PROBLEM_TYPE, Problem, http_response
from doorstep.gateway.query import cursor_of, fields_of, number_of
from doorstep.gateway.traffic import Traffic

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_WAIT_S = 30.0
LINGER_S = 5.0
MAX_UNREAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PollRequest:
    """What a poll asks: up to `limit` notifications `after` a cursor (None: the head) within `wait` seconds.

    `after` is `"malformed"` where the client sent something that is no cursor: answered with a reset. `read`,
    where it is a cursor, is how far the user has read.
    """

    after: Cursor | Literal["malformed"] | None
    limit: int
    wait: float
    read: Cursor | Literal["malformed"] | None = None

    @classmethod
    def parse(cls, query: str) -> "PollRequest":
        """Read a query; numbers are clamped to their range. Raises `HeadError` (400)."""
        fields = fields_of(query)
        return cls(
            cursor_of(fields.get("after")),
            int(number_of(fields, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)),
            number_of(fields, "wait", 0, 0, MAX_WAIT_S),
            cursor_of(fields.get("read")),
        )


def _nothing() -> None:
    """Nobody is told."""


class PollConnection(asyncio.Protocol):
    """Answers once, closes our side, and waits a little for the client to close its own.

    `on_gone` is called once, when the connection is gone, `on_half_closed` when the client has closed
    its side before its answer: it may have left, or still read, which only an answer can tell.
    """

    __slots__ = (
        "_answered",
        "_half_closed",
        "_on_gone",
        "_on_half_closed",
        "_origin",
        "_timer",
        "_traffic",
        "_transport",
        "_unread",
    )

    def __init__(
        self,
        on_gone: Callable[[], None],
        traffic: Traffic,
        origin: str | None = None,
        on_half_closed: Callable[[], None] = _nothing,
    ) -> None:
        self._on_gone = on_gone
        self._traffic = traffic
        self._on_half_closed = on_half_closed
        self._half_closed = False
        self._origin = origin
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False
        self._unread = 0

    @property
    def is_open(self) -> bool:
        """Whether the client is connected, as far as is known."""
        return self._transport is not None

    def answer(self, status: int, body: bytes) -> None:
        """Send JSON (a problem document from 400 on); nothing happens after the first answer or when gone."""
        content_type = "application/json" if status < 400 else PROBLEM_TYPE
        self.respond(http_response(status, body, content_type, cors_headers(self._origin)))

    def refuse(self, problem: Problem) -> None:
        """Say why there is nothing else; a page of the request's origin can read it."""
        self.respond(problem.response(cors_headers(self._origin)))

    def respond(self, response: bytes) -> None:
        """Send a complete HTTP response, such as `Problem.response()`."""
        if self._answered or self._transport is None:
            return
        self._answered = True
        self._traffic.sent += len(response)
        self._transport.write(response)
        self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)
        if self._half_closed:
            self._transport.close()
        else:
            with suppress(OSError):  # who has cut it off is about to be told to us
                self._transport.write_eof()

    def abort(self) -> None:
        """Cut the connection off, whatever of its answer was not read."""
        if self._transport is not None:
            self._transport.abort()

    # Any: uvloop's transports have the methods of asyncio.Transport, but do not derive from it.
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Nothing is expected after the request: thrown away, and not without end."""
        self._unread += len(data)
        self._traffic.received += len(data)
        if self._unread > MAX_UNREAD_BYTES and self._transport is not None:
            self._transport.abort()

    def eof_received(self) -> bool:
        """Keep our side open until there is an answer."""
        self._half_closed = True
        if not self._answered:
            self._on_half_closed()
        return not self._answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        on_gone, self._on_gone = self._on_gone, _nothing
        self._on_half_closed = _nothing  # who is told knows us, and nothing is left to the garbage collector
        on_gone()


class Lingering:
    """Connections that have their answer and are waited for: the oldest of a user's gives way to a new one.

    What is not read waits in the kernel, whose memory is everybody's.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: how many of them one user may have."""
        self._limit = limit
        self._of: dict[str, dict[PollConnection, None]] = {}

    def enter(self, user_id: str, connection: PollConnection) -> None:
        """It was answered."""
        theirs = self._of.setdefault(user_id, {})
        theirs[connection] = None
        if len(theirs) > self._limit:
            oldest = next(iter(theirs))
            self.leave(user_id, oldest)
            oldest.abort()

    def leave(self, user_id: str, connection: PollConnection) -> None:
        """It is gone; nothing happens if it was never here."""
        theirs = self._of.get(user_id, {})
        theirs.pop(connection, None)
        if not theirs:
            self._of.pop(user_id, None)
