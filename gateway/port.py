"""The public port: refuses what must be refused, and passes the socket on.

A WebSocket or a poll goes to the holder of its user, and no byte of it goes through here afterwards.
Everything else is answered here.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from doorstep.config.public_url import NODE
from doorstep.config.settings import GatewaySettings
from doorstep.gateway.auth import Authenticator, AuthError, Claims, bearer_of
from doorstep.gateway.forwarded import socket_url
from doorstep.gateway.handover import HandoverError, NoAnswerError, Parcel, Sender
from doorstep.gateway.head import Head, HeadError
from doorstep.gateway.http import Page, Pages, json_page, page_for
from doorstep.gateway.http_port import HttpPort, Inherited, Request
from doorstep.gateway.late_refusal import is_late, late_refusal
from doorstep.gateway.metrics import GatewayMetrics
from doorstep.gateway.origin import PREFLIGHT_HEADERS, OriginPolicy, cors_headers
from doorstep.gateway.paths import ENDPOINT_PATH, POLL_PATH, WS_PATH
from doorstep.gateway.poll import PollRequest
from doorstep.gateway.problem import Problem, RefusedError, http_response, problem_of
from doorstep.gateway.succession import PUBLIC_PORT
from doorstep.gateway.upgrade import is_websocket_upgrade, switching_protocols

_log = structlog.get_logger(__name__)

RETRY_INTERVAL_S = 0.05

_CORS_PATHS = (POLL_PATH, ENDPOINT_PATH)
"""What pages fetch."""
_NO_HOLDER = Problem(503, "holder_unavailable", "the server is restarting, try again")
_ORIGIN_HINT = (
    "list the page's origin in DOORSTEP_GATEWAY__ALLOWED_ORIGINS, or let the proxy pass on the Host that the "
    "browser sent (docs/proxies.md)"
)


class PublicPort:
    """Listens at `settings.host:settings.port`.

    `holders_of(user_id)` are the Unix sockets of the holders to ask for a user, the first one first; `pages`
    are what is answered here; `home_of(user_id)` is the public name of the node where a user is at home, None
    where that is not known.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        authenticator: Authenticator,
        holders_of: Callable[[str], Sequence[Path]],
        pages: Pages,
        home_of: Callable[[str], str | None] | None = None,
    ) -> None:
        self.metrics = GatewayMetrics()
        self._settings = settings
        self._authenticator = authenticator
        self._holders_of = holders_of
        self._home_of = home_of
        self._pages = {**pages, ENDPOINT_PATH: self._show_endpoint}
        self._origins = OriginPolicy(settings.allowed_origins)
        self._http = HttpPort(self._serve, self._on_refused, settings.head_timeout_s)
        self._senders: dict[Path, Sender] = {}

    async def start(self, inherited: Inherited | None = None) -> int:
        """Listen, at the socket of a predecessor that listened to the same, if there is one; returns the port
        (useful with port 0). Raises `OSError` where it can't."""
        host, port = self._settings.host, self._settings.port
        listening = self._http.listen(PUBLIC_PORT, host, port, {} if inherited is None else inherited)
        _tune(listening, self._settings)
        bound: int = listening.getsockname()[1]
        return bound

    @property
    def listening(self) -> Inherited:
        """See `HttpPort.listening`."""
        return self._http.listening

    async def leave(self, within_s: float) -> None:
        """See `HttpPort.leave`."""
        await self._http.leave(within_s)
        self._close_senders()

    async def stop(self) -> None:
        """Listen no more; connections that were not passed on yet are closed."""
        await self._http.stop()
        self._close_senders()

    def _close_senders(self) -> None:
        for sender in self._senders.values():
            sender.close()

    def _on_refused(self, refused: RefusedError) -> None:
        problem = refused.problem
        self.metrics.refusals.labels(problem.code).inc()
        _log.warning("request_refused", code=problem.code, status=problem.status, **refused.facts)

    async def _serve(self, request: Request) -> bytes | None:
        """The answer, with the CORS headers that let a page read it, a refusal too."""
        cors = self._cors(request.head)
        try:
            return await self._route(request, cors)
        except HeadError as exc:
            raise RefusedError(replace(problem_of(exc), headers=cors)) from exc
        except RefusedError as exc:
            exc.problem = replace(exc.problem, headers={**exc.problem.headers, **cors})
            raise

    async def _route(self, request: Request, cors: dict[str, str]) -> bytes | None:
        head = request.head
        if head.path in _CORS_PATHS and head.method == "OPTIONS":
            self._check_origin(head)
            return http_response(204, b"", "", {**cors, **PREFLIGHT_HEADERS})
        if head.path == WS_PATH:
            with self.metrics.handshake("socket"):
                await self._serve_socket(request)
        elif head.path == POLL_PATH:
            with self.metrics.handshake("poll"):
                await self._serve_poll(request)
        else:
            return (await page_for(self._pages, head)).response(cors)
        return None

    async def _serve_socket(self, request: Request) -> None:
        head = request.head
        _check_get(head, "GET")
        if not is_websocket_upgrade(head):
            raise RefusedError(Problem(400, "upgrade_required", f"{WS_PATH} speaks WebSocket only"))
        answer = switching_protocols(head)
        try:
            claims = await self._admit(head)
            parcel = Parcel(
                "socket", claims.user_id, claims.expires_at, head.query, answer=answer, early=request.early
            )
            await self._hand_over(request.sock, parcel)
        except RefusedError as exc:
            if is_late(head.query):
                exc.late = late_refusal(answer, exc.problem)
            raise

    async def _serve_poll(self, request: Request) -> None:
        head = request.head
        _check_get(head, "GET, OPTIONS")
        PollRequest.parse(head.query)
        claims = await self._admit(head)
        parcel = Parcel("poll", claims.user_id, claims.expires_at, head.query, head.get("origin"))
        await self._hand_over(request.sock, parcel)

    async def _show_endpoint(self, head: Head) -> Page:
        """Where to connect: whoever says who it is hears of its home, if there is one."""
        url = self._settings.public_url
        if url is not None and NODE in url:
            home = await self._home_of_caller(head)
            url = url.replace(NODE, home) if home else None
        return json_page({"url": url + WS_PATH if url else socket_url(head)})

    async def _home_of_caller(self, head: Head) -> str | None:
        if self._home_of is None or self._token_of(head) is None:
            return None
        return self._home_of((await self._admit(head)).user_id)

    def _token_of(self, head: Head) -> str | None:
        return bearer_of(head, allow_query=self._authenticator.allow_query_token)

    async def _admit(self, head: Head) -> Claims:
        self._check_origin(head)
        token = self._token_of(head)
        if token is None:
            raise RefusedError(Problem(401, "token_missing", "a bearer token is needed"))
        try:
            return await self._authenticator.authenticate(token)
        except AuthError as exc:
            status = 503 if exc.code == "auth_unavailable" else 401
            raise RefusedError(Problem(status, exc.code, str(exc))) from exc

    def _check_origin(self, head: Head) -> None:
        origin, host = head.get("origin"), head.get("host")
        if not self._origins.allows(origin, host):
            problem = Problem(403, "origin_not_allowed", "pages of this origin may not connect")
            raise RefusedError(problem, origin=(origin or "")[:200], host=host, hint=_ORIGIN_HINT)

    def _cors(self, head: Head) -> dict[str, str]:
        """The CORS headers of every answer that pages fetch, so that they can read refusals too."""
        origin = head.get("origin")
        allowed = head.path in _CORS_PATHS and self._origins.allows(origin, head.get("host"))
        return cors_headers(origin) if allowed else {}

    async def _hand_over(self, sock: socket.socket, parcel: Parcel) -> None:
        """Offer it to the holders of its user, again and again, until one has it; the copy here is kept until
        then, and closed after."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + self._settings.holder_wait_s
        while loop.time() < deadline:
            for path in self._holders_of(parcel.user_id):
                if await self._offer(path, sock, parcel, deadline - loop.time()):
                    self.metrics.handover_seconds.observe(loop.time() - began)
                    sock.close()
                    return
            await asyncio.sleep(RETRY_INTERVAL_S)
        raise RefusedError(_NO_HOLDER)

    async def _offer(self, path: Path, sock: socket.socket, parcel: Parcel, patience_s: float) -> bool:
        """Whether a holder has taken it; where that can't be known, the client is refused."""
        if patience_s <= 0:
            return False
        try:
            await self._sender_to(path).hand_over(sock, parcel, patience_s)
        except NoAnswerError as exc:
            raise RefusedError(_NO_HOLDER, error=str(exc)) from exc
        except HandoverError as exc:
            _log.warning("handover_failed", error=str(exc))
            return False
        return True

    def _sender_to(self, path: Path) -> Sender:
        sender = self._senders.get(path)
        if sender is None:
            sender = self._senders[path] = Sender(path)
        return sender


def _check_get(head: Head, allowed: str) -> None:
    if head.method != "GET":
        raise RefusedError(Problem(405, "method_not_allowed", "this is a GET", {"Allow": allowed}))


def _tune(listening: socket.socket, settings: GatewaySettings) -> None:
    """Send small frames at once, and let the kernel give up on a peer that acknowledges nothing.

    Every accepted socket inherits it, and keeps it when it is handed over.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = int((settings.ping_interval_s + settings.ping_timeout_s) * 1000)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
