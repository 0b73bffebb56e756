"""The page is served whole, with a policy that lets it load nothing from elsewhere."""

import re

import pytest
from yarl import URL

from tests.demo.conftest import Caller, Services


async def fetch(services: Services, path: str) -> tuple[int, str, str]:
    async with services.http.get(URL(services.url + path, encoded=True)) as answer:
        return answer.status, answer.headers.get("Content-Security-Policy", ""), await answer.text()


async def test_everything_that_the_page_names_is_there(services: Services) -> None:
    status, policy, page = await fetch(services, "/")
    assert status == 200
    assert "default-src 'self'" in policy
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert named == {"./icon.svg", "./app.css", "./app.js"}
    for file in named:
        assert (await fetch(services, f"/{file[2:]}"))[0] == 200


@pytest.mark.parametrize("path", ["/nothing.js", "/..%2fcli.py", "/%2e%2e/cli.py", "/page", "//", "/%2e%2e"])
async def test_nothing_else_is_served(services: Services, path: str) -> None:
    assert (await fetch(services, path))[0] in (403, 404)


async def test_the_samples_are_thirty_different_essays(services: Services) -> None:
    samples = (await Caller(services.url, "", services.http).get("/demo/samples")).body
    assert len({one["name"] for one in samples}) == len({one["text"] for one in samples}) == 30
    assert all(one["text"].strip() and one["name"].endswith(".txt") for one in samples)
