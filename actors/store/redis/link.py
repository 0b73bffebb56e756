"""One connection to one Redis server: commands go out in one write, replies come back in order.

It decides nothing: no retry, no reconnect. Whatever goes wrong ends the link and fails what is in flight.
"""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Self

import hiredis

from doorstep.actors.store.redis.errors import StoreUnavailable

Reply = Any
"""What a command returns: bytes, int, None, lists or dicts of them; an error as a `hiredis.ReplyError`."""

Argument = str | bytes | int | float

OnPush = Callable[[list[Any]], None]
OnLost = Callable[[StoreUnavailable], None]

_UNTYPED: Any = hiredis  # the stub of pack_command takes a tuple of one word only
pack: Callable[[tuple[Argument, ...]], bytes] = _UNTYPED.pack_command
"""One command as Redis reads it."""


def refusal_of(reply: Reply) -> str | None:
    """What an error reply says; None for any other reply."""
    return str(reply) if isinstance(reply, hiredis.ReplyError) else None


_MORE = object()
_KEEPALIVE_IDLE_S = 10
_UNACKNOWLEDGED_MS = 10_000


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: `host` and `port`, or the path of a Unix socket."""

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    """How to enter a server."""

    username: str | None = None
    password: str | None = None
    db: int = 0
    ssl: SSLContext | None = None
    timeout_s: float = 5.0


class _Exchange:
    """Commands that were sent together, and their replies as they come."""

    __slots__ = ("deadline", "expected", "future", "replies")

    def __init__(self, expected: int, future: asyncio.Future[list[Reply]], deadline: float) -> None:
        self.expected = expected
        self.future = future
        self.deadline = deadline
        self.replies: list[Reply] = []


class Link(asyncio.Protocol):
    """A connection that is logged in and speaks RESP3. Made by `Link.open`.

    `on_push` gets every push message (subscriptions) as a list; an exception in it ends the link.
    `on_lost` is called once, when an open link has ended, unless `close` ended it.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
    ) -> None:
        self.address = address
        self.heard = False
        """Anything came since the owner last set it to False."""
        self._timeout_s = timeout_s
        self._on_push = on_push
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._pending: deque[_Exchange] = deque()
        self._transport: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._ended = False
        self._cause: BaseException | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        login: Login,
        on_push: OnPush | None = None,
        on_lost: OnLost | None = None,
    ) -> Self:
        """Connect and log in. Raises `StoreUnavailable`, within the login's timeout."""
        link = cls(address, login.timeout_s, on_push)
        try:
            async with asyncio.timeout(login.timeout_s):
                await link._connect(login)
                await link._log_in(login)
        except (OSError, TimeoutError) as error:
            link.close()
            reason = _reason(error, login)
            raise StoreUnavailable(f"Redis at {address} cannot be reached: {reason}") from error
        except StoreUnavailable as error:
            was_closed = not link.is_open
            link.close()
            if was_closed and not link.heard and login.ssl is None:
                raise StoreUnavailable(f"{error}; perhaps it wants TLS (rediss://)") from error
            raise
        except BaseException:
            link.close()
            raise
        link._on_lost = on_lost
        return link

    @property
    def is_open(self) -> bool:
        """It can still be used."""
        return self._transport is not None

    def send(self, commands: bytes) -> None:
        """Write packed commands whose only answers are pushes. Raises `StoreUnavailable` on an ended link."""
        if self._transport is None:
            raise self._error()
        self._transport.write(commands)

    async def exchange(self, commands: bytes, count: int) -> list[Reply]:
        """Write `count` (at least one) packed commands; return their replies in order, errors among them.

        Raises `StoreUnavailable` when the link ends or no answer is complete within the timeout; either ends
        the link. A caller that is cancelled leaves the link as it is.
        """
        self.send(commands)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Reply]] = loop.create_future()
        self._pending.append(_Exchange(count, future, loop.time() + self._timeout_s))
        if self._watch is None:
            self._watch = loop.call_later(self._timeout_s, self._check_deadline)
        return await future

    async def command(self, *arguments: Argument) -> Reply:
        """Send one command; raises `hiredis.ReplyError` for an error reply."""
        (reply,) = await self.exchange(pack(arguments), 1)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        """End it quietly; whoever still waits for an answer gets `StoreUnavailable`."""
        self._on_lost = None
        self.abort(ConnectionAbortedError("the link was closed"))

    def abort(self, cause: BaseException) -> None:
        """End it at once because of `cause`."""
        transport = self._transport
        self.connection_lost(cause)
        if transport is not None:
            transport.abort()

    # Called by asyncio

    def data_received(self, data: bytes) -> None:
        self.heard = True
        try:
            self._reader.feed(data)
            self._take_all()
        except Exception as error:  # a garbled stream, or an owner that could not take a push
            self.abort(error)

    def connection_lost(self, cause: BaseException | None) -> None:
        if self._ended:
            return
        self._ended, self._transport, self._cause = True, None, cause
        self._fail_pending()
        if self._on_lost is not None:
            self._on_lost(self._error())

    def _take_all(self) -> None:
        gets = self._reader.gets
        while (reply := gets()) is not _MORE:
            if type(reply) is hiredis.PushNotification:
                if self._on_push is not None:
                    self._on_push(reply)
            else:
                self._answer(reply)

    def _answer(self, reply: Reply) -> None:
        if not self._pending:  # what is answered by pushes is refused by a reply
            raise StoreUnavailable(f"Redis refused what it was sent: {reply}")
        exchange = self._pending[0]
        exchange.replies.append(reply)
        if len(exchange.replies) == exchange.expected:
            self._pending.popleft()
            if not exchange.future.done():
                exchange.future.set_result(exchange.replies)

    def _check_deadline(self) -> None:
        """One timer for all that is pending, as a timer for each would cost more than its answer does."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if self._pending and self._pending[0].deadline <= loop.time():
            self.abort(TimeoutError(f"no answer within {self._timeout_s} s"))
        elif self._pending:
            self._watch = loop.call_at(self._pending[0].deadline, self._check_deadline)

    def _fail_pending(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        pending, self._pending = self._pending, deque()
        for exchange in pending:
            if not exchange.future.done():
                exchange.future.set_exception(self._error())

    def _error(self) -> StoreUnavailable:
        reason = repr(self._cause) if self._cause else "it closed the connection"
        error = StoreUnavailable(f"lost Redis at {self.address}: {reason}")
        error.__cause__ = self._cause
        return error

    async def _connect(self, login: Login) -> None:
        loop = asyncio.get_running_loop()
        at = self.address
        if at.path is not None:
            transport, _ = await loop.create_unix_connection(lambda: self, at.path)
        else:
            transport, _ = await loop.create_connection(lambda: self, at.host, at.port, ssl=login.ssl)
        _keep_alive(transport.get_extra_info("socket"))
        if not self._ended:
            self._transport = transport

    async def _log_in(self, login: Login) -> None:
        commands = list(_greeting(login))
        replies = await self.exchange(b"".join(map(pack, commands)), len(commands))
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise StoreUnavailable(f"Redis at {self.address} refused the login: {reply}")
        if replies[0].get(b"role", b"master") != b"master":  # a sentinel has no role
            raise StoreUnavailable(f"Redis at {self.address} is a replica, not the master")


def _reason(error: OSError, login: Login) -> str:
    """In words, which not every error has. A server without TLS mostly waits for the rest of what it takes
    for a command."""
    reason = str(error) or type(error).__name__
    if isinstance(error, TimeoutError) and error.errno is None:
        reason = f"no answer within {login.timeout_s:g} s"
    is_of_tls = isinstance(error, TimeoutError | ConnectionResetError | SSLError)
    if login.ssl is None or not is_of_tls or isinstance(error, SSLCertVerificationError):
        return reason
    return f"{reason}; perhaps it speaks no TLS (redis://)"


def _greeting(login: Login) -> Sequence[tuple[Argument, ...]]:
    hello: tuple[Argument, ...] = ("HELLO", 3)
    if login.username is not None or login.password is not None:
        hello += ("AUTH", login.username or "default", login.password or "")
    hello += ("SETNAME", "doorstep")
    return [hello, ("SELECT", login.db)] if login.db else [hello]


def _keep_alive(sock: socket.socket | None) -> None:
    """Let the kernel notice a peer that is gone, as fast as this system can."""
    if sock is None or sock.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (
            ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPALIVE", _KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", 3),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", _UNACKNOWLEDGED_MS),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
