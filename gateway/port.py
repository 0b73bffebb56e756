"""The public port: reads each request's head, refuses what must be refused, and passes the socket on.

A WebSocket or a poll goes to the holder of its user, everything else to the HTTP application of this process.
No byte of an accepted socket goes through here afterwards.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from doorstep.config.settings import GatewaySettings
from doorstep.gateway.auth import Authenticator, AuthError, Claims, bearer_of
from doorstep.gateway.handover import HandoverError, Parcel, Sender
from doorstep.gateway.head import (
    Head,
    HeadError,
    body_of,
    parse_head,
)
from doorstep.gateway.listener import Listener
from doorstep.gateway.origin import PREFLIGHT_HEADERS, OriginPolicy, cors_headers
from doorstep.gateway.poll import PollRequest
from doorstep.gateway.problem import Problem, http_response
from doorstep.gateway.upgrade import is_websocket_upgrade, switching_protocols

_log = structlog.get_logger(__name__)

WS_PATH = "/v1/ws"
POLL_PATH = "/v1/notifications"
BACKLOG = 4096
MAX_ARRIVALS = 8192
"""Connections whose head is not complete; the oldest gives way to a new one."""
MAX_LEAVING = 2048
"""Refused connections that are waited for; the oldest gives way."""
SWEEP_INTERVAL_S = 0.25
LINGER_S = 2.0
RETRY_INTERVAL_S = 0.05
READ_BYTES = 16 * 1024
READS_PER_TURN = 16


class RefusedError(Exception):
    """A request that ends here, with the problem to answer."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


class _Arrival:
    """A connection on its way in (or, refused, on its way out)."""

    __slots__ = ("deadline", "received", "sock")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.received = b""
        self.deadline = deadline


