"""The demo's web server: the page, and the services that it talks to, on one port."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from pathlib import Path

from aiohttp import web

from doorstep.demo.identity import GATEWAY_PORT, Identity
from doorstep.demo.problems import explain
from doorstep.demo.samples import sample_essays

_PAGE = Path(__file__).parent / "page"
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' http: https: ws: wss:; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_MAX_BODY_BYTES = 64 << 20


def make_site(identity: Identity, routes: Iterable[web.RouteDef], gateway_port: int) -> web.Application:
    """The application: page, sign-in, sample essays, and the services' `routes`."""
    site = web.Application(middlewares=[explain, identity.identify], client_max_size=_MAX_BODY_BYTES)
    site[GATEWAY_PORT] = gateway_port
    site.add_routes([*identity.routes(), *routes])
    site.add_routes([web.get("/demo/samples", _samples)])
    site.add_routes([web.get("/", _page), web.get(r"/{file:[\w.]+}", _page)])
    return site


@contextlib.asynccontextmanager
async def serving(site: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve on a socket that listens already."""
    runner = web.AppRunner(site, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _samples(_: web.Request) -> web.Response:
    return web.json_response([asdict(sample) for sample in sample_essays()])


async def _page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(_PAGE / request.match_info.get("file", "index.html"), headers=_HEADERS)
