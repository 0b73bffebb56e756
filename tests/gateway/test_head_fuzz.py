"""Random request heads: each is read, waited for or refused, by everything that looks at one."""

import random
from collections import Counter

import pytest

from doorstep.gateway.auth import bearer_of
from doorstep.gateway.forwarded import socket_url
from doorstep.gateway.head import Head, HeadError, parse_head
from doorstep.gateway.origin import OriginPolicy
from doorstep.gateway.poll import PollRequest
from doorstep.gateway.problem import PHRASES, problem_of
from doorstep.gateway.query import SocketRequest
from doorstep.gateway.upgrade import is_websocket_upgrade, switching_protocols
from tests.support.fuzz import fuzz

pytestmark = pytest.mark.patient

METHODS = ("GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "CONNECT", "X", "G(T", "")
TARGETS = (
    "/v1/ws", "/v1/ws?cursor=1-0123456789abcdef&replay=3", "/v1/notifications?wait=x", "/v1/endpoint", "*",
    "http://a.test/v1/endpoint", "http://u@a.test", "https://[::1]:80?x", "a.test:80", "/%0", "/#", "",
)  # fmt: skip
HEADERS = (
    "Host: a.test", "Host: a.test", "Host: a.test", "Host:", "Host: <script>", "Host: caf\xe9", "Host : a",
    "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8",
    "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==", "Sec-WebSocket-Key: \xff",
    "Sec-WebSocket-Protocol: doorstep.v1, bearer.a.b.c", "Authorization: Bearer x", "Authorization: Basic x",
    "Origin: https://a.test", "Origin: null", "Origin: https://\xff", "X-Forwarded-Proto: https,http",
    "X-Forwarded-Host: b.test", "X-Forwarded-Prefix: /x", "X-Forwarded-Prefix: ?", "Expect: 100-continue",
    "Content-Length: 0", "Content-Length: 7", "Content-Length: -1", "Content-Length: \xb2",
    "Transfer-Encoding: chunked", "Content-Encoding: gzip", "X:", ": x", " folded", "no colon", "X: \x01",
)  # fmt: skip
ORIGINS = OriginPolicy()


def random_head(chance: random.Random) -> bytes:
    version = chance.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", ""))
    lines = [f"{chance.choice(METHODS)} {chance.choice(TARGETS)} {version}"]
    lines += chance.choices(HEADERS, k=chance.randrange(6))
    if chance.random() < 0.7:
        lines.append("Host: a.test:8000")
    end = chance.choice(("\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"))
    data = bytearray((end.join(lines) + end + end).encode("latin-1"))
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def look_at(head: Head) -> None:
    """All that the port does with a head before it knows the user."""
    is_websocket_upgrade(head)
    ORIGINS.allows(head.get("origin"), head.get("host"))
    bearer_of(head, allow_query=True)
    for read in (
        switching_protocols,
        socket_url,
        lambda head: PollRequest.parse(head.query),
        lambda head: SocketRequest.parse(head.query, 1000),
    ):
        try:
            read(head)
        except HeadError as error:
            problem_of(error).response()


@pytest.mark.fuzz
@pytest.mark.usefixtures("without_coverage")
def test_random_heads_are_read_or_refused() -> None:
    ends: Counter[int | str] = Counter()
    for chance in fuzz():
        data = random_head(chance)
        try:
            head = parse_head(data)
        except HeadError as error:
            problem_of(error).response()
            ends[error.status] += 1
        else:
            ends["waits" if head is None else "read"] += 1
            if head is not None:
                look_at(head)
    assert ends.keys() <= {"waits", "read", *PHRASES}
    assert ends.keys() >= {"waits", "read", 400, 413, 417}
