"""A browser on a WebSocket."""

import asyncio
import time
from typing import ClassVar

from doorstep.actors.holding.inbox import Reset, Send, Step, Welcome
from doorstep.actors.holding.registry import Kind
from doorstep.actors.holding.subscriber import Home, Subscriber, message_of
from doorstep.gateway import messages
from doorstep.gateway.auth import AuthError
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.frames import text_frame
from doorstep.gateway.handover import Parcel
from doorstep.gateway.query import SocketRequest
from doorstep.gateway.websocket import SocketLimits, WebSocket

_LONGEST_TIMER_S = 24 * 3600.0


class SocketSubscriber(Subscriber):
    """A browser on a WebSocket; the events of `gateway.websocket.SocketEvents` come here."""

    __slots__ = ("_expires_at", "_malformed", "_refreshing", "_stuck", "_timer", "protocol")

    kind: ClassVar[Kind] = "socket"
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
            self._home.spawn(self._refresh(operation.token))

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

    def _break_off(self) -> None:
        self.protocol.close(CloseCode.INTERNAL_ERROR)

    def _deliver(self, message: bytes, frame: bytes) -> None:
        self.protocol.send(frame)

    def _tell(self, step: Step) -> None:
        match step:
            case Send(notifications):
                self.protocol.send(b"".join(text_frame(message_of(logged)) for logged in notifications))
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
