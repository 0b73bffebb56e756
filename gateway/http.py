"""What the public port answers by itself: health, readiness, metrics, where to connect, and the contract."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson

from doorstep.gateway.forwarded import socket_url
from doorstep.gateway.head import Head
from doorstep.gateway.paths import ENDPOINT_PATH
from doorstep.gateway.problem import Problem, RefusedError, http_response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ALLOWED_METHODS = "GET, HEAD"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this node can do its work. `reasons` says what is missing, such as each open breaker and since
    when, in values that `orjson` can encode."""

    ready: bool
    reasons: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What stands at a path, as one answer has it."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200

    def response(self, headers: Mapping[str, str]) -> bytes:
        """A whole HTTP/1.1 answer that closes the connection."""
        return http_response(self.status, self.body, self.content_type, headers)


Pages = Mapping[str, Callable[[Head], Awaitable[Page]]]
"""By their paths."""


def make_pages(
    readiness: Callable[[], Awaitable[Readiness]],
    metrics: Callable[[], Awaitable[bytes]],
    asyncapi: Callable[[], Awaitable[bytes]],
) -> Pages:
    """The pages of a gateway that gets its answers from these."""

    async def health(_head: Head) -> Page:
        return _json({"status": "alive"})

    async def ready(_head: Head) -> Page:
        state = await readiness()
        return _json({"ready": state.ready, "reasons": dict(state.reasons)}, 200 if state.ready else 503)

    async def show_metrics(_head: Head) -> Page:
        return Page(await metrics(), METRICS_TYPE)

    async def show_asyncapi(_head: Head) -> Page:
        return Page(await asyncapi())

    async def endpoint(head: Head) -> Page:
        return _json({"url": socket_url(head)})

    return {
        "/healthz": health,
        "/readyz": ready,
        "/metrics": show_metrics,
        "/asyncapi.json": show_asyncapi,
        ENDPOINT_PATH: endpoint,
    }


async def page_for(pages: Pages, head: Head) -> Page:
    """The page that a request asks for; raises `RefusedError` where there is none."""
    make = pages.get(head.path)
    if make is None:
        raise RefusedError(Problem(404, "not_found", "there is nothing at this path"))
    if head.method not in ("GET", "HEAD"):
        allow = {"Allow": ALLOWED_METHODS}
        raise RefusedError(Problem(405, "method_not_allowed", f"allowed here: {ALLOWED_METHODS}", allow))
    return await make(head)


def _json(value: object, status: int = 200) -> Page:
    return Page(orjson.dumps(value), status=status)
