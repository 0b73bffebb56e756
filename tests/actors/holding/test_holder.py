"""The holder behind its real port, on a real Valkey: everything about sockets that needs no Kafka."""

import asyncio
import contextlib
import gc
import json
import resource
import secrets
import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis
from confluent_kafka import Consumer
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from doorstep.actors.holding import audit as audit_module
from doorstep.actors.holding import holder as holder_module
from doorstep.actors.holding import waiting_room as waiting_room_module
from doorstep.actors.holding import waves as waves_module
from doorstep.actors.holding.holder import Holder
from doorstep.actors.holding.poll_subscriber import PollSubscriber
from doorstep.actors.holding.socket_subscriber import SocketSubscriber
from doorstep.actors.placement.cell import HERE, Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.runtime.logging import configure_logs
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.config.settings import Settings, load_settings
from doorstep.gateway import poll as poll_module
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.handover import Parcel, Sender
from doorstep.gateway.port import PublicPort
from tests.actors.store.helpers import START, know, stamp
from tests.conftest import ValkeyFactory
from tests.gateway.identity import SigningKey
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import SECRET, token_for
from tests.support.waiting import PATIENCE_S


@dataclass
class World:
    """One holder behind a port, and the log that it reads."""

    holder: Holder
    log: Log
    port: int
    connection: Connection
    start: str
    """The digest before the first notification of every log."""

    async def a_consumer_comes(self) -> None:
        """After a restart of Redis readers wait for that."""
        await know(self.connection)

    async def append(self, user_id: str, count: int, size: int = 10, event: str = "e") -> None:
        """Notifications of `size` characters for a user, made now."""
        made_at = datetime.now(UTC).isoformat()
        fields = {"event": event, "correlation_id": event, "timestamp": made_at, "data": {"text": "x" * size}}
        body = json.dumps(fields, separators=(",", ":")).encode()
        await self.log.append([(user_id, secrets.token_bytes(8), body) for _ in range(count)])

    def connect(self, token: str, query: str = "") -> connect_socket:
        """A socket with this token."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"ws://127.0.0.1:{self.port}/v1/ws{query}"
        return connect_socket(url, additional_headers=headers, subprotocols=[Subprotocol("doorstep.v1")])

    async def poll(self, user_id: str, query: str, origin: str | None = None) -> Any:
        """The answer to a poll, by a page of `origin`."""
        headers = {"Authorization": f"Bearer {token_for(user_id)}"} | ({"Origin": origin} if origin else {})
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/notifications?{query}", headers=headers
        )
        answer = await asyncio.to_thread(urllib.request.urlopen, request)
        return json.loads(answer.read())


async def message_of(ws: ClientConnection) -> Any:
    """The next message."""
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await ws.recv())


@contextlib.asynccontextmanager
async def silent_socket(port: int, token: str) -> AsyncIterator[None]:
    """A WebSocket whose client neither reads nor says anything after its handshake: no pong either."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.write(
        b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: doorstep.v1\r\n" + f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    yield
    writer.transport.abort()


async def until_counted(holder: Holder, value: float, name: str, **labels: str) -> None:
    """Wait until it has counted so many."""
    async with asyncio.timeout(PATIENCE_S):
        while await counted(holder, name, **labels) < value:  # noqa: ASYNC110 - nobody tells of a count
            await asyncio.sleep(0.02)


async def until_connected(holder: Holder, connections: int) -> None:
    """Wait until it has exactly so many connections."""
    async with asyncio.timeout(PATIENCE_S):
        while (await holder.status()).connections != connections:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)


def _fail(*_: object) -> None:
    raise LookupError("injected")


async def close_code(ws: ClientConnection) -> int:
    """How the server closes, with no further message."""
    with pytest.raises(ConnectionClosed) as closed:
        await message_of(ws)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


async def counted(holder: Holder, name: str, **labels: str) -> float:
    """What it has counted; 0 before the first."""
    samples = [sample for each in await holder.metrics() for sample in each.samples]
    return sum(each.value for each in samples if (each.name, each.labels) == (name, labels))


@contextlib.asynccontextmanager
async def world(valkey: ValkeyServer, run_dir: Path, **flags: Any) -> AsyncIterator[World]:
    settings: Settings = load_settings(
        None, redis={"url": valkey.url}, auth={"hs256_secret": SECRET, **flags.pop("auth", {})}, **flags
    )
    settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"port": 0})})
    run = RunDirectory(run_dir)
    holder = Holder("holder-0", settings, Cell.of(HERE, 1), run)
    authenticator = Authenticator(settings.auth)
    port = PublicPort(settings.gateway, authenticator, lambda _: [run.socket_of("holder-0")], {})
    connection = connect(settings.redis)
    await stamp(connection)
    try:
        yield World(holder, Log(connection, settings.history), await port.start(), connection, START.digest)
    finally:
        await port.stop()
        await holder.stop()
        await connection.close()


