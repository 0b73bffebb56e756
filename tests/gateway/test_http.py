"""What the ports answer by themselves."""

import asyncio
import json

import pytest

from doorstep.gateway.head import parse_head
from doorstep.gateway.http import Page, Pages, make_admin_pages, make_pages, page_for
from doorstep.gateway.problem import RefusedError
from tests.gateway.wire import parse_answer, request


async def _asyncapi() -> bytes:
    return b'{"asyncapi":"3.0.0"}'


async def ask(target: str, *, method: str = "GET", pages: Pages | None = None) -> Page:
    head = parse_head(request(target, method=method))
    assert head is not None
    return await page_for(pages or make_pages(lambda: True, _asyncapi), head)


def admin_pages(*, good: bool) -> Pages:
    async def ready() -> bool:
        return good

    async def status() -> dict[str, object]:
        return {"ok": good}

    async def metrics() -> bytes:
        return b"doorstep_sockets 3\n"

    return make_admin_pages(lambda: good, ready, status, metrics)


async def test_alive_is_alive() -> None:
    answer = parse_answer((await ask("/healthz")).response({"X": "y"}))
    assert (answer.status, answer.json) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x"] == "y"


async def test_it_says_when_it_is_unwell() -> None:
    page = await ask("/healthz", pages=make_pages(lambda: False, _asyncapi))
    assert (page.status, json.loads(page.body)) == (503, {"status": "unwell"})


@pytest.mark.parametrize(("good", "status"), [(True, 200), (False, 503)])
async def test_operators_probe_life_and_readiness(good: bool, status: int) -> None:
    pages = admin_pages(good=good)
    page = await ask("/livez", pages=pages)
    assert (page.status, json.loads(page.body)) == (status, {"live": good})
    page = await ask("/readyz", pages=pages)
    assert (page.status, json.loads(page.body)) == (status, {"ready": good})
    page = await ask("/status", pages=pages)
    assert (page.status, json.loads(page.body)) == (200, {"ok": good})


async def test_metrics_and_contract_are_passed_through() -> None:
    page = await ask("/metrics", pages=admin_pages(good=True))
    assert page.body == b"doorstep_sockets 3\n"
    assert page.content_type.startswith("text/plain; version=0.0.4")
    page = await ask("/asyncapi.json")
    assert (page.body, page.content_type) == (b'{"asyncapi":"3.0.0"}', "application/json")


class Contract:
    """Counts how often it is made, which takes until it is released."""

    def __init__(self) -> None:
        self.made = 0
        self.released = asyncio.Event()

    async def make(self) -> bytes:
        self.made += 1
        await self.released.wait()
        return b'{"asyncapi":"3.0.0"}'


async def test_however_many_ask_for_the_contract_it_is_made_once() -> None:
    contract = Contract()
    pages = make_pages(lambda: True, contract.make)
    asking = [asyncio.ensure_future(ask("/asyncapi.json", pages=pages)) for _ in range(50)]
    await asyncio.sleep(0)
    asking.pop(0).cancel()  # who leaves takes it from nobody
    contract.released.set()
    assert {page.body for page in await asyncio.gather(*asking)} == {b'{"asyncapi":"3.0.0"}'}
    assert contract.made == 1
    await ask("/asyncapi.json", pages=pages)
    assert contract.made == 2


@pytest.mark.parametrize("path", ["/readyz", "/status", "/metrics"])
async def test_scrapers_that_come_together_share_one_answer(path: str) -> None:
    contract = Contract()

    async def ready() -> bool:
        return bool(await contract.make())

    async def status() -> dict[str, object]:
        return {"made": (await contract.make()).decode()}

    pages = make_admin_pages(lambda: True, ready, status, contract.make)
    asking = [asyncio.ensure_future(ask(path, pages=pages)) for _ in range(50)]
    await asyncio.sleep(0)
    contract.released.set()
    assert {page.status for page in await asyncio.gather(*asking)} == {200}
    assert contract.made == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/metrics", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("POST", "/nope", 404, "not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
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
