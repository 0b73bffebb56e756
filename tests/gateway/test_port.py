"""The public port over real sockets: who gets through, who is refused how, and who can't do harm."""

import asyncio
import random
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from doorstep.config.settings import AuthSettings
from doorstep.gateway import http_port
from tests.gateway.identity import IdentityProvider, SigningKey
from tests.gateway.node import AUTH, LARGE, EchoHolder, Node, running
from tests.gateway.socket_server import page, raw_client
from tests.gateway.test_handover import receiver_process
from tests.gateway.wire import TEXT, Answer, Got, exchange, frame, parse_answer, request, token, upgrade
from tests.support.waiting import PATIENCE_S, a_while, until


@pytest.fixture
async def node(private_directory: Path) -> AsyncIterator[Node]:
    async with running(private_directory) as node:
        yield node


UNSIGNED = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo0MDAwMDAwMDAwfQ."


def bearer(user_id: str = "teacher-1") -> str:
    return f"Authorization: Bearer {token(user_id)}"


# Getting through.


async def test_a_browser_connects_with_its_token_as_a_subprotocol(node: Node) -> None:
    offered = [Subprotocol("doorstep.v1"), Subprotocol(f"bearer.{token('teacher-7')}")]
    async with connect(
        f"ws://127.0.0.1:{node.port}/v1/ws?cursor=1-0000000000000000", subprotocols=offered
    ) as client:
        assert client.subprotocol == "doorstep.v1"
        await client.send("hello")
        assert await client.recv() == "hello"
    (parcel,) = node.holder.parcels
    assert (parcel.kind, parcel.user_id, parcel.origin) == ("socket", "teacher-7", None)
    assert parcel.query == "cursor=1-0000000000000000"
    assert parcel.expires_at == pytest.approx(time.time() + 60, abs=10)


async def test_a_program_connects_with_a_header(node: Node) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    async with page(node.port, additional_headers=headers) as client:
        await client.send("hello")
        assert await client.recv() == "hello"


async def test_a_page_behind_a_password_connects_with_its_token(node: Node) -> None:
    """The browser sends the site's Basic credentials along, and the proxy passes them on."""
    data = upgrade("/v1/ws", "Authorization: Basic dTpw", f"Sec-WebSocket-Protocol: bearer.{token('t-3')}")
    async with raw_client(node.port, data) as client:
        assert client.answer.startswith(b"HTTP/1.1 101 ")
    assert node.holder.parcels[0].user_id == "t-3"


async def test_the_query_carries_a_token_where_that_is_allowed(node: Node, private_directory: Path) -> None:
    assert (await exchange(node.port, upgrade(f"/v1/ws?token={token()}"))).json["code"] == "token_missing"
    allowing = AUTH.model_copy(update={"allow_query_token": True})
    async with (
        running(private_directory / "2", allowing) as open_node,
        raw_client(open_node.port, upgrade(f"/v1/ws?token={token()}")) as client,
    ):
        assert client.answer.startswith(b"HTTP/1.1 101 ")


async def test_frames_sent_with_the_head_are_not_lost(node: Node) -> None:
    async with raw_client(node.port, upgrade("/v1/ws", bearer()) + frame(TEXT, b"early")) as client:
        assert await client.next() == Got(TEXT, b"early")


async def test_small_frames_leave_at_once_and_the_kernel_gives_up_on_the_dead(node: Node) -> None:
    async with raw_client(node.port, upgrade("/v1/ws", bearer())):
        raw = node.holder.sockets[0]
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


async def test_a_head_may_come_in_pieces(node: Node) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    data = upgrade("/v1/ws", bearer())
    for start in range(0, len(data), 40):
        writer.write(data[start : start + 40])
        await asyncio.sleep(0.002)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    writer.close()


async def test_a_poll_goes_to_the_holder(node: Node) -> None:
    answer = await exchange(node.port, request("/v1/notifications?wait=1", bearer("teacher-7")))
    assert (answer.status, answer.body) == (200, b"teacher-7")
    assert node.holder.parcels[0].kind == "poll"


async def test_a_token_of_the_identity_provider_gets_through(private_directory: Path) -> None:
    key = SigningKey("k")
    with IdentityProvider(key.jwk()) as provider:
        async with running(private_directory, AuthSettings(jwks_url=provider.url)) as node:
            headers = f"Authorization: Bearer {key.sign()}"
            assert (await exchange(node.port, request("/v1/notifications", headers))).body == b"teacher-1"


