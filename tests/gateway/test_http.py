"""What the public port answers by itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from doorstep.gateway.http import Readiness, make_http
from tests.gateway.wire import Answer, exchange, request


class Node:
    """What the application asks of its node."""

    def __init__(self) -> None:
        self.readiness = Readiness(True)
        self.breaks = False

    async def ready(self) -> Readiness:
        if self.breaks:
            raise RuntimeError("a bug")
        return self.readiness

    async def metrics(self) -> bytes:
        return b"doorstep_sockets 3\n"

    async def asyncapi(self) -> bytes:
        return b'{"asyncapi":"3.0.0"}'


async def hello(_request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def swallow(request: web.Request) -> web.Response:
    return web.json_response({"size": len(await request.read())})


async def redirect(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/hello")


def mount(app: web.Application) -> None:
    app.router.add_get("/hello", hello)
    app.router.add_post("/swallow", swallow)
    app.router.add_get("/redirect", redirect)


Ask = Callable[..., Awaitable[Answer]]


@asynccontextmanager
async def serving(node: Node) -> AsyncIterator[Ask]:
    runner = make_http(node.ready, node.metrics, node.asyncapi, mount, max_body_bytes=1000)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]

    async def ask(target: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        head = request(target, "Connection: close", f"Content-Length: {len(body)}", *headers, method=method)
        return await exchange(port, head + body)

    yield ask
    await runner.cleanup()


async def test_alive_is_alive() -> None:
    async with serving(Node()) as ask:
        answer = await ask("/healthz")
        assert (answer.status, answer.json) == (200, {"status": "alive"})
        assert answer.headers["cache-control"] == "no-store"


async def test_ready_says_which_breaker_is_open_and_since_when() -> None:
    node = Node()
    async with serving(node) as ask:
        answer = await ask("/readyz")
        assert (answer.status, answer.json) == (200, {"ready": True, "reasons": {}})
        node.readiness = Readiness(False, {"redis": {"open_since": 1_790_000_000.5}})
        answer = await ask("/readyz")
        assert answer.status == 503
        assert answer.json == {"ready": False, "reasons": {"redis": {"open_since": 1_790_000_000.5}}}


async def test_metrics_are_passed_through() -> None:
    async with serving(Node()) as ask:
        answer = await ask("/metrics")
        assert (answer.status, answer.body) == (200, b"doorstep_sockets 3\n")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_the_contract_is_served() -> None:
    async with serving(Node()) as ask:
        answer = await ask("/asyncapi.json")
        assert (answer.status, answer.json) == (200, {"asyncapi": "3.0.0"})
        assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ([], "ws://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: https"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: http"], "ws://doorstep.test/v1/ws"),
    ],
)
async def test_the_endpoint_is_this_host(headers: list[str], url: str) -> None:
    async with serving(Node()) as ask:
        answer = await ask("/v1/endpoint", *headers)
        assert (answer.status, answer.json) == (200, {"url": url})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("DELETE", "/swallow", 405, "method_not_allowed"),
    ],
)
async def test_refusals_are_problems(method: str, path: str, status: int, code: str) -> None:
    async with serving(Node()) as ask:
        answer = await ask(path, method=method)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("allow" in answer.headers) == (status == 405)


async def test_more_routes_can_be_mounted() -> None:
    async with serving(Node()) as ask:
        assert (await ask("/hello")).body == b"hello"
        assert (await ask("/redirect")).headers["location"] == "/hello"
        assert (await ask("/swallow", method="POST", body=b"x" * 1000)).json == {"size": 1000}


async def test_a_body_that_is_too_large_is_a_problem() -> None:
    async with serving(Node()) as ask:
        answer = await ask("/swallow", method="POST", body=b"x" * 1001)
        assert (answer.status, answer.json["code"]) == (413, "body_too_large")


async def test_a_fault_is_a_problem_that_tells_no_secrets() -> None:
    node = Node()
    node.breaks = True
    async with serving(node) as ask:
        answer = await ask("/readyz")
        assert (answer.status, answer.json["code"]) == (503, "internal_error")
        assert b"bug" not in answer.body
