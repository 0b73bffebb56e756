"""The HTTP application of the public port: health, readiness, metrics, where to connect, and the contract."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson
import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from doorstep.gateway.problem import PROBLEM_TYPE, Problem

_log = structlog.get_logger(__name__)

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHUTDOWN_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this node can do its work. `reasons` says what is missing, such as each open breaker and since
    when, in values that `orjson` can encode."""

    ready: bool
    reasons: Mapping[str, object] = field(default_factory=dict)


def make_http(
    readiness: Callable[[], Awaitable[Readiness]],
    metrics: Callable[[], Awaitable[bytes]],
    asyncapi: Callable[[], Awaitable[bytes]],
    mount: Callable[[web.Application], None] | None = None,
    max_body_bytes: int = 1 << 20,
) -> web.AppRunner:
    """The application. The caller sets it up (`await runner.setup()`), lets `runner.server` make protocols,
    and cleans it up at the end (`await runner.cleanup()`). `mount` adds routes.
    """
    app = web.Application(middlewares=[_problems], client_max_size=max_body_bytes)
    routes = _Routes(readiness, metrics, asyncapi)
    app.router.add_get("/healthz", routes.health)
    app.router.add_get("/readyz", routes.ready)
    app.router.add_get("/metrics", routes.show_metrics)
    app.router.add_get("/v1/endpoint", routes.endpoint)
    app.router.add_get("/asyncapi.json", routes.show_asyncapi)
    if mount is not None:
        mount(app)
    return web.AppRunner(
        app, access_log=None, logger=_quiet_log(), handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT_S
    )


class _Routes:
    def __init__(
        self,
        readiness: Callable[[], Awaitable[Readiness]],
        metrics: Callable[[], Awaitable[bytes]],
        asyncapi: Callable[[], Awaitable[bytes]],
    ) -> None:
        self._readiness = readiness
        self._metrics = metrics
        self._asyncapi = asyncapi

    async def health(self, request: web.Request) -> web.Response:
        return _json({"status": "alive"})

    async def ready(self, request: web.Request) -> web.Response:
        state = await self._readiness()
        return _json({"ready": state.ready, "reasons": dict(state.reasons)}, 200 if state.ready else 503)

    async def show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._metrics(), headers={"Content-Type": METRICS_TYPE})

    async def show_asyncapi(self, request: web.Request) -> web.Response:
        return web.Response(body=await self._asyncapi(), content_type="application/json")

    async def endpoint(self, request: web.Request) -> web.Response:
        """TLS ends in front of us, so the proxy says which scheme the client used."""
        secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
        return _json({"url": f"{'wss' if secure else 'ws'}://{request.host}/v1/ws"})


def _json(value: object, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(
        body=orjson.dumps(value), status=status, content_type="application/json", headers=headers
    )


def _quiet_log() -> logging.Logger:
    """aiohttp's log without what is the fault of clients: it quotes their bytes, a token maybe."""
    log = logging.getLogger("doorstep.gateway.http.server")
    log.addFilter(_is_our_fault)
    return log


def _is_our_fault(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Every refusal is a problem document, also those that aiohttp makes."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _answer(Problem(404, "not_found", "there is nothing at this path"))
    except web.HTTPMethodNotAllowed as exc:
        allow = ", ".join(sorted(exc.allowed_methods))
        return _answer(Problem(405, "method_not_allowed", f"allowed here: {allow}", {"Allow": allow}))
    except web.HTTPRequestEntityTooLarge:
        return _answer(Problem(413, "body_too_large", "the request body is too large"))
    except web.RequestPayloadError:
        return _answer(Problem(400, "malformed_body", "the request body can't be read"))
    except (web.HTTPException, ConnectionError):
        raise
    except Exception:
        _log.exception("http.failed", path=request.path)
        return _answer(Problem(503, "internal_error", "the request failed here; it was logged"))


def _answer(problem: Problem) -> web.Response:
    return web.Response(
        body=problem.body(),
        status=problem.status,
        headers={**problem.all_headers(), "Content-Type": PROBLEM_TYPE},
    )