async def test_who_is_told_which_holder(private_directory: Path) -> None:
    async with running(private_directory) as node:
        for user_id in ("a", "b"):
            answer = await exchange(node.port, request("/v1/notifications", bearer(user_id)))
            assert answer.body == user_id.encode()
        assert [parcel.user_id for parcel in node.holder.parcels] == ["a", "b"]


# HTTP on the same port.


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/healthz", 200),
        ("/asyncapi.json", 200),
        ("/livez", 404),
        ("/readyz", 404),
        ("/status", 404),
        ("/metrics", 404),
        ("/v1/endpoint", 200),
        ("/nope", 404),
        ("/", 404),
    ],
)
async def test_everything_else_is_the_http_applications(node: Node, target: str, status: int) -> None:
    answer = await exchange(node.port, request(target, "Connection: keep-alive"))
    assert answer.status == status
    assert answer.headers["connection"] == "close"


async def test_the_endpoint_is_where_the_client_came_to(node: Node) -> None:
    answer = await exchange(node.port, request("/v1/endpoint", host="doorstep.test:81"))
    assert answer.json == {"url": "ws://doorstep.test:81/v1/ws"}
    assert (await exchange(node.port, request("/v1/endpoint", method="POST"))).status == 405


async def endpoint(node: Node, *headers: str, query: str = "") -> str:
    """The address that it answers, or the code of its refusal."""
    answer = await exchange(node.port, request(f"/v1/endpoint{query}", *headers))
    return str(answer.json.get("url") or answer.json["code"])


async def test_the_endpoint_is_the_public_address_if_there_is_one(private_directory: Path) -> None:
    async with running(private_directory, public_url="wss://push.school.test/door/") as node:
        assert await endpoint(node) == "wss://push.school.test/door/v1/ws"
        assert await endpoint(node, bearer()) == "wss://push.school.test/door/v1/ws"
        assert await endpoint(node, "Authorization: Bearer x") == "wss://push.school.test/door/v1/ws"


async def test_the_endpoint_is_the_home_of_whoever_says_who_it_is(private_directory: Path) -> None:
    homes = {"anna": "edge-1", "bert": "edge-2"}
    url, auth = "wss://{node}.push.test", AUTH.model_copy(update={"allow_query_token": True})
    async with running(private_directory, auth, homes=homes, public_url=url) as node:
        assert await endpoint(node, bearer("anna")) == "wss://edge-1.push.test/v1/ws"
        assert await endpoint(node, bearer("bert")) == "wss://edge-2.push.test/v1/ws"
        assert await endpoint(node, query=f"?token={token('bert')}") == "wss://edge-2.push.test/v1/ws"
        assert await endpoint(node, f"Sec-WebSocket-Protocol: doorstep.v1, bearer.{token('anna')}") == (
            "wss://edge-1.push.test/v1/ws"
        )


async def test_who_has_no_home_or_does_not_say_who_it_is_stays_where_it_came_to(
    private_directory: Path,
) -> None:
    homes = {"anna": "edge-1"}
    async with running(private_directory, homes=homes, public_url="wss://{node}.push.test") as node:
        assert await endpoint(node) == "ws://doorstep.test/v1/ws"
        assert await endpoint(node, query=f"?token={token('anna')}") == "ws://doorstep.test/v1/ws"
        assert await endpoint(node, bearer("nobody")) == "ws://doorstep.test/v1/ws"


async def test_a_home_is_told_to_nobody_who_would_be_refused(private_directory: Path) -> None:
    homes = {"anna": "edge-1"}
    async with running(private_directory, homes=homes, public_url="wss://{node}.push.test") as node:
        expired = f"Authorization: Bearer {token('anna', lasts_s=-60)}"
        assert await endpoint(node, expired) == "token_expired"
        assert await endpoint(node, f"Authorization: Bearer {UNSIGNED}") == "token_invalid"
        assert await endpoint(node, bearer("anna"), "Origin: https://evil.test") == "origin_not_allowed"


