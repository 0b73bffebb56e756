"""What a port answers by itself: the public one, and the one for operators."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import orjson

from doorstep.gateway.head import Head
from doorstep.gateway.problem import Problem, RefusedError, http_response

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
ALLOWED_METHODS = "GET, HEAD"


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

T = TypeVar("T")


def make_pages(health: Callable[[], bool], asyncapi: Callable[[], Awaitable[bytes]]) -> Pages:
    """The pages of the public port: nothing in them is for operators only. `health`: whether it is well.

    `asyncapi` is asked once at a time: anybody may ask for a page, and a thousand who do cost what one does.
    """
    asyncapi = _shared(asyncapi)

    async def show_health(_head: Head) -> Page:
        return json_page({"status": "alive"}) if health() else json_page({"status": "unwell"}, 503)

    async def show_asyncapi(_head: Head) -> Page:
        return Page(await asyncapi())

    return {"/healthz": show_health, "/asyncapi.json": show_asyncapi}


def make_admin_pages(
    health: Callable[[], bool],
    ready: Callable[[], Awaitable[bool]],
    status: Callable[[], Awaitable[Mapping[str, object]]],
    metrics: Callable[[], Awaitable[bytes]],
) -> Pages:
    """The pages for operators. `ready`: whether this gateway can take sockets.

    Each of the three is asked once at a time: it asks every actor, however many scrapers and probes come.
    """
    ready, status, metrics = _shared(ready), _shared(status), _shared(metrics)

    async def live(_head: Head) -> Page:
        return json_page({"live": True}) if health() else json_page({"live": False}, 503)

    async def show_ready(_head: Head) -> Page:
        return json_page({"ready": True}) if await ready() else json_page({"ready": False}, 503)

    async def show_status(_head: Head) -> Page:
        return json_page(await status())

    async def show_metrics(_head: Head) -> Page:
        return Page(await metrics(), METRICS_TYPE)

    return {"/livez": live, "/readyz": show_ready, "/status": show_status, "/metrics": show_metrics}


async def page_for(pages: Pages, head: Head) -> Page:
    """The page that a request asks for; raises `RefusedError` where there is none."""
    make = pages.get(head.path)
    if make is None:
        raise RefusedError(Problem(404, "not_found", "there is nothing at this path"))
    if head.method not in ("GET", "HEAD"):
        allow = {"Allow": ALLOWED_METHODS}
        raise RefusedError(Problem(405, "method_not_allowed", f"allowed here: {ALLOWED_METHODS}", allow))
    return await make(head)


def _shared(make: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Who asks while an answer is being made gets that one."""
    making: asyncio.Future[T] | None = None

    async def ask() -> T:
        nonlocal making
        if making is None or making.done():
            making = asyncio.ensure_future(make())
        return await asyncio.shield(making)  # who leaves takes it from nobody

    return ask


def json_page(value: object, status: int = 200) -> Page:
    """A value as JSON."""
    return Page(orjson.dumps(value), status=status)
