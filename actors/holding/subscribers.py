"""Who takes part in a user's notifications: a socket, or a long poll. Each has an inbox."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Protocol

import orjson

from doorstep.actors.holding.inbox import Inbox, OnPush, Read, Reset, Send, Step, Welcome
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.store.log import Logged, Page, Want
from doorstep.config.settings import Settings
from doorstep.gateway import messages
from doorstep.gateway.auth import AuthError, Claims
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.handover import Parcel
from doorstep.gateway.poll import PollConnection, PollRequest
from doorstep.gateway.problem import Problem
from doorstep.gateway.query import SocketRequest
from doorstep.gateway.websocket import SocketLimits, WebSocket, text_frame

_PAGE = 100
_LOG_OUT_OF_REACH = Problem(
    503, "log_unavailable", "the log of notifications is out of reach; ask again with the same cursor"
)
_LONGEST_TIMER_S = 24 * 3600.0


class Home(Protocol):
    """What a subscriber needs of its holder."""

    settings: Settings
    counters: HolderMetrics

    def read_for(self, subscriber: "Subscriber") -> None:
        """Queue a read of the log."""

    def leave(self, subscriber: "Subscriber") -> None:
        """Forget the subscriber."""

    def authenticate(self, token: str) -> Awaitable[Claims]:
        """Verify a token; raises `AuthError`."""


class Subscriber(ABC):
    """What a socket and a poll have in common: a user, an inbox, and reading for it."""

    __slots__ = ("_gone", "_home", "_replay", "inbox", "user_id")

    protocol: asyncio.Protocol
    """What its transport talks to."""

    def __init__(self, home: Home, user_id: str, cursor: Cursor | None, replay: int = 0) -> None:
        self.user_id = user_id
        self.inbox = Inbox(cursor)
        self._home = home
        self._replay = replay
        self._gone = False

    def push(self, seq: int, previous: bytes, digest: bytes, message: bytes, frame: bytes) -> None:
        """A notification of this user came over the feed; `message` is what a client gets of it, `frame` the
        same in a WebSocket text frame."""
        action = self.inbox.push(seq, previous, digest)
        if action == "send":
            self._deliver(message, frame)
        else:
            self._follow(action)

    def see_head(self, head: Cursor | None) -> bool:
        """Catch up if the head is elsewhere; says whether that was needed."""
        action = self.inbox.see_head(head)
        self._follow(action)
        return action == "read"

    def want(self) -> Want | None:
        """What to read of the log next; None when this subscriber is gone."""
        if self._gone:
            return None
        cursor = self.inbox.cursor
        return Want(self.user_id, cursor, _PAGE, replay=self._replay if cursor is None else 0)

    def take(self, page: Page) -> None:
        """A page of the log was read for this subscriber."""
        if self._gone:
            return
        for step in self.inbox.page(page):
            if isinstance(step, Read):
                self._home.read_for(self)
            else:
                self._tell(step)

    def finish(self) -> None:
        """It has ended; whatever comes later is for nobody."""
        if not self._gone:
            self._gone = True
            self._home.leave(self)

    def _follow(self, action: OnPush) -> None:
        if action == "read":
            self._home.read_for(self)

    @abstractmethod
    def begin(self, parcel: Parcel) -> None:
        """The connection is ours; `parcel` is what it came with."""

    @abstractmethod
    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """End it from this side; the client is to come back after so long."""

    @abstractmethod
    def _deliver(self, message: bytes, frame: bytes) -> None: ...

    @abstractmethod
    def _tell(self, step: Step) -> None: ...


class SocketSubscriber(Subscriber):
    """A browser on a WebSocket; the events of `gateway.websocket.SocketEvents` come here."""

    __slots__ = ("_expires_at", "_malformed", "_refreshing", "_stuck", "_timer", "protocol")

    protocol: WebSocket

    def __init__(self, home: Home, parcel: Parcel, limits: SocketLimits) -> None:
        """Raises `HeadError` for a `replay` that is no number."""
        request = SocketRequest.parse(parcel.query, home.settings.history.max_count)
        cursor = request.cursor if isinstance(request.cursor, Cursor) else None
        super().__init__(home, parcel.user_id, cursor, request.replay)
        self._malformed = request.cursor == "malformed"
        self.protocol = WebSocket(self, limits)
        self._refreshing = False
        self._stuck: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = parcel.expires_at

    def begin(self, parcel: Parcel) -> None:
        """The connection is ours: answer the handshake, and read."""
        self.protocol.accept(parcel.answer, parcel.early)
        self._watch_token()
        self._home.read_for(self)

    def on_text(self, data: bytes) -> None:
        """The browser sent an operation."""
        try:
            operation = messages.parse_op(data)
        except messages.ProtocolViolation as violation:
            self.protocol.close(CloseCode.PROTOCOL_VIOLATION, str(violation))
            return
        if isinstance(operation, messages.Ping):
            self.protocol.send(text_frame(messages.pong()))
        elif isinstance(operation, messages.Refresh) and not self._refreshing:
            self._refreshing = True
            self._spawn(self._refresh(operation.token))

    def on_blocked(self) -> None:
        """The browser does not read as fast as we write."""
        self.inbox.block()
        timeout = self._home.settings.gateway.stuck_timeout_s
        self._stuck = asyncio.get_running_loop().call_later(timeout, self._give_up)

    def on_drained(self) -> None:
        """The browser has read what was waiting."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        self._follow(self.inbox.drain())

    def on_closed(self) -> None:
        """The connection is gone."""
        for timer in (self._stuck, self._timer):
            if timer is not None:
                timer.cancel()
        self.finish()

    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """Say when to come back, if at all, and close."""
        if after_ms:
            self.protocol.send(text_frame(messages.reconnect(after_ms)))
        self.protocol.close(code)

    def _deliver(self, message: bytes, frame: bytes) -> None:
        self.protocol.send(frame)

    def _tell(self, step: Step) -> None:
        match step:
            case Send(notifications):
                self.protocol.send(b"".join(text_frame(_message(logged)) for logged in notifications))
            case Reset(reason, cursor):
                self._home.counters.resets.labels(reason).inc()
                self.protocol.send(text_frame(messages.reset(reason, cursor)))
            case Welcome(cursor, resumed):
                interval_ms = round(self._home.settings.gateway.ping_interval_s * 1000)
                welcome = messages.welcome(
                    user_id=self.user_id, cursor=cursor, resumed=resumed, ping_interval_ms=interval_ms
                )
                self.protocol.send(text_frame(welcome))
                if self._malformed:
                    self._home.counters.resets.labels("malformed").inc()
                    self.protocol.send(text_frame(messages.reset("malformed", cursor)))

    def _give_up(self) -> None:
        self.protocol.close(CloseCode.TRY_AGAIN_LATER, "the connection took nothing for too long")

    def _watch_token(self) -> None:
        """Tell of the token's end some time before it, then close. One timer, set again for each step."""
        left = self._expires_at - time.time()
        notice = self._home.settings.auth.expiry_notice_s
        loop = asyncio.get_running_loop()
        if left > notice:
            self._timer = loop.call_later(min(left - notice, _LONGEST_TIMER_S), self._watch_token)
        elif left > 0:
            self.protocol.send(text_frame(messages.token_expiring(round(left * 1000))))
            self._timer = loop.call_later(left, self._expire)
        else:
            self._expire()

    def _expire(self) -> None:
        self.protocol.close(CloseCode.TOKEN_EXPIRED)

    async def _refresh(self, token: str) -> None:
        try:
            claims = await self._home.authenticate(token)
        except AuthError as error:
            is_ours = error.code == "auth_unavailable"  # nobody can judge the token: not the client's fault
            self.protocol.close(CloseCode.TRY_AGAIN_LATER if is_ours else CloseCode.FORBIDDEN, error.code)
            return
        finally:
            self._refreshing = False
        if claims.user_id != self.user_id:
            self.protocol.close(CloseCode.FORBIDDEN, "the new token is another user's")
            return
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone:
            self._expires_at = claims.expires_at
            self.protocol.send(text_frame(messages.refreshed()))
            self._watch_token()

    def _spawn(self, work: Awaitable[None]) -> None:
        _tasks.add(task := asyncio.ensure_future(work))
        task.add_done_callback(_tasks.discard)