@pytest.mark.parametrize("target", ["/healthz", "/v1/ws", "/v1/notifications", "/nope"])
@pytest.mark.parametrize(
    "header",
    [
        "Content-Length: 1",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: x",
        "Content-Encoding: gzip\r\nContent-Length: 9",
    ],
)
async def test_nobody_takes_a_body(node: Node, target: str, header: str) -> None:
    """Refused at its head, before anything of it is read."""
    for method in ("POST", "GET", "OPTIONS"):
        answer = await exchange(node.port, request(target, header, bearer(), method=method))
        assert (answer.status, answer.json["code"]) == (413, "body_not_accepted")


async def test_a_body_without_end_is_cut_off(node: Node) -> None:
    head = request("/healthz", "Transfer-Encoding: chunked", method="POST")
    async with open_client(node) as (_, writer):
        writer.write(head)
        assert await _sent_without_end(writer, b"1\r\nx\r\n" * 1000) < 64 << 20


async def _sent_without_end(writer: asyncio.StreamWriter, data: bytes) -> int:
    """How many bytes were taken until the connection was cut."""
    sent = 0
    with suppress(ConnectionError):
        while True:
            writer.write(data)
            await writer.drain()
            sent += len(data)
    return sent


@pytest.mark.parametrize("target", ["/healthz", "/v1/notifications", "/nope", "/broken"])
async def test_a_head_gets_the_head_of_an_answer(node: Node, target: str) -> None:
    async with open_client(node) as (reader, writer):
        writer.write(request(target, bearer(), method="HEAD"))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.endswith(b"\r\n\r\n")
    assert b"\r\nContent-Length: " in answer


@pytest.mark.parametrize("target", ["/healthz", "/nope", "/v1/notifications", "/large"])
async def test_who_closes_its_side_after_the_request_gets_the_answer(node: Node, target: str) -> None:
    async with open_client(node) as (reader, writer):
        writer.write(request(target, bearer()))
        writer.write_eof()
        answer = parse_answer(await asyncio.wait_for(reader.read(), PATIENCE_S))
    assert answer.status == (404 if target == "/nope" else 200)


async def test_an_answer_that_the_kernel_does_not_take_at_once_is_whole(node: Node) -> None:
    async with open_client(node) as (reader, writer):
        writer.write(request("/large"))
        await a_while(0.2)
        assert len(parse_answer(await asyncio.wait_for(reader.read(), PATIENCE_S)).body) == LARGE


async def test_a_bug_is_a_problem_that_tells_no_secrets(node: Node) -> None:
    answer = await exchange(node.port, request("/broken"))
    assert (answer.status, answer.json["code"]) == (503, "internal_error")
    assert b"secret" not in answer.body


async def test_a_target_for_a_proxy_is_understood(node: Node) -> None:
    answer = await exchange(node.port, request("http://other.test:81/v1/endpoint", host="ignored.test"))
    assert answer.json == {"url": "ws://other.test:81/v1/ws"}
    answer = await exchange(
        node.port,
        request(
            "HTTPS://doorstep.test/v1/notifications", bearer(), "Origin: https://doorstep.test", host="x"
        ),
    )
    assert answer.status == 200


async def test_refusals_are_counted_and_logged_by_code(node: Node) -> None:
    with capture_logs() as lines:
        for _ in range(30):
            await exchange(node.port, request("/v1/ws"))
            await exchange(
                node.port, request("/v1/notifications", "Origin: https://evil.test", host="here.test")
            )
            await exchange(node.port, b"nonsense\r\n\r\n")
    assert counted(node, "doorstep_gateway_refusals_total") == {
        ("upgrade_required",): 30,
        ("origin_not_allowed",): 30,
        ("malformed_head",): 30,
    }
    assert {line["event"] for line in lines} == {"request_refused"}
    told = next(line for line in lines if line["code"] == "origin_not_allowed")
    assert (told["origin"], told["host"]) == ("https://evil.test", "here.test")
    assert "DOORSTEP_GATEWAY__ALLOWED_ORIGINS" in told["hint"]