class PublicPort:
    """Listens at `settings.host:settings.port`. `holder_of(user_id)` names the Unix socket of a user's holder
    (it raises `LookupError` while there is none), `http()` makes an HTTP protocol for one connection."""

    def __init__(
        self,
        settings: GatewaySettings,
        authenticator: Authenticator,
        holder_of: Callable[[str], Path],
        http: Callable[[], asyncio.Protocol],
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._holder_of = holder_of
        self._http = http
        self._origins = OriginPolicy(settings.allowed_origins)
        self._listener: Listener | None = None
        self._arrivals: dict[socket.socket, _Arrival] = {}
        self._leaving: dict[socket.socket, _Arrival] = {}
        self._senders: dict[Path, Sender] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._complaints: set[str] = set()

    async def start(self) -> int:
        """Listen; returns the port (useful with port 0). Raises `OSError` where it can't."""
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        _tune(listening, self._settings)
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(listening, self._arrive, "port")
        self._sweep()
        bound: int = listening.getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Listen no more; connections that were not passed on yet are closed."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for arrival in [*self._arrivals.values(), *self._leaving.values()]:
            self._loop.remove_reader(arrival.sock.fileno())
            arrival.sock.close()
        for sender in self._senders.values():
            sender.close()

    # Coming in.

    def _arrive(self, sock: socket.socket) -> None:
        arrival = _Arrival(sock, self._loop.time() + self._settings.head_timeout_s)
        if len(self._arrivals) >= MAX_ARRIVALS:
            self._expire(next(iter(self._arrivals.values())))
        self._arrivals[sock] = arrival
        self._read_head(arrival)
        if sock in self._arrivals:
            self._loop.add_reader(sock.fileno(), self._read_head, arrival)

    def _read_head(self, arrival: _Arrival) -> None:
        """Read until nothing is left or the head is whole: uvloop tells only once of a broken connection."""
        while (data := _received(arrival.sock)) is not None:
            if not data:
                self._drop(arrival)
                return
            arrival.received += data
            if self._look_at_head(arrival):
                return

    def _look_at_head(self, arrival: _Arrival) -> bool:
        """Whether enough has come in to decide, which is then done."""
        try:
            head = parse_head(arrival.received)
        except HeadError as exc:
            self._depart(arrival)
            self._answer(arrival, _problem_of(exc).response())
            return True
        if head is None:
            return False
        self._depart(arrival)
        self._start_task(arrival, head)
        return True

    def _depart(self, arrival: _Arrival) -> None:
        del self._arrivals[arrival.sock]
        self._loop.remove_reader(arrival.sock.fileno())

    def _drop(self, arrival: _Arrival) -> None:
        self._depart(arrival)
        arrival.sock.close()

    def _expire(self, arrival: _Arrival) -> None:
        """Too slow. A browser's spare connection, on which nothing was sent, expects no answer."""
        self._depart(arrival)
        if arrival.received:
            self._answer(arrival, _LATE.response())
        else:
            arrival.sock.close()

    def _start_task(self, arrival: _Arrival, head: Head) -> None:
        task = self._loop.create_task(self._serve(arrival, head))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Going on.

    async def _serve(self, arrival: _Arrival, head: Head) -> None:
        cors = self._cors(head)
        try:
            if head.path == WS_PATH:
                await self._serve_socket(arrival, head)
            elif head.path == POLL_PATH:
                await self._serve_poll(arrival, head, cors)
            else:
                await self._serve_http(arrival, head)
        except RefusedError as exc:
            self._answer(arrival, exc.problem.response(cors))
        except HeadError as exc:
            self._answer(arrival, _problem_of(exc).response(cors))
        except asyncio.CancelledError:
            arrival.sock.close()
            raise
        except OSError:
            arrival.sock.close()
        except Exception:
            _log.exception("port.failed", path=head.path)
            self._answer(arrival, _FAULT.response(cors))

    async def _serve_socket(self, arrival: _Arrival, head: Head) -> None:
        if head.method != "GET":
            raise RefusedError(Problem(405, "method_not_allowed", "this is a GET", {"Allow": "GET"}))
        if not is_websocket_upgrade(head):
            raise RefusedError(Problem(400, "upgrade_required", f"{WS_PATH} speaks WebSocket only"))
        answer, early = switching_protocols(head), arrival.received[head.size :]
        claims = await self._admit(head)
        parcel = Parcel("socket", claims.user_id, claims.expires_at, head.query, answer=answer, early=early)
        await self._hand_over(arrival, parcel)

    async def _serve_poll(self, arrival: _Arrival, head: Head, cors: dict[str, str]) -> None:
        if head.method == "OPTIONS":
            self._check_origin(head)
            self._answer(arrival, http_response(204, b"", "", {**cors, **PREFLIGHT_HEADERS}))
            return
        if head.method != "GET":
            raise RefusedError(Problem(405, "method_not_allowed", "this is a GET", {"Allow": "GET, OPTIONS"}))
        PollRequest.parse(head.query)
        claims = await self._admit(head)
        parcel = Parcel("poll", claims.user_id, claims.expires_at, head.query, head.get("origin"))
        await self._hand_over(arrival, parcel)

    async def _serve_http(self, arrival: _Arrival, head: Head) -> None:
        received = _closing_head(head) + body_of(head, arrival.received[head.size :])
        await self._loop.connect_accepted_socket(lambda: _Replay(self._http(), received), arrival.sock)

    async def _admit(self, head: Head) -> Claims:
        self._check_origin(head)
        token = bearer_of(head, allow_query=self._authenticator.allow_query_token)
        if token is None:
            raise RefusedError(Problem(401, "token_missing", "a bearer token is needed"))
        try:
            return await self._authenticator.authenticate(token)
        except AuthError as exc:
            status = 503 if exc.code == "auth_unavailable" else 401
            raise RefusedError(Problem(status, exc.code, str(exc))) from exc

    def _check_origin(self, head: Head) -> None:
        if not self._origins.allows(head.get("origin"), head.get("host")):
            raise RefusedError(Problem(403, "origin_not_allowed", "pages of this origin may not connect"))

    def _cors(self, head: Head) -> dict[str, str]:
        """The CORS headers of every answer to a poll, so that a page can read refusals too."""
        origin = head.get("origin")
        allowed = head.path == POLL_PATH and self._origins.allows(origin, head.get("host"))
        return cors_headers(origin) if allowed else {}

    def _complain(self, what: str, **facts: object) -> None:
        """Log a trouble once, until it is over: a thousand clients in trouble are no thousand lines."""
        if what not in self._complaints:
            self._complaints.add(what)
            _log.warning(what, **facts)

    async def _hand_over(self, arrival: _Arrival, parcel: Parcel) -> None:
        """Try until a holder has the socket; its copy here is kept until then, and closed here after."""
        deadline = self._loop.time() + self._settings.holder_wait_s
        while (left := deadline - self._loop.time()) > 0:
            try:
                await self._sender_for(parcel.user_id).hand_over(arrival.sock, parcel, left)
            except (HandoverError, LookupError) as exc:
                self._complain(_NOT_HANDED_OVER, error=str(exc))
                await asyncio.sleep(RETRY_INTERVAL_S)
            else:
                self._complaints.discard(_NOT_HANDED_OVER)
                arrival.sock.close()
                return
        raise RefusedError(_NO_HOLDER)

    def _sender_for(self, user_id: str) -> Sender:
        path = self._holder_of(user_id)
        sender = self._senders.get(path)
        if sender is None:
            sender = self._senders[path] = Sender(path)
        return sender

    # Going out.

    def _answer(self, arrival: _Arrival, response: bytes) -> None:
        """Answer and close our side; what the client still sends is read for a while, else a reset would
        overtake the answer."""
        sock = arrival.sock
        try:
            sock.send(response)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            sock.close()
            return
        arrival.deadline = self._loop.time() + LINGER_S
        if len(self._leaving) >= MAX_LEAVING:
            self._leave(next(iter(self._leaving.values())))
        self._leaving[sock] = arrival
        self._loop.add_reader(sock.fileno(), self._drain, arrival)

    def _drain(self, arrival: _Arrival) -> None:
        for _ in range(READS_PER_TURN):
            data = _received(arrival.sock)
            if data is None:
                return
            if not data:
                self._leave(arrival)
                return

    def _leave(self, arrival: _Arrival) -> None:
        del self._leaving[arrival.sock]
        self._loop.remove_reader(arrival.sock.fileno())
        arrival.sock.close()

    def _sweep(self) -> None:
        """End what is late. Both tables are in the order of their deadlines."""
        now = self._loop.time()
        for arrival in _late(self._arrivals, now):
            self._expire(arrival)
        for arrival in _late(self._leaving, now):
            self._leave(arrival)
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)


