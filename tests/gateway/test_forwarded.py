"""Where a client finds this server, behind whatever stands between."""

import pytest

from doorstep.gateway.forwarded import socket_url
from doorstep.gateway.head import HeadError, parse_head
from tests.gateway.wire import request


def url(*headers: str) -> str:
    head = parse_head(request("/v1/endpoint", *headers))
    assert head is not None
    return socket_url(head)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], "ws://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: https"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: HTTPS"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: wss"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: http"], "ws://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: https,http"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: http, https"], "ws://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "wss://doorstep.test/v1/ws"),
        (["X-Forwarded-Proto:"], "ws://doorstep.test/v1/ws"),
        (["X-Forwarded-Host: events.test:8443"], "ws://events.test:8443/v1/ws"),
        (["X-Forwarded-Host: events.test, inner.test"], "ws://events.test/v1/ws"),
        (["X-Forwarded-Prefix: /door"], "ws://doorstep.test/door/v1/ws"),
        (["X-Forwarded-Prefix: /door/step/"], "ws://doorstep.test/door/step/v1/ws"),
        (["X-Forwarded-Prefix: /"], "ws://doorstep.test/v1/ws"),
    ],
)
def test_the_first_of_each_header_counts(headers: list[str], expected: str) -> None:
    assert url(*headers) == expected


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Proto: javascript",
        "X-Forwarded-Host: <script>",
        "X-Forwarded-Host: evil.test/x",
        "X-Forwarded-Host: a@evil.test",
        "X-Forwarded-Host: caf\xe9",
        "X-Forwarded-Prefix: door",
        "X-Forwarded-Prefix: //evil.test",
        "X-Forwarded-Prefix: /a?b",
        "X-Forwarded-Prefix: /<script>",
    ],
)
def test_what_makes_no_address_is_refused(header: str) -> None:
    with pytest.raises(HeadError) as caught:
        url(header)
    assert (caught.value.status, caught.value.code) == (400, "malformed_forwarded")