async def test_handshakes_are_counted_by_result_and_their_handover_is_timed(node: Node) -> None:
    async with raw_client(node.port, upgrade("/v1/ws", bearer())):
        pass
    await exchange(node.port, request("/v1/notifications", bearer()))
    await exchange(node.port, request("/v1/notifications?limit=x", bearer()))
    await exchange(node.port, upgrade("/v1/ws"))
    await exchange(node.port, request("/healthz"))
    assert counted(node, "doorstep_gateway_handshakes_total") == {
        ("socket", "handed_over"): 1,
        ("poll", "handed_over"): 1,
        ("poll", "malformed_query"): 1,
        ("socket", "token_missing"): 1,
    }
    assert counted(node, "doorstep_gateway_handover_seconds_count") == {(): 2}


def counted(node: Node, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric of the gateway, by the values of their labels."""
    samples = [sample for family in node.public.metrics.collect() for sample in family.samples]
    return {tuple(each.labels.values()): each.value for each in samples if each.name == name}


async def test_one_request_a_connection(node: Node) -> None:
    """So that no upgrade and no second user comes on a connection that has been looked at once."""
    assert (await exchange(node.port, request("/healthz") + upgrade("/v1/ws", bearer()))).status == 200
    assert node.holder.parcels == []


@pytest.mark.parametrize("target", ["/healthz", "/nope", "/v1/ws/", "/v1%2Fws", "/V1/ws"])
async def test_no_other_path_upgrades(node: Node, target: str) -> None:
    answer = await exchange(node.port, upgrade(target, bearer()))
    assert answer.status in (200, 404)
    assert node.holder.parcels == []


# Being refused.


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (upgrade, 401, "token_missing"),
        (lambda: upgrade("/v1/ws", "Authorization: Basic dTpw"), 401, "token_missing"),
        (lambda: upgrade("/v1/ws", "Authorization: Bearer x"), 401, "token_invalid"),
        (lambda: upgrade("/v1/ws", f"Authorization: Bearer {token(lasts_s=-1)}"), 401, "token_expired"),
        (lambda: upgrade("/v1/ws", f"Authorization: Bearer {UNSIGNED}"), 401, "token_invalid"),
        (lambda: upgrade("/v1/ws", bearer("")), 401, "token_invalid"),
        (lambda: upgrade("/v1/ws", bearer(), "Origin: https://evil.test"), 403, "origin_not_allowed"),
        (lambda: upgrade("/v1/ws", bearer(), "Origin: null"), 403, "origin_not_allowed"),
        (lambda: request("/v1/ws", bearer()), 400, "upgrade_required"),
        (lambda: request("/v1/ws", bearer(), method="POST"), 405, "method_not_allowed"),
        (
            lambda: upgrade("/v1/ws", bearer()).replace(b": doorstep.v1", b": bearer.x"),
            400,
            "subprotocol_missing",
        ),
        (
            lambda: upgrade("/v1/ws", bearer()).replace(b"Version: 13", b"Version: 8"),
            400,
            "websocket_version",
        ),
        (lambda: upgrade("/v1/ws", bearer()).replace(b"Key: ", b"Key: x"), 400, "malformed_upgrade"),
        (lambda: upgrade("/v1/ws", bearer(), "Content-Length: 5"), 413, "body_not_accepted"),
        (lambda: request("/healthz", "Expect: 100-continue"), 417, "expectation_failed"),
        (lambda: request("/healthz", "Expect: x"), 417, "expectation_failed"),
        (lambda: request("/v1/endpoint", host="caf\xe9"), 400, "malformed_host"),
        (lambda: request("/v1/endpoint", host=""), 400, "malformed_host"),
        (lambda: request("/v1/endpoint", host="<script>"), 400, "malformed_host"),
        (lambda: request("/v1/endpoint", "X-Forwarded-Host: <script>"), 400, "malformed_forwarded"),
        (lambda: b"GET /v1/endpoint HTTP/1.0\r\n\r\n", 400, "malformed_forwarded"),
        (lambda: request("/healthz", method="DELETE"), 405, "method_not_allowed"),
        (lambda: upgrade("/v1/ws", bearer(), host=None), 400, "missing_host"),
        (lambda: upgrade("/v1/ws", bearer(), "Host: b"), 400, "repeated_header"),
        (lambda: request("/v1/notifications"), 401, "token_missing"),
        (
            lambda: request("/v1/notifications", bearer(), "Origin: https://evil.test"),
            403,
            "origin_not_allowed",
        ),
        (lambda: request("/v1/notifications", bearer(), method="POST"), 405, "method_not_allowed"),
        (lambda: request("/v1/notifications?limit=x", bearer()), 400, "malformed_query"),
        (lambda: request("/", "X: " + "x" * 17_000), 431, "head_too_large"),
        (lambda: request("/", *(f"X-{number}: y" for number in range(200))), 431, "too_many_headers"),
        (lambda: b"GET / HTTP/1.1\nHost: a\n\n", 400, "malformed_head"),
        (lambda: b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400, "malformed_head"),
        (lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_head"),
    ],
)
async def test_refusals_come_as_problems_before_any_upgrade(
    node: Node, data: Callable[[], bytes], status: int, code: str
) -> None:
    answer = await exchange(node.port, data())
    assert (answer.status, answer.json["code"], answer.json["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert node.holder.parcels == []


async def test_a_real_client_reads_the_refusal(node: Node) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await page(node.port)
    assert caught.value.response.status_code == 401
    assert b"token_missing" in caught.value.response.body


async def test_a_refusal_is_read_even_by_who_is_still_sending(node: Node) -> None:
    """Closing at once would reset the connection, and the answer would be lost."""
    head = b"GET / HTTP/1.1\r\nX: "
    assert (await exchange(node.port, head + b"x" * 1_000_000)).json["code"] == "head_too_large"


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "passes"),
    [
        ("https://doorstep.test", "doorstep.test", (), True),
        ("https://app.test", "doorstep.test", (), False),
        ("https://app.test", "doorstep.test", ("https://app.test",), True),
        ("https://doorstep.test", "doorstep.test", ("https://app.test",), False),
        ("https://any.test", "doorstep.test", ("*",), True),
        ("https://a.school.test", "doorstep.test", ("https://*.School.test:443/",), True),
    ],
)
async def test_origins(
    private_directory: Path, origin: str, host: str, allowed: tuple[str, ...], passes: bool
) -> None:
    async with running(private_directory, allowed_origins=allowed) as node:
        data = request("/v1/notifications", bearer(), f"Origin: {origin}", host=host)
        answer = await exchange(node.port, data)
        assert answer.status == (200 if passes else 403)
        assert answer.headers.get("access-control-allow-origin") == (origin if passes else None)


@pytest.mark.parametrize("path", ["/v1/notifications", "/v1/endpoint"])
async def test_a_page_of_an_allowed_origin_may_fetch(private_directory: Path, path: str) -> None:
    async with running(private_directory, allowed_origins=("https://app.test",)) as node:
        asks = ["Origin: https://app.test", "Access-Control-Request-Method: GET"]
        preflight = await exchange(node.port, request(path, *asks, method="OPTIONS"))
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == "https://app.test"
        assert preflight.headers["access-control-allow-headers"] == "Authorization, traceparent"
        assert "GET" in preflight.headers["access-control-allow-methods"]
        for method in ("GET", "POST"):
            answer = await exchange(node.port, request(path, "Origin: https://app.test", method=method))
            assert answer.headers["access-control-allow-origin"] == "https://app.test"
        foreign = request(path, "Origin: https://evil.test", method="OPTIONS")
        assert (await exchange(node.port, foreign)).status == 403


async def test_an_identity_provider_out_of_reach_is_no_fault_of_the_client(private_directory: Path) -> None:
    unreachable = AuthSettings(jwks_url="http://127.0.0.1:9/keys")
    async with running(private_directory, unreachable) as node:
        answer = await exchange(
            node.port, upgrade("/v1/ws", f"Authorization: Bearer {SigningKey('k').sign()}")
        )
        assert (answer.status, answer.json["code"]) == (503, "auth_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


# Holders that are not there.


async def test_without_a_holder_it_waits_then_refuses(private_directory: Path) -> None:
    async with running(private_directory, holder=False, holder_wait_s=0.3) as node:
        started = time.monotonic()
        answer = await exchange(node.port, upgrade("/v1/ws", bearer()))
        assert 0.3 <= time.monotonic() - started < 10
        assert (answer.status, answer.json["code"]) == (503, "holder_unavailable")
        assert "retry-after" in answer.headers


async def test_a_user_without_a_holder_is_refused(private_directory: Path) -> None:
    async with running(private_directory, holder_wait_s=0.1) as node:
        node.public._holders_of = lambda _: []
        assert (await exchange(node.port, upgrade("/v1/ws", bearer()))).status == 503


@asynccontextmanager
async def next_holder(node: Node) -> AsyncIterator[EchoHolder]:
    """One that is asked after the node's own."""
    path = node.path.with_name("next")
    following = EchoHolder(path)
    await following.start()
    node.public._holders_of = lambda _: [node.path, path]
    yield following
    await following.stop()


@pytest.mark.parametrize("owner", ["away", "full"])
async def test_the_next_holder_takes_whom_the_owner_can_not(private_directory: Path, owner: str) -> None:
    async with running(private_directory, holder=owner == "full") as node, next_holder(node):
        node.holder.refuses = True
        assert (await exchange(node.port, request("/v1/notifications", bearer()))).status == 200


async def test_nobody_else_is_asked_while_a_frozen_holder_may_take_it_yet(private_directory: Path) -> None:
    async with (
        running(private_directory, holder=False, holder_wait_s=0.3) as node,
        receiver_process(private_directory) as frozen,
        next_holder(node) as following,
    ):
        frozen.signal(signal.SIGSTOP)
        answer = await exchange(node.port, request("/v1/notifications", bearer()))
        frozen.signal(signal.SIGCONT)
        assert answer.json["code"] == "holder_unavailable"
        assert following.parcels == []


async def test_a_holder_that_refuses_is_asked_again(private_directory: Path) -> None:
    async with running(private_directory) as node:
        node.holder.refuses = True
        asking = asyncio.create_task(exchange(node.port, request("/v1/notifications", bearer())))
        await asyncio.sleep(0.2)
        node.holder.refuses = False
        assert (await asking).status == 200


async def test_a_holder_that_restarts_is_waited_for(private_directory: Path) -> None:
    async with running(private_directory, holder=False) as node:
        asking = asyncio.create_task(exchange(node.port, request("/v1/notifications", bearer())))
        await asyncio.sleep(0.2)
        await node.holder.start()
        assert (await asking).status == 200


async def test_clients_of_a_holder_that_is_killed_get_to_its_successor(private_directory: Path) -> None:
    """Real processes: the first holder dies holding the socket, before it says that it has it."""
    async with (
        running(private_directory, holder=False, holder_wait_s=30) as node,
        receiver_process(private_directory, "dies") as dying,
        open_client(node) as (reader, writer),
    ):
        writer.write(upgrade("/v1/ws", bearer("teacher-9")))
        while dying.running:  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.01)
        async with receiver_process(private_directory):
            assert await asyncio.wait_for(reader.readline(), 20) == b"hello teacher-9\n"