class _Replay(asyncio.Protocol):
    """Gives an HTTP protocol a connection of which some bytes are read already."""

    def __init__(self, inner: asyncio.Protocol, received: bytes) -> None:
        self._inner = inner
        self._received = received

    # Any: uvloop's transports have the methods of asyncio.Transport, but do not derive from it.
    def connection_made(self, transport: Any) -> None:
        self._inner.connection_made(transport)
        transport.set_protocol(self._inner)
        self._inner.data_received(self._received)


def _tune(listener: socket.socket, settings: GatewaySettings) -> None:
    """Send small frames at once, and let the kernel give up on a peer that acknowledges nothing.

    Every accepted socket inherits it, and keeps it when it is handed over.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = int((settings.ping_interval_s + settings.ping_timeout_s) * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def _received(sock: socket.socket) -> bytes | None:
    """The next bytes, none at the end of the connection however it came, None while there are none yet."""
    try:
        return sock.recv(READ_BYTES)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


def _late(table: dict[socket.socket, _Arrival], now: float) -> list[_Arrival]:
    late = []
    for arrival in table.values():
        if arrival.deadline > now:
            break
        late.append(arrival)
    return late


_NOT_HANDED_OVER = "port.hand_over_failed"
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "upgrade", "proxy-connection"})


def _closing_head(head: Head) -> bytes:
    """The head as the HTTP application gets it: one request a connection, never an upgrade."""
    lines = [f"{head.method} {head.target} HTTP/1.{head.minor}"]
    lines += [f"{name}: {value}" for name, value in head.headers if name not in _HOP_BY_HOP]
    return "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1")


def _problem_of(exc: HeadError) -> Problem:
    return Problem(exc.status, exc.code, str(exc))


_LATE = Problem(408, "head_timeout", "the request head did not come in time")
_NO_HOLDER = Problem(503, "holder_unavailable", "the server is restarting, try again")
_FAULT = Problem(503, "internal_error", "the request failed here; it was logged")
