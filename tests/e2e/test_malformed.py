"""Whatever a producer or a client sends, the partition goes on, the port goes on, and nothing is silent."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator

import jwt
import pytest

from tests.e2e.conftest import Launch
from tests.support.browser import Browser
from tests.support.dead_letters import read_dead_letters
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import TEACHER_TOPIC, Wire, teacher_notification
from tests.support.servers import KafkaServer
from tests.support.service import SECRET, Service, token_for

POISON: dict[str, tuple[bytes, str]] = {
    "truncated": (b'{"event_id": "x", "data": {"tea', "invalid_json"),
    "not utf-8": (b'{"event_id": "\xff\xfe"}', "invalid_json"),
    "empty": (b"", "invalid_json"),
    "a nul": (b"\0", "invalid_json"),
    "deep": (b"[" * 10_000 + b"]" * 10_000, "invalid_json"),
    "an array": (b"[1, 2, 3]", "invalid_contract"),
    "a number": (b"42", "invalid_contract"),
    "no fields": (b"{}", "invalid_contract"),
    "2 MB": (b'{"x": "' + b"a" * 2_000_000 + b'"}', "oversized"),
}


DEAD_LETTERS = "malformed.dead-letters"


@pytest.fixture(scope="module")
def service(launch: Launch) -> Iterator[Service]:
    """One for all tests here."""
    with launch(
        DOORSTEP_KAFKA__DEAD_LETTER_TOPIC=DEAD_LETTERS, DOORSTEP_AUTH__AUDIENCE="doorstep"
    ) as service:
        yield service


async def test_poison_never_stops_a_partition(
    service: Service, broker: KafkaServer, publisher: Publisher, names: Names
) -> None:
    teacher = names.user()
    wrong_type = json.loads(teacher_notification(teacher).value)
    wrong_type["data"]["priority"] = {"not": "a string"}
    poison = {**POISON, "wrong type": (json.dumps(wrong_type).encode(), "invalid_contract")}
    async with Browser(service.address, teacher, audience="doorstep") as browser:
        for number, (name, (value, _)) in enumerate(poison.items()):
            publisher.send(teacher_notification(teacher, {"number": number}), partition=3)
            publisher.send(Wire(TEACHER_TOPIC, name.encode(), value), partition=3)
            publisher.tombstone(TEACHER_TOPIC, b"tombstone")
        publisher.send(teacher_notification(teacher, {"number": len(poison)}), partition=3)
        await asyncio.to_thread(publisher.flush)
        await browser.wait_for(len(poison) + 1)
    assert [n["data"]["number"] for n in browser.journal.notifications] == list(range(len(poison) + 1))
    letters = await asyncio.to_thread(read_dead_letters, broker.bootstrap, DEAD_LETTERS, len(poison))
    assert {(letter.key or b"").decode(): letter.reason for letter in letters} == {
        name: reason for name, (_, reason) in poison.items()
    }
    for letter in letters:
        assert letter.source.startswith(f"{TEACHER_TOPIC}/3/")
        assert letter.error.keys() >= {
            "error_code",
            "message",
            "correlation_id",
            "timestamp",
            "service",
            "operation",
            "details",
        }


def refusal_of(service: Service, token: str | None) -> tuple[int, dict[str, object]]:
    """The status and the problem that answer a WebSocket's request."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "doorstep.v1",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        connection.request("GET", "/v1/ws", headers=headers)
        answer = connection.getresponse()
        assert answer.headers["Content-Type"] == "application/problem+json"
        return answer.status, json.loads(answer.read())


async def test_bad_tokens_are_refused_before_the_101_and_noise_harms_nobody(
    service: Service, names: Names
) -> None:
    user = names.user()
    bad = {
        "expired": token_for(user, -60, {"aud": "doorstep"}),
        "wrong signature": jwt.encode({"sub": user, "exp": 9e9, "aud": "doorstep"}, "y" * 40, "HS256"),
        "none": jwt.encode({"sub": user, "exp": 9e9, "aud": "doorstep"}, "", "none"),
        "wrong audience": token_for(user, 60, {"aud": "another"}),
        "no audience": token_for(user),
        "no sub": jwt.encode({"exp": 9e9, "aud": "doorstep"}, SECRET, "HS256"),
        "no exp": jwt.encode({"sub": user, "aud": "doorstep"}, SECRET, "HS256"),
        "noise": "a.b.c",
        "missing": None,
    }
    for name, token in bad.items():
        status, problem = await asyncio.to_thread(refusal_of, service, token)
        assert status == 401, name
        assert problem["status"] == 401
        assert str(problem["code"]).startswith("token_")
    await asyncio.to_thread(_make_noise, service)
    await asyncio.to_thread(service.wait_until_ready)
    log = service.process.log.read_text()
    assert "Traceback" not in log
    assert not [name for name, token in bad.items() if token and len(token) > 20 and token in log]


def _make_noise(service: Service) -> None:
    """Bytes that are no HTTP, and heads that are cut off."""
    for number in range(200):
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as sock:
            sock.sendall(os.urandom(1 + number * 7) if number % 2 else b"GET /v1/ws HTTP/1.1\r\nHost: x")