async def test_a_frozen_holder_gets_no_say_after_the_refusal(private_directory: Path) -> None:
    async with (
        running(private_directory, holder=False, holder_wait_s=0.5) as node,
        receiver_process(private_directory) as holder,
        open_client(node) as (reader, writer),
    ):
        assert (await _greeting(node, "first")) == b"hello first\n"
        holder.signal(signal.SIGSTOP)
        writer.write(upgrade("/v1/ws", bearer()))
        answer = parse_answer(await asyncio.wait_for(reader.read(), PATIENCE_S))
        assert answer.json["code"] == "holder_unavailable"
        holder.signal(signal.SIGCONT)
        assert (await _greeting(node, "second")) == b"hello second\n"
        assert await reader.read() == b""


@asynccontextmanager
async def open_client(node: Node) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _greeting(node: Node, name: str) -> bytes:
    async with open_client(node) as (reader, writer):
        writer.write(upgrade("/v1/ws", bearer(name)))
        return await asyncio.wait_for(reader.readline(), PATIENCE_S)


# Clients that mean ill.


async def test_a_head_that_trickles_is_refused_in_time(private_directory: Path) -> None:
    async with running(private_directory, head_timeout_s=0.5) as node, open_client(node) as (reader, writer):
        started = time.monotonic()
        answering = asyncio.create_task(reader.read())
        for byte in request("/healthz", "X: " + "x" * 3000):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if answering.done():
                break
        assert 0.4 < time.monotonic() - started < 10
        answer = parse_answer(answering.result())
        assert (answer.status, answer.json["code"]) == (408, "head_timeout")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(private_directory: Path) -> None:
    async with running(private_directory, head_timeout_s=0.3) as node, open_client(node) as (reader, _):
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""