_tasks: set[asyncio.Future[None]] = set()
"""The event loop keeps only weak references to tasks."""


class PollSubscriber(Subscriber):
    """A long poll: answered by the first notifications, a reset, or the end of its wait."""

    __slots__ = ("_answered", "_malformed", "_request", "_timer", "protocol")

    protocol: PollConnection

    def __init__(self, home: Home, parcel: Parcel) -> None:
        """Raises `HeadError` for a query that can't be read."""
        self._request = PollRequest.parse(parcel.query)
        after = self._request.after
        super().__init__(home, parcel.user_id, after if isinstance(after, Cursor) else None)
        self._malformed = after == "malformed"
        self.protocol = PollConnection(self._on_gone, parcel.origin)
        self._answered = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, parcel: Parcel) -> None:
        """The connection is ours: read."""
        self._home.read_for(self)
        patience = self._request.wait or self._home.settings.redis.timeout_s
        self._timer = asyncio.get_running_loop().call_later(patience, self._time_out)

    def want(self) -> Want | None:
        """A page of at most the limit that the client set."""
        if self._gone:
            return None
        return Want(self.user_id, self.inbox.cursor, self._request.limit)

    def take(self, page: Page) -> None:
        """Answer with the first page if there is anything to tell; else wait for a push."""
        asked_for_head = self.inbox.cursor is None
        super().take(page)
        if asked_for_head or not self._request.wait:
            self._answer(())

    def _on_gone(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.finish()

    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """Answer with what there is: nothing. The client asks again."""
        self._answer(())

    def _deliver(self, message: bytes, frame: bytes) -> None:
        self._answer((message,))

    def _tell(self, step: Step) -> None:
        match step:
            case Send(notifications):
                self._answer([_message(logged) for logged in notifications])
            case Reset(reason, _):
                self._home.counters.resets.labels(reason).inc()
                self._answer((), reset=True)

    def _time_out(self) -> None:
        if self.inbox.state == "live":
            self._answer(())
        elif not self._answered:
            self._answered = True
            self.protocol.refuse(_LOG_OUT_OF_REACH)

    def _answer(self, notifications: Sequence[bytes], *, reset: bool = False) -> None:
        if self._answered:
            return
        self._answered = True
        if self._malformed:
            self._home.counters.resets.labels("malformed").inc()
        body = b'{"notifications":[%b],"cursor":%b,"reset":%b}' % (
            b",".join(notifications),
            orjson.dumps(None if self.inbox.cursor is None else str(self.inbox.cursor)),
            b"true" if reset or self._malformed else b"false",
        )
        self.protocol.answer(200, body)


def _message(logged: Logged) -> bytes:
    return messages.notification(logged.seq, logged.digest.encode(), logged.payload)
