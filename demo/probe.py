"""A first file, to see whether everything is connected."""

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

import aiohttp

from doorstep.demo.identity import Identity

_AGAIN_S = 0.2


async def send_probe(url: str, gateway_url: str, identity: Identity) -> None:
    """Upload a file as a user of its own; returns when Doorstep has the notification of its essay.

    `url`: of the services. Raises `aiohttp.ClientError` where one of them refuses or is out of reach.
    """
    token = identity.mint(f"demo-probe-{uuid.uuid4()}")
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers, raise_for_status=True) as http:
        cursor = (await _poll(http, gateway_url, ""))["cursor"]
        await _upload(http, url)
        while not (await _poll(http, gateway_url, f"?after={cursor}&wait=5"))["notifications"]:
            pass


async def _upload(http: aiohttp.ClientSession, url: str) -> None:
    wanted = {"expected_essay_count": 1, "course_code": "ENG5"}
    async with http.post(f"{url}/v1/batches/register", json=wanted) as answer:
        form = aiohttp.FormData({"batch_id": (await answer.json())["batch_id"]})
    form.add_field("files", b"Is anybody there?", filename="first.txt")
    async with http.post(f"{url}/v1/files/batch", data=form):
        pass


async def _poll(http: aiohttp.ClientSession, gateway_url: str, query: str) -> dict[str, Any]:
    """A page; a log is out of reach (503) until the first consumer has found its place."""
    while True:
        async with http.get(f"{gateway_url}/v1/notifications{query}", raise_for_status=False) as answer:
            if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
                answer.raise_for_status()
                page: dict[str, Any] = await answer.json()
                return page
        await asyncio.sleep(_AGAIN_S)