async def test_a_client_that_leaves_amid_its_head_leaves_nothing(
    node: Node, open_sockets: Callable[[], int]
) -> None:
    before = open_sockets()
    for how in ("close", "abort"):
        async with open_client(node) as (_, writer):
            writer.write(b"GET / HT")
            await writer.drain()
            await asyncio.sleep(0.01)
            if how == "abort":
                writer.transport.abort()
    await until(lambda: open_sockets() == before)


@pytest.mark.slow
async def test_many_trickling_handshakes_cost_others_nothing(private_directory: Path) -> None:
    async with running(private_directory, head_timeout_s=3) as node:
        trickling = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(400)]

        async def trickle() -> None:
            while True:
                for _, writer in trickling:
                    writer.write(b"G")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(trickle())
        # From now on: who is refused and trickles on is reset in the end, and would read nothing then.
        reading = [asyncio.create_task(reader.read()) for reader, _ in trickling]
        times = []
        for _ in range(100):
            started = time.monotonic()
            assert (await exchange(node.port, request("/v1/notifications", bearer()))).status == 200
            times.append(time.monotonic() - started)
        assert sorted(times)[98] < 1
        ended = await asyncio.wait_for(asyncio.gather(*reading), PATIENCE_S)
        task.cancel()
        assert all(parse_answer(data).status in (400, 408) for data in ended)
        for _, writer in trickling:
            writer.close()