async def test_a_holder_that_runs_out_of_descriptors_refuses_and_says_so(
    valkey: ValkeyServer,
    run_dir: Path,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logs(load_settings(), "holder-0")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    async with world(valkey, run_dir, gateway={"holder_wait_s": 0.2}) as here:
        with pytest.raises(InvalidStatus) as refused:
            await here.connect(token_for(names.user()))
        assert refused.value.response.status_code == 503
        assert await counted(here.holder, "doorstep_refusals_total", code="holder_full") >= 1
    assert '"holder_full"' in capfd.readouterr().err


async def test_a_push_reaches_every_device(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    async with (
        world(valkey, run_dir) as here,
        here.connect(token_for(user)) as one,
        here.connect(token_for(user)) as two,
        here.connect(token_for(names.user("other"))) as other,
    ):
        for ws in (one, two, other):
            assert (await message_of(ws))["event"] == "doorstep.welcome"
        await here.append(user, 2)
        assert [(await message_of(ws))["seq"] for ws in (one, one, two, two)] == [1, 2, 1, 2]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(other.recv(), 0.3)
        assert [await counted(here.holder, "doorstep_pushes_total") for _ in range(2)] == [2, 2]


async def test_replay_begins_before_the_head(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here:
        await here.append(user, 5)
        async with here.connect(token_for(user), "?replay=2") as ws:
            welcome = await message_of(ws)
            assert welcome["cursor"].startswith("3-")
            assert [(await message_of(ws))["seq"] for _ in range(2)] == [4, 5]
        with pytest.raises(InvalidStatus) as refusal:
            await here.connect(token_for(user), "?replay=many")
        assert refusal.value.response.status_code == 400


async def test_the_eleventh_socket_is_refused_before_the_101_while_ten_answer(
    valkey: ValkeyServer, run_dir: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_room_module, "_LOOKS", 400)  # 20 s, if one of the ten were silent
    user = names.user()
    async with world(valkey, run_dir) as here, contextlib.AsyncExitStack() as devices:
        for _ in range(10):
            await devices.enter_async_context(here.connect(token_for(user)))
        began = time.monotonic()
        with capture_logs() as lines, pytest.raises(InvalidStatus) as refusal:
            await here.connect(token_for(user))
        assert refusal.value.response.status_code == 429
        assert json.loads(refusal.value.response.body or b"")["code"] == "too_many_connections"
        assert time.monotonic() - began < 15
        told = {"event": "request_refused", "log_level": "warning", "code": "too_many_connections"}
        assert lines == [told | {"status": 429, "user_id": user}]
        assert (await here.poll(user, ""))["reset"] is False
        await asyncio.sleep(2.2)
        assert (await here.holder.status()).connections == 10


async def test_who_was_cut_off_on_the_way_to_the_holder_takes_nobodys_place(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    async with world(valkey, run_dir, gateway={"max_sockets_per_user": 1}) as here:
        sender = Sender(RunDirectory(run_dir).socket_of("holder-0"))
        with capture_logs() as lines, socket.create_server(("127.0.0.1", 0)) as listener:
            for _ in range(3):
                client = socket.create_connection(listener.getsockname())
                ours, _ = listener.accept()
                _reset(client)
                with ours:
                    await sender.hand_over(ours, Parcel("socket", user, time.time() + 60))
                assert (await here.holder.status()).connections == 0
        sender.close()
        assert [line["event"] for line in lines] == ["connection_gone_before_it_was_open"] * 3
        async with here.connect(token_for(user)) as ws:
            assert (await message_of(ws))["event"] == "doorstep.welcome"


async def test_who_is_cut_off_while_it_waits_for_a_place_takes_nobodys_either(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    async with (
        world(valkey, run_dir, gateway={"max_sockets_per_user": 2}) as here,
        silent_socket(here.port, token_for(user)),
        here.connect(token_for(user)) as living,
    ):
        await until_connected(here.holder, 2)
        sender = Sender(RunDirectory(run_dir).socket_of("holder-0"))
        with capture_logs() as lines, socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
            with ours:
                await sender.hand_over(ours, Parcel("socket", user, time.time() + 60))
            _reset(client)
            async with here.connect(token_for(user)) as newcomer:  # which waits behind it
                for ws in (living, newcomer):
                    assert (await message_of(ws))["event"] == "doorstep.welcome"
        sender.close()
        assert [line["event"] for line in lines] == ["connection_gone_before_it_was_open"]


@pytest.mark.parametrize("query", ["", "?refuse=late"])
async def test_the_refused_who_do_not_leave_give_way_to_each_other(
    valkey: ValkeyServer, run_dir: Path, names: Names, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """One token is no way to use up a holder's descriptors, which are everybody's."""
    monkeypatch.setattr(poll_module, "LINGER_S", 60.0)
    user, most = names.user(), 20
    async with world(valkey, run_dir) as here, contextlib.AsyncExitStack() as devices:
        for _ in range(10):
            await devices.enter_async_context(here.connect(token_for(user)))
        visits = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(2 * most)]
        for reader, writer in visits:
            writer.write(_handshake(user, query))
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.gather(*(_is_cut_off(writer) for _, writer in visits[:most]))
        assert await counted(here.holder, "doorstep_refusals_total", code="too_many_connections") == len(
            visits
        )
        for _, writer in visits:
            writer.close()


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _handshake(user: str, query: str) -> bytes:
    return (
        f"GET /v1/ws{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        f"Sec-WebSocket-Protocol: doorstep.v1\r\nAuthorization: Bearer {token_for(user)}\r\n\r\n"
    ).encode()


async def _is_cut_off(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(PATIENCE_S):
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)


async def test_silent_sockets_give_way_to_new_ones(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here, contextlib.AsyncExitStack() as devices:
        living = await devices.enter_async_context(here.connect(token_for(user)))
        for _ in range(9):
            await devices.enter_async_context(silent_socket(here.port, token_for(user)))
        newcomers = await asyncio.gather(
            *(devices.enter_async_context(here.connect(token_for(user))) for _ in range(3))
        )
        for ws in (living, *newcomers):
            assert (await message_of(ws))["event"] == "doorstep.welcome"
        await here.append(user, 1)
        for ws in (living, *newcomers):
            assert (await message_of(ws))["seq"] == 1
        assert await counted(here.holder, "doorstep_replaced_sockets_total") == 3
        assert (await here.holder.status()).connections == 10


async def test_polls_have_a_limit_of_their_own(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    gateway = {"max_sockets_per_user": 1, "max_polls_per_user": 2}
    async with world(valkey, run_dir, gateway=gateway) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        head = (await here.poll(user, ""))["cursor"]
        waiting = [asyncio.create_task(here.poll(user, f"after={head}&wait=20")) for _ in range(2)]
        await until_connected(here.holder, 3)
        with pytest.raises(urllib.error.HTTPError) as refused:
            await here.poll(user, f"after={head}&wait=20")
        with refused.value as answer:
            assert answer.status == 429
        await here.append(user, 1)
        assert [len((await each)["notifications"]) for each in waiting] == [1, 1]
        assert (await here.poll(user, f"after={head}"))["notifications"]


async def test_a_token_that_expires_is_announced_once_and_then_closes(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    token = token_for(user, ttl_s=3)
    async with world(valkey, run_dir) as here, here.connect(token) as ws:
        assert (await message_of(ws))["event"] == "doorstep.welcome"
        expiring = await message_of(ws)
        assert expiring["event"] == "doorstep.token_expiring"
        assert 0 < expiring["data"]["in_ms"] <= 750
        for _ in range(3):  # a page that answers with its cached token
            await ws.send(json.dumps({"op": "refresh", "token": token}))
            assert (await message_of(ws))["event"] == "doorstep.refreshed"
        assert await close_code(ws) == 4001
        assert await counted(here.holder, "doorstep_token_refreshes_total", result="unchanged") == 3


async def test_a_refreshed_token_goes_on(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    async with (
        world(valkey, run_dir, auth={"expiry_notice_s": 1}) as here,
        here.connect(token_for(user, ttl_s=2)) as ws,
    ):
        await message_of(ws)
        await ws.send(json.dumps({"op": "refresh", "token": token_for(user)}))
        assert (await message_of(ws))["event"] == "doorstep.refreshed"
        await asyncio.sleep(2.2)
        await ws.send('{"op":"ping"}')
        assert (await message_of(ws))["event"] == "doorstep.pong"


@pytest.mark.parametrize(
    ("user", "ttl_s", "code", "result"),
    [("somebody else", 60, 4003, "other_user"), ("teacher", -60, 4001, "token_expired"),
     ("teacher", -2, 4001, "refreshed")],
)  # fmt: skip
async def test_a_refresh_with_another_users_or_an_expired_token_closes(
    *, valkey: ValkeyServer, run_dir: Path, user: str, ttl_s: float, code: int, result: str
) -> None:
    async with world(valkey, run_dir) as here, here.connect(token_for("teacher")) as ws:
        await message_of(ws)
        await ws.send(json.dumps({"op": "refresh", "token": token_for(user, ttl_s)}))
        if result == "refreshed":  # within the leeway: a good token, of which nothing is left
            assert (await message_of(ws))["event"] == "doorstep.refreshed"
        assert await close_code(ws) == code
        assert await counted(here.holder, "doorstep_token_refreshes_total", result=result) == 1


async def test_a_refresh_that_can_not_be_judged_leaves_the_socket_its_old_token(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    unjudged = {
        "token_invalid": ["no token", token_for(user) + "x", token_for(user, 60, {"iat": time.time() + 20})],
        "auth_unavailable": [SigningKey("rsa-1").sign({"sub": user})],
    }
    auth = {"jwks_url": "http://127.0.0.1:9/keys"}
    async with world(valkey, run_dir, auth=auth) as here, here.connect(token_for(user, 3)) as ws:
        await message_of(ws)
        for result, tokens in unjudged.items():
            for number, token in enumerate(tokens, 1):
                await ws.send(json.dumps({"op": "refresh", "token": token}))
                await until_counted(here.holder, number, "doorstep_token_refreshes_total", result=result)
        await here.append(user, 1)
        assert "seq" in await message_of(ws)
        assert (await message_of(ws))["event"] == "doorstep.token_expiring"
        assert await close_code(ws) == 4001


async def test_a_token_that_ends_within_the_leeway_closes_at_once(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    began = time.monotonic()
    async with world(valkey, run_dir) as here, here.connect(token_for(names.user(), ttl_s=-2)) as ws:
        assert await close_code(ws) == 4001
    assert time.monotonic() - began < 30


async def test_nothing_is_answered_before_the_welcome(
    valkey_factory: ValkeyFactory, run_dir: Path, names: Names
) -> None:
    valkey = valkey_factory()
    user = names.user()
    async with world(valkey, run_dir) as here:
        valkey.stop()
        async with here.connect(token_for(user)) as ws:
            for operation in (
                {"op": "ping"},
                {"op": "refresh", "token": token_for(user, 7200)},
                {"op": "ping"},
            ):
                await ws.send(json.dumps(operation))
            await until_counted(here.holder, 1, "doorstep_token_refreshes_total", result="refreshed")
            valkey.start()
            await here.a_consumer_comes()
            told = [(await message_of(ws))["event"] for _ in range(3)]
            assert told == ["doorstep.welcome", "doorstep.pong", "doorstep.refreshed"]


@pytest.mark.slow
async def test_a_page_of_another_origin_can_read_that_the_log_is_away(
    valkey_factory: ValkeyFactory, run_dir: Path, names: Names
) -> None:
    page = "https://app.example.org"
    valkey = valkey_factory()
    async with world(valkey, run_dir, gateway={"allowed_origins": [page]}) as here:
        valkey.stop()
        with pytest.raises(urllib.error.HTTPError) as refused:
            await here.poll(names.user(), "", origin=page)
        assert await counted(here.holder, "doorstep_refusals_total", code="log_unavailable") == 1
    with refused.value as answer:
        assert answer.status == 503
        assert json.loads(answer.read())["code"] == "log_unavailable"
        assert answer.headers["Access-Control-Allow-Origin"] == page


async def test_a_poll_with_a_malformed_cursor_is_a_counted_reset(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    async with world(valkey, run_dir) as here:
        answer = await here.poll(names.user(), "after=nonsense")
        assert (answer["reset"], answer["reset_reason"]) == (True, "malformed")
        assert await counted(here.holder, "doorstep_resets_total", reason="malformed") == 1


@pytest.mark.parametrize(
    ("cursor", "reason"), [("nonsense", "malformed"), ("7-0123456789abcdef", "diverged")]
)
async def test_a_cursor_that_can_not_be_resumed_is_told_with_the_welcome(
    *, valkey: ValkeyServer, run_dir: Path, names: Names, cursor: str, reason: str
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here:
        await here.append(user, 3)
        async with here.connect(token_for(user), f"?cursor={cursor}") as ws:
            welcome = await message_of(ws)
            assert (welcome["event"], welcome["data"]["resumed"]) == ("doorstep.welcome", False)
            assert welcome["data"]["reset"] == reason
            assert welcome["data"]["history_max_count"] == 1000
            await here.append(user, 1)
            assert (await message_of(ws))["seq"] == 4  # and no second message about it
        answer = await here.poll(user, f"after={cursor}")
        assert (answer["reset"], answer["reset_reason"]) == (True, reason)
        assert await counted(here.holder, "doorstep_resets_total", reason=reason) == 2


@pytest.mark.parametrize(
    ("token", "query", "code", "reason"),
    [
        ("no token", "", 4001, "token_invalid"),
        (token_for("teacher"), "&replay=many", 4009, "malformed_query"),
        (token_for("crowded"), "", 4008, "too_many_connections"),
    ],
)
async def test_a_page_that_asks_for_it_is_refused_after_the_101(
    *, valkey: ValkeyServer, run_dir: Path, token: str, query: str, code: int, reason: str
) -> None:
    async with (
        world(valkey, run_dir, gateway={"max_sockets_per_user": 1}) as here,
        here.connect(token_for("crowded")),
    ):
        async with here.connect(token, f"?refuse=late{query}") as ws:
            assert await close_code(ws) == code
            assert ws.close_reason == reason
        with pytest.raises(InvalidStatus):
            await here.connect(token, f"?refuse=soon{query}")


async def test_an_operation_that_is_none_breaks_the_protocol(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    async with world(valkey, run_dir) as here, here.connect(token_for(names.user())) as ws:
        await message_of(ws)
        await ws.send('{"op":"dance"}')
        assert await close_code(ws) == 4009


@pytest.mark.slow
async def test_a_socket_that_does_not_read_is_closed_and_others_are_served(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    slow, user = names.user("slow"), names.user()
    gateway = {"write_buffer_bytes": 65536, "stuck_timeout_s": 1.0}
    async with (
        world(valkey, run_dir, gateway=gateway) as here,
        here.connect(token_for(user)) as ws,
        silent_socket(here.port, token_for(slow)),
    ):
        await message_of(ws)
        for _ in range(100):
            await here.append(slow, 10, size=10_000)
        await here.append(user, 1)
        assert (await message_of(ws))["seq"] == 1
        await until_connected(here.holder, 1)


async def test_a_long_poll_is_answered_by_the_push_and_otherwise_at_its_end(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here:
        head = (await here.poll(user, ""))["cursor"]
        waiting = asyncio.create_task(here.poll(user, f"after={head}&wait=20"))
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        await here.append(user, 1)
        answer = await waiting
        assert time.monotonic() - begun < 10
        assert [notification["seq"] for notification in answer["notifications"]] == [1]
        for wait in ("0", "0.000001", "0.001", "0.3"):  # an end that comes before the log was read
            again = await here.poll(user, f"after={answer['cursor']}&wait={wait}")
            assert again == {
                "notifications": [],
                "cursor": answer["cursor"],
                "reset": False,
                "reset_reason": None,
                "read": 0,
            }


async def test_what_is_appended_together_goes_out_together(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    other = f"{user}-2"
    async with (
        world(valkey, run_dir) as here,
        here.connect(token_for(user)) as ws,
        here.connect(token_for(other)) as theirs,
    ):
        for each in (ws, theirs):
            await message_of(each)
        head = (await here.poll(user, ""))["cursor"]
        waiting, modest = (
            asyncio.create_task(here.poll(user, f"after={head}&wait=20{more}")) for more in ("", "&limit=2")
        )
        await until_connected(here.holder, 4)
        await asyncio.sleep(0.3)  # until they have read that there is nothing yet
        body = b'{"event":"e"}'
        await here.log.append([(who, secrets.token_bytes(8), body) for who in (user, other, user, user)])
        answer = await waiting
        assert [each["seq"] for each in answer["notifications"]] == [1, 2, 3]
        assert answer["cursor"] == answer["notifications"][-1]["cursor"]
        answer = await modest
        assert [each["seq"] for each in answer["notifications"]] == [1, 2]
        assert answer["cursor"] == answer["notifications"][-1]["cursor"]
        assert [(await message_of(ws))["seq"] for _ in range(3)] == [1, 2, 3]
        assert (await message_of(theirs))["seq"] == 1
        assert await counted(here.holder, "doorstep_delivered_total", event="other") == 4


async def test_what_a_user_has_read_is_told_to_all_of_the_users_devices(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    token = token_for(user)
    async with world(valkey, run_dir) as here:
        await here.append(user, 3)
        async with here.connect(token, "?replay=3") as laptop, here.connect(token) as phone:
            assert (await message_of(phone))["data"].items() >= {"read": 0, "unread": 3}.items()
            second = [await message_of(laptop) for _ in range(4)][2]
            assert second["seq"] == 2
            await laptop.send(json.dumps({"op": "read", "cursor": second["cursor"]}))
            for device in (laptop, phone):
                told = await message_of(device)
                assert (told["event"], told["data"]) == ("doorstep.read", {"read": 2, "unread": 1})
            await laptop.send(json.dumps({"op": "read", "cursor": f"3-{'0' * 16}"}))  # of no log
            head = (await here.poll(user, ""))["cursor"]
            waiting = asyncio.create_task(here.poll(user, f"after={head}&wait=20"))
            answer = await here.poll(user, f"after={head}&wait=20&read={head}")
            assert (answer["read"], (await waiting)["read"]) == (3, 3)
            for device in (laptop, phone):
                assert (await message_of(device))["data"] == {"read": 3, "unread": 0}
            await here.append(user, 1)
            assert (await message_of(phone))["seq"] == 4
        async with here.connect(token) as later:
            assert (await message_of(later))["data"].items() >= {"read": 3, "unread": 1}.items()


async def test_a_holder_that_stops_refuses_a_poll_that_has_no_cursor_yet(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    async with world(valkey, run_dir) as here:
        with redis.Redis.from_url(valkey.url) as client:
            client.flushall()
        waiting = asyncio.create_task(here.poll(names.user(), ""))
        await until_connected(here.holder, 1)
        await here.holder.stop(0.3)
        with pytest.raises(urllib.error.HTTPError) as refused:
            await waiting
        assert await counted(here.holder, "doorstep_refusals_total", code="stopping") == 1
    with refused.value as answer:
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "stopping")


async def test_a_poll_that_closes_its_side_is_answered_with_what_there_is(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    async with world(valkey, run_dir) as here:
        head = (await here.poll(names.user(), ""))["cursor"]
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(
            f"GET /v1/notifications?after={head}&wait=25 HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token_for(names.user())}\r\n\r\n".encode()
        )
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)  # and not the 25 s that it asked for
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["notifications"] == []
        writer.close()


async def test_what_a_broken_feed_missed_is_caught_up(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        await here.append(user, 1)
        assert (await message_of(ws))["seq"] == 1
        with redis.Redis.from_url(valkey.url) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await here.append(user, 3)
        assert [(await message_of(ws))["seq"] for _ in range(3)] == [2, 3, 4]


async def test_the_audit_finds_a_push_that_was_lost(
    valkey: ValkeyServer, run_dir: Path, names: Names, capfd: pytest.CaptureFixture[str]
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        with redis.Redis.from_url(valkey.url) as client:  # an append whose push never comes
            log, head, _ = Keyspace("doorstep").user(slot_of(user), user)
            client.xadd(log, {"d": here.start + "1" * 16, "n": '{"event":"e"}'}, "1-0")
            client.hset(head, mapping={"s": 1, "d": "1" * 16})
        assert (await message_of(ws))["seq"] == 1
    assert "push_lost" in "".join(capfd.readouterr())


async def test_stopping_says_when_to_come_back_in_waves(
    valkey: ValkeyServer, run_dir: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told to be back at some moment is so before the next wave is told."""
    monkeypatch.setattr(holder_module, "_WAVE_S", 0.3)
    monkeypatch.setattr(waves_module, "_PER_WAVE", 1)
    token = token_for(names.user())
    async with world(valkey, run_dir) as here, here.connect(token) as one, here.connect(token) as two:
        for ws in (one, two):
            await message_of(ws)
        told = []
        began = time.monotonic()
        stopping = asyncio.create_task(here.holder.stop())
        for ws in (one, two):
            reconnect = await message_of(ws)
            told.append(time.monotonic())
            assert reconnect["event"] == "doorstep.reconnect"
            assert 0 < reconnect["data"]["after_ms"] <= 300
            assert await close_code(ws) == 1012
        assert told[1] - began > 0.29
        await stopping


async def test_only_those_are_sent_off_whose_slots_move_once_their_holder_is_there(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    four = Cell.of(HERE, 4)
    users = [names.user(number) for number in range(40)]
    stays = next(user for user in users if four.holders_of(user)[0] == "holder-0")
    moves = next(user for user in users if four.holders_of(user)[0] == "holder-2")
    async with (
        world(valkey, run_dir) as here,
        here.connect(token_for(stays)) as staying,
        here.connect(token_for(moves)) as moving,
    ):
        for ws in (staying, moving):
            await message_of(ws)
        here.holder.belong_to(four)
        assert (await here.holder.status()).slots == SLOTS // 4 + 1
        await here.append(moves, 1)
        assert (await message_of(moving))["seq"] == 1
        for holder in four.holders[1:]:
            RunDirectory(run_dir).socket_of(holder).touch()
        assert (await message_of(moving))["event"] == "doorstep.reconnect"
        assert await close_code(moving) == 1012
        here.holder.belong_to(Cell.of(HERE, 2))
        await here.append(stays, 1)
        assert (await message_of(staying))["seq"] == 1
        assert (await here.holder.status()).slots == SLOTS // 2


@pytest.mark.parametrize(
    "message",
    [b"", b"no msgpack", msgpack.packb([1, 2, 3, 4, 5]), msgpack.packb([b"\xff", "x", b"", None, [{}]])],
)
async def test_a_message_of_the_feed_that_is_not_ours_costs_a_look_at_the_heads(
    valkey: ValkeyServer, run_dir: Path, names: Names, capfd: pytest.CaptureFixture[str], message: bytes
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        with redis.Redis.from_url(valkey.url) as client:
            for _ in range(3):
                client.publish(Keyspace("doorstep").feed(slot_of(user)), message)
        await here.append(user, 1)
        assert (await message_of(ws))["seq"] == 1
        assert await counted(here.holder, "doorstep_faults_total", where="feed") == 3
        assert await counted(here.holder, "doorstep_feed_losses_total") == 0
    assert "".join(capfd.readouterr()).count("fault_contained") == 3


@pytest.mark.parametrize("method", ["_deliver", "_tell"])
async def test_a_fault_in_serving_one_connection_closes_it_and_no_other(
    *,
    valkey: ValkeyServer,
    run_dir: Path,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    method: str,
) -> None:
    sick, user = names.user("sick"), names.user()
    works = getattr(SocketSubscriber, method)

    def fail(self: SocketSubscriber, *given: object) -> object:
        if self.user_id == sick:
            raise LookupError("injected")
        return works(self, *given)

    async with world(valkey, run_dir) as here:
        if method == "_tell":
            monkeypatch.setattr(SocketSubscriber, method, fail)
        async with here.connect(token_for(sick)) as one, here.connect(token_for(user)) as other:
            if method == "_deliver":
                await message_of(one)
            await message_of(other)
            monkeypatch.setattr(SocketSubscriber, method, fail)
            await here.append(sick, 1, event="sick")
            await here.append(user, 1)
            assert await close_code(one) == 1011
            assert (await message_of(other))["seq"] == 1
            assert await counted(here.holder, "doorstep_faults_total", where="subscriber") == 1
    if method == "_deliver":
        lines = "".join(capfd.readouterr()).split("\n")
        assert any("fault_contained" in line and "sick" in line for line in lines)


async def test_a_poll_that_fails_here_is_refused_and_not_left_waiting(
    valkey: ValkeyServer, run_dir: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PollSubscriber, "take", _fail)
    async with world(valkey, run_dir) as here:
        with pytest.raises(urllib.error.HTTPError) as refused:
            await here.poll(names.user(), "")
        assert await counted(here.holder, "doorstep_refusals_total", code="internal_error") == 1
    with refused.value as answer:
        assert (answer.status, json.loads(answer.read())["code"]) == (503, "internal_error")


def _visit(port: int, request: bytes, manner: str) -> None:
    """Say it, wait for the beginning of an answer unless it is gone at once, and leave."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(request)
        if manner != "is gone at once":
            client.recv(65536)
        if manner != "leaves":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("manner", ["leaves", "is cut off", "is gone at once"])
@pytest.mark.parametrize("target", ["/v1/ws", "/v1/ws?replay=x", "/v1/notifications?wait=5"])
async def test_who_is_gone_leaves_nothing_to_the_garbage_collector(
    valkey: ValkeyServer, run_dir: Path, names: Names, target: str, manner: str
) -> None:
    """It would hold up everybody at once, after thousands of connections."""
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: doorstep.v1\r\n"
    )
    headers = f"Authorization: Bearer {token_for(names.user())}\r\n{upgrade if 'ws' in target else ''}"
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()
    async with world(valkey, run_dir) as here:

        async def visits() -> None:
            for _ in range(10):
                await asyncio.to_thread(_visit, here.port, request, manner)
            await asyncio.sleep(0.3)
            await until_connected(here.holder, 0)

        await visits()  # what is made once is made now
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await visits()
            gc.collect()
            left = [type(each).__qualname__ for each in gc.garbage if "doorstep" in type(each).__module__]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert left == []


async def test_a_fault_in_a_refresh_is_counted_and_the_old_token_goes_on(
    valkey: ValkeyServer, run_dir: Path, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = names.user()
    async with world(valkey, run_dir) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        monkeypatch.setattr(here.holder, "authenticate", _fail)
        await ws.send(json.dumps({"op": "refresh", "token": token_for(user)}))
        await here.append(user, 1)
        assert (await message_of(ws))["seq"] == 1
        await until_counted(here.holder, 1, "doorstep_faults_total", where="task")


async def test_what_goes_over_connections_and_to_redis_becomes_metrics(
    valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    async with world(valkey, run_dir) as here:
        async with here.connect(token_for(names.user())) as ws:
            welcome = await ws.recv()
        assert await counted(here.holder, "doorstep_sent_bytes_total") > len(welcome)
        assert await counted(here.holder, "doorstep_received_bytes_total") > 0
        assert await counted(here.holder, "doorstep_redis_round_trip_seconds_count") > 0
        await until_counted(here.holder, 1, "doorstep_closes_total", code="1000")


async def test_acknowledgements_become_metrics(valkey: ValkeyServer, run_dir: Path, names: Names) -> None:
    user = names.user()
    event = "essay.slot.assigned"

    async def ack(ws: ClientConnection, cursor: str) -> None:
        await ws.send(json.dumps({"op": "ack", "cursor": cursor}))

    async with world(valkey, run_dir) as here:
        await here.append(user, 2, event=event)
        async with here.connect(token_for(user), "?replay=1") as ws:
            await message_of(ws)
            await message_of(ws)
            await here.append(user, 2, event=event)
            await here.append(user, 1)
            cursors = [(await message_of(ws))["cursor"] for _ in range(3)]
            await ack(ws, cursors[0])
            await ack(ws, cursors[2])
            await ack(ws, cursors[1])  # known already
            await ack(ws, "900-0123456789abcdef")  # never sent
            await until_counted(here.holder, 1, "doorstep_shown_total", event="other")
            await ws.send('{"op":"ping"}')
            assert (await message_of(ws))["event"] == "doorstep.pong"
        for name in ("doorstep_delivered_total", "doorstep_shown_total"):
            assert await counted(here.holder, name, event=event) == 3
            assert await counted(here.holder, name, event="other") == 1
        assert await counted(here.holder, "doorstep_delivery_seconds_count", event=event) > 0
        assert await counted(here.holder, "doorstep_shown_seconds_count", event=event) > 0


async def test_what_was_shown_is_told_to_a_topic(
    *, kafka: KafkaServer, valkey: ValkeyServer, run_dir: Path, names: Names
) -> None:
    user, topic = names.user(), names.topic("receipts")
    flags = {"kafka": {"bootstrap_servers": kafka.bootstrap}, "receipts": {"topic": topic}}
    async with world(valkey, run_dir, **flags) as here, here.connect(token_for(user)) as ws:
        await message_of(ws)
        await here.append(user, 3)
        cursors = [(await message_of(ws))["cursor"] for _ in range(3)]
        await ws.send(json.dumps({"op": "ack", "cursor": cursors[1]}))
        await ws.send(json.dumps({"op": "ack", "cursor": cursors[2]}))
        records = await asyncio.to_thread(_values_of, kafka, topic, 2)
        assert await counted(here.holder, "doorstep_receipts_dropped_total") == 0
    told = [(each["user_id"], each["from_seq"], each["to_seq"], len(each["event_ids"])) for each in records]
    assert told == [(user, 1, 2, 2), (user, 3, 3, 1)]


def _values_of(kafka: KafkaServer, topic: str, count: int) -> list[Any]:
    """The first values of a topic, once they are there."""
    options = {"bootstrap.servers": kafka.bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    reader = Consumer(options | {"topic.metadata.refresh.interval.ms": 250})
    reader.subscribe([topic])
    values: list[Any] = []
    deadline = time.monotonic() + 30
    while len(values) < count and time.monotonic() < deadline:
        record = reader.poll(0.5)
        if record is not None and not record.error():
            values.append(json.loads(record.value() or b"null"))
    reader.close()
    return values


@pytest.mark.parametrize("wrong", [b"x", b"7", b"-1-zz 0", b"\xff\xfe", None])
async def test_one_wrong_value_in_redis_is_a_reset_of_its_user_and_nobody_elses_business(
    *,
    valkey: ValkeyServer,
    run_dir: Path,
    names: Names,
    monkeypatch: pytest.MonkeyPatch,
    wrong: bytes | None,
) -> None:
    monkeypatch.setattr(audit_module, "_PAUSE_S", 0.05)
    sick, user = names.user("sick"), names.user()
    async with (
        world(valkey, run_dir) as here,
        here.connect(token_for(sick)) as one,
        here.connect(token_for(user)) as other,
    ):
        await message_of(other)
        await message_of(one)
        await here.append(sick, 1)
        assert (await message_of(one))["seq"] == 1
        with redis.Redis.from_url(valkey.url) as client:
            _, head, _ = Keyspace("doorstep").user(slot_of(sick), sick)
            client.delete(head)
            if wrong is None:
                client.rpush(head, "a value of another type")
            else:
                client.set(head, wrong)
        reset = await message_of(one)
        assert (reset["event"], reset["data"]["reason"]) == ("doorstep.reset", "gone")
        await here.append(sick, 1)
        await here.append(user, 1)
        assert (await message_of(one))["seq"] == 1
        assert (await message_of(other))["seq"] == 1
        assert await counted(here.holder, "doorstep_audit_repairs_total") == 0
