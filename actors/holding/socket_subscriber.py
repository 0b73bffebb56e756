"""A browser on a WebSocket."""

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from doorstep.actors.holding.inbox import ReadMark, Reset, Send, Step, Welcome
from doorstep.actors.holding.registry import Kind
from doorstep.actors.holding.subscriber import Home, News, Subscriber, message_of
from doorstep.actors.holding.token_watch import TokenWatch
from doorstep.gateway import messages
from doorstep.gateway.auth import AuthError
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.frames import text_frame
from doorstep.gateway.handover import Parcel
from doorstep.gateway.query import SocketRequest
from doorstep.gateway.websocket import SocketLimits, WebSocket

_PONG = text_frame(messages.pong())
_REFRESHED = text_frame(messages.refreshed())


class SocketSubscriber(Subscriber):
    """A browser on a WebSocket; it takes the events of its socket and of its token."""

    __slots__ = ("_is_welcomed", "_refreshing", "_shown", "_stuck", "_token", "_unsaid", "protocol")

    kind: ClassVar[Kind] = "socket"
    protocol: WebSocket

    def __init__(self, home: Home, parcel: Parcel, limits: SocketLimits) -> None:
        """Raises `HeadError` for a `replay` that is no number."""
        request = SocketRequest.parse(parcel.query, home.settings.history.max_count)
        super().__init__(home, parcel.user_id, request.cursor, request.replay)
        self.protocol = WebSocket(self, limits, home.traffic)
        self._is_welcomed = False
        self._shown = 0
        self._unsaid: tuple[bytes, ...] = ()
        self._refreshing = False
        self._stuck: asyncio.TimerHandle | None = None
        self._token = TokenWatch(parcel.expires_at)

    def begin(self, parcel: Parcel) -> None:
        """The connection is ours: answer the handshake, and read."""
        self.protocol.accept(parcel.answer, parcel.early)
        self._token.watch(self, parcel.expires_at, self._home.settings.auth.expiry_notice_s)
        self._home.read_for(self)

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of the client since the last ping."""
        return self.protocol.is_silent

    def probe(self) -> None:
        """Ask for a sign of life out of turn."""
        self.protocol.ping()

    def give_way(self) -> None:
        """Leave at once, for a newcomer of the same user."""
        self._home.counters.replaced.inc()
        self.finish()
        self.protocol.abort()

    def on_text(self, data: bytes) -> None:
        """The browser sent an operation."""
        try:
            operation = messages.parse_op(data)
        except messages.ProtocolViolation as violation:
            self.protocol.close(CloseCode.PROTOCOL_VIOLATION, str(violation))
            return
        if isinstance(operation, messages.Ping):
            self._reply(_PONG)
        elif isinstance(operation, messages.Ack):
            self._take_ack(operation.cursor.seq)
        elif isinstance(operation, messages.Read):
            self._home.read_marks.add(self.user_id, operation.cursor)
        elif not self._refreshing:
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
        if self._stuck is not None:
            self._stuck.cancel()
        self._token.stop()
        self.finish()

    def on_token_expiring(self, in_s: float) -> None:
        """Its token is about to end."""
        self.protocol.send(text_frame(messages.token_expiring(round(in_s * 1000))))

    def on_token_expired(self) -> None:
        """Its token has ended, and no newer one came."""
        self.protocol.close(CloseCode.TOKEN_EXPIRED)

    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """Say when to come back, if at all, and close."""
        if after_ms:
            self.protocol.send(text_frame(messages.reconnect(after_ms)))
        self.protocol.close(code)

    def _break_off(self) -> None:
        self.protocol.close(CloseCode.INTERNAL_ERROR)

    def _deliver(self, news: Sequence[News]) -> int:
        self.protocol.send(b"".join([each.frame for each in news]))
        return len(news)

    def _tell(self, step: Step) -> None:
        match step:
            case Send(notifications):
                self._home.receipts.caught_up(notifications)
                self.protocol.send(b"".join(text_frame(message_of(logged)) for logged in notifications))
            case Reset(reason, cursor):
                self._reset_in(step)
                self._shown = cursor.seq
                self.protocol.send(text_frame(messages.reset(reason, cursor)))
            case ReadMark(read, unread):
                self.protocol.send(text_frame(messages.read_moved(read, unread)))
            case Welcome():
                self._welcome(step)

    def _welcome(self, step: Welcome) -> None:
        """The first message, and what waited for it."""
        self._is_welcomed = True
        self._shown = step.cursor.seq
        welcome = messages.welcome(
            self.user_id,
            step.cursor,
            self._home.terms,
            resumed=step.resumed,
            reset=self._reset_in(step),
            read=step.read,
            unread=step.unread,
        )
        for frame in (text_frame(welcome), *self._unsaid):
            self.protocol.send(frame)
        self._unsaid = ()

    def _take_ack(self, seq: int) -> None:
        """What it was sent is shown; anything else that it says is of no use, and does no harm."""
        if self._is_welcomed and self._shown < seq <= self.inbox.seq:
            self._home.receipts.shown(self.user_id, self._shown, seq)
            self._shown = seq

    def _give_up(self) -> None:
        self.protocol.close(CloseCode.TRY_AGAIN_LATER, "the connection took nothing for too long")

    def _reply(self, frame: bytes) -> None:
        """Answer an operation; the welcome comes first, and of the same answers to be given then, one."""
        if self._is_welcomed:
            self.protocol.send(frame)
        elif frame not in self._unsaid:
            self._unsaid += (frame,)

    async def _refresh(self, token: str) -> None:
        """Only a token that is known to be expired or another user's ends the socket. Whatever else is wrong
        with it, the one it has is good until its end."""
        try:
            claims = await self._home.authenticate(token)
        except AuthError as error:
            self._count_refresh(error.code)
            if error.code == "token_expired":
                self.protocol.close(CloseCode.TOKEN_EXPIRED)
            return
        finally:
            self._refreshing = False
        if claims.user_id != self.user_id:
            self._count_refresh("other_user")
            self.protocol.close(CloseCode.FORBIDDEN, "the new token is another user's")
        elif not self._gone:
            self._take_token(claims.expires_at)

    def _take_token(self, expires_at: float) -> None:
        """A token with the same end is the same token: a page's cache does not start the notice anew."""
        is_new = expires_at != self._token.expires_at
        self._count_refresh("refreshed" if is_new else "unchanged")
        self._reply(_REFRESHED)
        if is_new:
            self._token.watch(self, expires_at, self._home.settings.auth.expiry_notice_s)

    def _count_refresh(self, result: str) -> None:
        self._home.counters.refreshes.labels(result).inc()