async def test_the_oldest_unfinished_head_gives_way(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "MAX_ARRIVALS", 3)
    async with running(private_directory) as node:
        waiting = [await asyncio.open_connection("127.0.0.1", node.port) for _ in range(3)]
        await a_while(0.02)
        assert (await exchange(node.port, request("/healthz"))).status == 200
        assert await asyncio.wait_for(waiting[0][0].read(), 20) == b""
        for reader, writer in waiting[1:]:
            writer.write(request("/healthz"))
            assert parse_answer(await reader.read()).status == 200
            writer.close()
        waiting[0][1].close()


async def test_the_refused_who_do_not_leave_give_way(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "MAX_LEAVING", 3)
    async with running(private_directory) as node:
        staying = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            writer.write(request("/v1/ws"))
            assert parse_answer(await reader.read()).status == 400
            staying.append(writer)
        assert len(node.public._http._leaving) == 3
        for writer in staying:
            writer.close()


async def test_the_refused_who_do_not_leave_are_cut_off(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "LINGER_S", 0.1)
    async with running(private_directory) as node, open_client(node) as (reader, writer):
        writer.write(request("/v1/ws"))
        assert parse_answer(await reader.read()).status == 400
        await until(lambda: node.public._http._leaving == {})


async def test_without_free_descriptors_clients_wait(
    node: Node, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    client = socket.socket()
    client.setblocking(False)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All below are in use for ever, so none becomes free in the middle; open ones above go on.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", node.port))
        client.send(request("/v1/ws"))
        await asyncio.sleep(0.5)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
    data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 10_000), PATIENCE_S)
    assert data.startswith(b"HTTP/1.1 400 ")
    client.close()
    assert "".join(capfd.readouterr()).count("accept_failed") == 1
    assert caplog.text == ""


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["/v1/ws", "/v1/notifications", "/healthz", "*", ""]),
    st.lists(
        st.one_of(
            st.text(st.characters(max_codepoint=255), max_size=40),
            st.sampled_from(
                [
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Version: 13",
                    "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcy4uLg==",
                    "Content-Length: 3",
                    "Content-Length: -1",
                    "Transfer-Encoding: chunked",
                    "Transfer-Encoding: gzip",
                    "Content-Encoding: deflate",
                    "Expect: 100-continue",
                    "Authorization: Bearer a.b.c",
                    "Origin: \xff",
                    "\x00",
                ]
            ),
        ),
        max_size=6,
    ),
    st.binary(max_size=100),
    st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "CONNECT", "TRACE", "X"]),
)
async def test_any_request_ends_in_an_answer_or_a_closed_connection(
    private_directory: Path, target: str, headers: list[str], body: bytes, method: str
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    with capture_logs() as lines:
        async with (
            running(private_directory, head_timeout_s=0.2) as node,
            open_client(node) as (reader, writer),
        ):
            writer.write(request(target, *headers, method=method) + body)
            writer.write_eof()
            with suppress(ConnectionError):
                data = await asyncio.wait_for(reader.read(), PATIENCE_S)
                assert data == b"" or data.startswith(b"HTTP/1.")
            assert node.holder.parcels == []
    assert {line["event"] for line in lines} <= {"request_refused"}  # and never a traceback
    assert faults == []


async def test_no_log_shows_a_token(
    private_directory: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    used = [token(f"teacher-{number}", lasts_s=60 if number % 2 else -60) for number in range(6)]
    allowing = AUTH.model_copy(update={"allow_query_token": True})
    async with running(private_directory, allowing, holder_wait_s=0.1) as node:
        for refuses in (False, True):
            node.holder.refuses = refuses
            for text in used:
                for data in (
                    upgrade("/v1/ws", f"Authorization: Bearer {text}"),
                    upgrade("/v1/ws", f"Sec-WebSocket-Protocol: doorstep.v1, bearer.{text}"),
                    upgrade(f"/v1/ws?token={text}"),
                    request(f"/v1/notifications?token={text}&limit=x"),
                    request(f"/nope?token={text}"),
                    request("/v1/ws", f"Authorization: Bearer {text}", "bad header"),
                ):
                    async with open_client(node) as (reader, writer):
                        writer.write(data)
                        answer = await reader.readuntil(b"\r\n\r\n")
                        assert text.encode() not in answer
        client_op = b'{"op":"refresh","token":"' + used[1].encode() + b'"}'
        node.holder.refuses = False
        async with raw_client(node.port, upgrade("/v1/ws", bearer())) as client:
            client.send(frame(TEXT, client_op), frame(TEXT, client_op, rsv=1))
            await client.frames()
    shown = "".join(capfd.readouterr()) + caplog.text
    assert "handover_failed" in shown
    shown += repr(node.holder.parcels)
    for text in used:
        for part in text.split(".")[1:]:
            assert part not in shown


# Coming and going.


async def test_descriptors_are_given_back(node: Node, open_sockets: Callable[[], int]) -> None:
    async def all_kinds() -> None:
        for data in (
            request("/healthz"),
            request("/v1/notifications", bearer()),
            request("/v1/notifications"),
            upgrade("/v1/ws"),
            b"nonsense\r\n\r\n",
        ):
            await exchange(node.port, data)
        async with raw_client(node.port, upgrade("/v1/ws", bearer())) as client:
            client.send(frame(8, b"\x03\xe8"))
            await client.frames()

    await all_kinds()
    await a_while(0.1)
    before = open_sockets()
    for _ in range(10):
        await asyncio.gather(*(all_kinds() for _ in range(5)))
    await until(lambda: open_sockets() <= before)


async def test_stopping_closes_whoever_is_still_coming_in(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    before = open_sockets()
    async with (
        running(private_directory, holder=False, holder_wait_s=30) as node,
        open_client(node) as silent,
        open_client(node) as waiting,
        open_client(node) as refused,
    ):
        waiting[1].write(upgrade("/v1/ws", bearer()))
        refused[1].write(request("/v1/ws"))
        assert (await refused[0].read()).startswith(b"HTTP/1.1 400 ")
        await a_while(0.1)
        await asyncio.wait_for(node.public.stop(), 20)
        await node.public.stop()
        assert await silent[0].read() == b""
        assert await waiting[0].read() == b""
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", node.port)
    await until(lambda: open_sockets() == before)


async def test_a_taken_port_is_an_error(node: Node, private_directory: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        async with running(private_directory / "2", port=node.port):
            pass


async def test_it_listens_on_ipv6_too(private_directory: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    async with running(private_directory, host="::1") as node:
        reader, writer = await asyncio.open_connection("::1", node.port)
        writer.write(request("/healthz"))
        assert parse_answer(await reader.read()).status == 200
        writer.close()


async def test_many_clients_at_once(node: Node) -> None:
    async def visit(number: int) -> bytes:
        await asyncio.sleep(random.random() / 10)
        answer: Answer = await exchange(node.port, request("/v1/notifications", bearer(f"user-{number}")))
        return answer.body

    bodies = await asyncio.gather(*(visit(number) for number in range(300)))
    assert bodies == [f"user-{number}".encode() for number in range(300)]
