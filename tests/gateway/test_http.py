"""What the public port answers by itself."""

import json

import pytest

from doorstep.gateway.head import parse_head
from doorstep.gateway.http import Page, Readiness, make_pages, page_for
from doorstep.gateway.problem import RefusedError
from tests.gateway.wire import parse_answer, request


class Node:
    """What the pages ask of their node."""

    def __init__(self) -> None:
        self.readiness = Readiness(True)

    async def ready(self) -> Readiness:
        return self.readiness

    async def metrics(self) -> bytes:
        return b"doorstep_sockets 3\n"

    async def asyncapi(self) -> bytes:
        return b'{"asyncapi":"3.0.0"}'


async def ask(target: str, *, method: str = "GET", node: Node | None = None) -> Page:
    node = node or Node()
    head = parse_head(request(target, method=method))
    assert head is not None
    return await page_for(make_pages(node.ready, node.metrics, node.asyncapi), head)


async def test_alive_is_alive() -> None:
    answer = parse_answer((await ask("/healthz")).response({"X": "y"}))
    assert (answer.status, answer.json) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x"] == "y"


async def test_ready_says_which_breaker_is_open_and_since_when() -> None:
    node = Node()
    page = await ask("/readyz", node=node)
    assert (page.status, json.loads(page.body)) == (200, {"ready": True, "reasons": {}})
    node.readiness = Readiness(False, {"redis": {"open_since": 1_790_000_000.5}})
    page = await ask("/readyz", node=node)
    assert page.status == 503
    assert json.loads(page.body) == {"ready": False, "reasons": {"redis": {"open_since": 1_790_000_000.5}}}


async def test_metrics_and_contract_are_passed_through() -> None:
    page = await ask("/metrics")
    assert page.body == b"doorstep_sockets 3\n"
    assert page.content_type.startswith("text/plain; version=0.0.4")
    page = await ask("/asyncapi.json")
    assert (page.body, page.content_type) == (b'{"asyncapi":"3.0.0"}', "application/json")


async def test_the_endpoint_is_this_host() -> None:
    assert json.loads((await ask("/v1/endpoint")).body) == {"url": "ws://doorstep.test/v1/ws"}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/nope", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("DELETE", "/v1/endpoint", 405, "method_not_allowed"),
    ],
)
async def test_there_is_nothing_else(method: str, path: str, status: int, code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await ask(path, method=method)
    problem = caught.value.problem
    assert (problem.status, problem.code) == (status, code)
    assert ("Allow" in problem.headers) == (status == 405)


async def test_a_head_is_a_get() -> None:
    assert (await ask("/healthz", method="HEAD")).status == 200
