"""The demo's services on the real Kafka, and a teacher who uses them."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings, KafkaSettings
from doorstep.demo.identity import Identity
from doorstep.demo.services import running_services
from doorstep.demo.stream import create_topics
from doorstep.demo.wire import TOPICS
from tests.support.servers import KafkaServer
from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls the services as one user."""

    url: str
    user_id: str
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(default_factory=dict)

    async def get(self, path: str) -> Answer:
        """GET."""
        async with self.http.get(self.url + path, headers=self.headers) as answer:
            return Answer(answer.status, await answer.json(content_type=None))

    async def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> Answer:
        """POST of `json=` or `data=`."""
        sent = self.headers | (headers or {})
        async with self.http.post(self.url + path, headers=sent, **body) as answer:
            return Answer(answer.status, await answer.json(content_type=None))

    async def register(self, count: int) -> str:
        """A new batch; its id."""
        wanted = {"expected_essay_count": count, "course_code": "ENG5"}
        answer = await self.post("/v1/batches/register", json=wanted)
        assert answer.status == 202
        return str(answer.body["batch_id"])

    async def upload(
        self, batch_id: str, *files: tuple[str, bytes], headers: dict[str, str] | None = None
    ) -> Answer:
        """Files as one form."""
        form = aiohttp.FormData({"batch_id": batch_id}, quote_fields=False)
        for name, content in files:
            form.add_field("files", content, filename=name, content_type="text/plain")
        return await self.post("/v1/files/batch", headers=headers, data=form)

    async def settled(self, batch_id: str, files: int) -> dict[str, Any]:
        """The status of a batch, once this many files of it are settled. (It is "ready" as soon as that many
        are as essays were expected: with more files than essays, some may still be on their way.)"""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                body = (await self.get(f"/v1/batches/{batch_id}/status")).body
                if body.get("completed_essay_count", 0) + body.get("failed_essay_count", 0) >= files:
                    return dict(body)
                await asyncio.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Services:
    """Where the services are."""

    url: str
    identity: Identity
    kafka: KafkaSettings
    http: aiohttp.ClientSession

    def as_user(self, user_id: str) -> Caller:
        """Signed in as this user."""
        token = self.identity.mint(user_id)
        return Caller(self.url, user_id, self.http, {"Authorization": f"Bearer {token}"})


def auth_settings() -> AuthSettings:
    """With a secret of their own."""
    return AuthSettings(hs256_secret=SecretStr(secrets.token_hex(32)))


@contextlib.asynccontextmanager
async def services_on(bootstrap: str) -> AsyncIterator[Services]:
    """The services on this Kafka."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    await create_topics(kafka, TOPICS)
    identity = Identity(auth_settings())
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with aiohttp.ClientSession() as http, running_services(kafka, identity, listener, gateway_port=9):
        yield Services(url, identity, kafka, http)


@pytest.fixture
async def services(kafka: KafkaServer) -> AsyncIterator[Services]:
    """The services on the shared Kafka."""
    async with services_on(kafka.bootstrap) as running:
        yield running


class Tape:
    """Records of some topics, as they are on the wire, from the moment it was started."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._records: list[ConsumerRecord] = []

    async def records(self, batch_id: str, count: int) -> Sequence[ConsumerRecord]:
        """The records about a batch, once there are `count` of them."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := [one for one in self._records if batch_id in str(one.value)]) < count:
                for records in (await self._consumer.getmany(timeout_ms=200)).values():
                    self._records.extend(records)
        return found

    async def envelopes(self, batch_id: str, count: int) -> Sequence[dict[str, Any]]:
        """Their values."""
        return [orjson.loads(record.value) for record in await self.records(batch_id, count)]


@contextlib.asynccontextmanager
async def tape(bootstrap: str, *topics: str) -> AsyncIterator[Tape]:
    """Begin to record."""
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, group_id=None)
    await consumer.start()
    for partition in consumer.assignment():
        await consumer.position(partition)
    try:
        yield Tape(consumer)
    finally:
        await consumer.stop()
