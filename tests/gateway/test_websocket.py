"""A WebSocket against real clients: the `websockets` client, and one that breaks every rule."""

import asyncio
import socket
from itertools import pairwise

import pytest
from websockets.exceptions import ConnectionClosed

from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.frames import text_frame
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.websocket import SocketLimits, WebSocket
from tests.gateway.socket_server import ANSWER, Owner, page, raw_client, serving
from tests.gateway.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, Got, frame, upgrade
from tests.support.waiting import PATIENCE_S, a_while, until


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
async def test_frames_of_every_size_reach_a_real_client(size: int) -> None:
    async with serving() as server, page(server.port, max_size=None) as client:
        text = "é" * (size // 2) + "x" * (size % 2)
        server.owners[0].socket.send(text_frame(text.encode()))
        assert await client.recv() == text


async def test_frames_can_be_sent_joined() -> None:
    async with serving() as server, page(server.port) as client:
        server.owners[0].socket.send(b"".join(text_frame(b"%d" % number) for number in range(3)))
        assert [await client.recv() for _ in range(3)] == ["0", "1", "2"]


async def test_a_real_client_can_ping_send_and_close() -> None:
    async with serving(echo=True) as server:
        async with page(server.port) as client:
            assert client.subprotocol == "doorstep.v1"
            await client.send(["fragm", "ented", " text"])
            assert await client.recv() == "fragmented text"
            await (await client.ping())
        assert client.close_code == 1000
        await server.owners[0].closed.wait()
        assert server.owners[0].told == [b"fragmented text", "closed"]


async def test_our_subprotocol_is_chosen_and_the_token_never_repeated() -> None:
    async with (
        serving() as server,
        raw_client(server.port, upgrade("/v1/ws", "Sec-WebSocket-Protocol: bearer.x, v2")) as client,
    ):
        assert b"Sec-WebSocket-Protocol: doorstep.v1\r\n" in client.answer
        assert b"bearer" not in client.answer


async def test_compression_is_never_agreed_on() -> None:
    async with (
        serving() as server,
        page(server.port, compression="deflate") as client,
    ):
        assert client.protocol.extensions == []


@pytest.mark.parametrize("code", sorted(set(CloseCode) - {CloseCode.NO_STATUS, CloseCode.CONNECTION_LOST}))
async def test_the_server_closes_with_every_code(code: CloseCode) -> None:
    async with serving() as server, page(server.port) as client:
        owner = server.owners[0]
        owner.socket.send(text_frame(b"last"))
        owner.socket.close(code, "why")
        owner.socket.send(text_frame(b"too late"))
        owner.socket.close(CloseCode.NORMAL)
        assert await client.recv() == "last"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (code, "why")
        await owner.closed.wait()
        assert owner.told == ["closed"]


async def test_a_long_reason_is_shortened_at_a_character() -> None:
    async with serving() as server, page(server.port) as client:
        server.owners[0].socket.close(CloseCode.FORBIDDEN, "é" * 100)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_reason == "é" * 61


async def test_what_follows_the_head_is_read() -> None:
    async with (
        serving(echo=True) as server,
        raw_client(server.port, upgrade() + frame(TEXT, b"early")) as client,
    ):
        assert await client.next() == Got(TEXT, b"early")


CLOSED_1000 = frame(CLOSE, b"\x03\xe8")


@pytest.mark.parametrize(
    ("sent", "told", "answered"),
    [
        pytest.param([frame(PING, b"a" * 125)], [], [Got(PONG, b"a" * 125)], id="ping"),
        pytest.param([frame(PONG, b"unasked")], [], [], id="pong"),
        pytest.param([frame(TEXT, b"")], [b""], [Got(TEXT, b"")], id="empty"),
        pytest.param(
            [
                frame(TEXT, b"a", fin=False),
                frame(PING, b"1"),
                frame(CONT, b"", fin=False),
                frame(PING, b"2"),
                frame(CONT, b"b"),
            ],
            [b"ab"],
            [Got(PONG, b"1"), Got(PONG, b"2"), Got(TEXT, b"ab")],
            id="control frames between fragments",
        ),
        pytest.param(
            [frame(TEXT, b"\xf0\x9f", fin=False), frame(CONT, b"\x98", fin=False), frame(CONT, b"\x80")],
            ["😀".encode()],
            [Got(TEXT, "😀".encode())],
            id="a character in three fragments",
        ),
        pytest.param(
            [frame(TEXT, b"x" * 4096)], [b"x" * 4096], [Got(TEXT, b"x" * 4096)], id="as long as allowed"
        ),
    ],
)
@pytest.mark.parametrize("bytewise", [False, True])
async def test_what_a_client_may_send(
    sent: list[bytes], told: list[bytes], answered: list[Got], bytewise: bool
) -> None:
    async with serving(echo=True) as server, raw_client(server.port) as client:
        for data in [*sent, CLOSED_1000]:
            for piece in [data[index : index + 1] for index in range(len(data))] if bytewise else [data]:
                client.send(piece)
                if len(data) < 100:
                    await client.writer.drain()
                    await asyncio.sleep(0)
        assert await client.frames() == [*answered, Got(CLOSE, b"\x03\xe8")]
        assert server.owners[0].told[: len(told)] == told


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param([frame(TEXT, b"x", mask=False)], 1002, id="unmasked"),
        pytest.param([frame(TEXT, b"x", rsv=1)], 1002, id="rsv3"),
        pytest.param([frame(TEXT, b"x", rsv=4)], 1002, id="compressed"),
        pytest.param([frame(3, b"x")], 1002, id="reserved opcode"),
        pytest.param([frame(11)], 1002, id="reserved control opcode"),
        pytest.param([frame(PING, b"x" * 126)], 1002, id="long ping"),
        pytest.param([frame(PING, fin=False)], 1002, id="fragmented ping"),
        pytest.param([frame(CLOSE, b"x")], 1002, id="close with one byte"),
        pytest.param([frame(CLOSE, b"\x03\xed")], 1002, id="close with 1005"),
        pytest.param([frame(CLOSE, b"\x00\x00")], 1002, id="close with 0"),
        pytest.param([frame(CLOSE, b"\x03\xe8\xff")], 1007, id="close with a reason that is no text"),
        pytest.param([frame(CONT, b"x")], 1002, id="nothing to continue"),
        pytest.param([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002, id="text between fragments"),
        pytest.param([frame(TEXT, b"x" * 4097)], 1009, id="too long"),
        pytest.param([frame(TEXT, b"x" * (1 << 20))], 1009, id="far too long"),
        pytest.param([frame(BINARY, b"x" * 4097)], 1009, id="too long binary"),
        pytest.param(
            [frame(TEXT, b"x" * 2000, fin=False)] * 1 + [frame(CONT, b"x" * 2097)], 1009, id="sum too long"
        ),
        pytest.param([b"\x81\xff" + b"\xff" * 8], 1009, id="longer than 2^63"),
        pytest.param([frame(TEXT, b"\xff")], 1007, id="no text"),
        pytest.param([frame(TEXT, b"\xed\xa0\x80")], 1007, id="a surrogate"),
        pytest.param([frame(TEXT, b"\xc3")], 1007, id="half a character"),
        pytest.param(
            [frame(TEXT, b"\xc3", fin=False), frame(CONT, b"")], 1007, id="half a character, in two"
        ),
        pytest.param([frame(BINARY, b"x")], 1003, id="binary"),
        pytest.param([frame(BINARY, b"x", fin=False), frame(CONT, b"y")], 1003, id="binary in two"),
        pytest.param([frame(TEXT, b"raise")], 1011, id="a fault of the owner"),
    ],
)
async def test_what_a_client_may_not_send(sent: list[bytes], code: int) -> None:
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"before"), *sent, frame(TEXT, b"after"))
        (closed,) = await client.frames()
        assert (closed.opcode, closed.code) == (CLOSE, code)
        await server.owners[0].closed.wait()
        told = server.owners[0].told
        assert told[0] == b"before"
        assert told[-1] == "closed"
        assert b"after" not in told


async def test_text_that_can_not_become_valid_fails_at_once() -> None:
    """Autobahn 6.4.1: the end of the message is not waited for."""
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"\xce\xba", fin=False), frame(CONT, b"\xf4\x90\x80\x80", fin=False))
        assert (await client.frames())[0].code == 1007


async def test_what_came_before_a_wrong_frame_is_answered_first() -> None:
    """Autobahn 3.2 and others: in one segment with it."""
    async with serving(echo=True) as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"a"), frame(TEXT, b"b", rsv=2), frame(PING))
        first, second = await client.frames()
        assert first == Got(TEXT, b"a")
        assert second.code == 1002


async def test_a_close_frame_may_interrupt_a_message() -> None:
    """Autobahn 7.1.5: it is answered like any other; the rest of the message is not read."""
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"a", fin=False), CLOSED_1000, frame(CONT, b"b"))
        assert await client.frames() == [Got(CLOSE, b"\x03\xe8")]
        await server.owners[0].closed.wait()
        assert server.owners[0].told == ["closed"]


async def test_a_close_without_a_code_is_answered_likewise() -> None:
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(CLOSE))
        assert await client.frames() == [Got(CLOSE, b"")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(CLOSE, b"\x03\xe8"), "1000"),
        (frame(CLOSE, b"\x03\xe9bye"), "1001"),
        (frame(CLOSE), "1005"),
        (frame(CLOSE, b"\x0f\xa1"), "4001"),
        (frame(CLOSE, b"\x10\xe1"), "other"),
        (frame(TEXT, b"\xff"), "1007"),
        (b"\xff\x80", "1002"),
        (b"", "1006"),
    ],
)
async def test_the_first_code_of_a_close_is_counted(sent: bytes, code: str) -> None:
    async with serving() as server, raw_client(server.port) as client:
        client.send(sent)
        client.writer.write_eof()
        await client.reader.read()
        client.writer.close()
        await server.owners[0].closed.wait()
        assert closes(server.traffic) == {code: 1}


async def test_our_own_close_is_counted_once_whatever_the_client_says() -> None:
    async with serving() as server, raw_client(server.port) as client:
        server.owners[0].socket.close(CloseCode.SERVICE_RESTART)
        await client.frames()
        await server.owners[0].closed.wait()
        assert closes(server.traffic) == {"1012": 1}


def closes(traffic: Traffic) -> dict[str, float]:
    """How many sockets were closed, by code."""
    family, *_ = traffic.collect()
    return {sample.labels["code"]: sample.value for sample in family.samples}


async def test_bytes_are_counted_both_ways() -> None:
    async with serving(echo=True) as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"hello"), frame(PING, b"x"), frame(CLOSE, b"\x03\xe8"))
        rest = await client.reader.read()
        client.writer.close()
        await server.owners[0].closed.wait()
        assert server.traffic.received == len(frame(TEXT, b"hello") + frame(PING, b"x") + frame(CLOSE, b"ab"))
        assert server.traffic.sent == len(client.answer + rest)


async def test_after_our_close_frame_nothing_is_told_any_more() -> None:
    async with serving(echo=True) as server, raw_client(server.port) as client:
        server.owners[0].socket.close(CloseCode.GOING_AWAY)
        assert (await client.next()).code == 1001
        client.send(frame(TEXT, b"ignored"), frame(PING, b"x"), frame(CLOSE, b"\x03\xe9"))
        assert await client.frames() == [Got(PONG, b"x")]
        await server.owners[0].closed.wait()
        assert server.owners[0].told == ["closed"]


async def test_a_client_that_vanishes_is_told_of() -> None:
    async with serving() as server:
        async with raw_client(server.port) as client:
            client.send(frame(TEXT, b"half a")[:5])
            await client.writer.drain()
            client.writer.transport.abort()
        await asyncio.wait_for(server.owners[0].closed.wait(), PATIENCE_S)
        assert server.owners[0].told == ["closed"]


async def test_a_client_that_closes_its_side_is_closed() -> None:
    async with serving() as server, raw_client(server.port) as client:
        client.writer.write_eof()
        assert await client.frames() == []
        await server.owners[0].closed.wait()


async def test_a_client_that_does_not_answer_a_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorstep.gateway.websocket.CLOSE_TIMEOUT_S", 0.1)
    async with serving() as server, raw_client(server.port):
        server.owners[0].socket.close(CloseCode.GOING_AWAY)
        await asyncio.wait_for(server.owners[0].closed.wait(), 2)


async def test_a_client_that_does_not_close_after_a_wrong_frame_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("doorstep.gateway.websocket.CLOSE_TIMEOUT_S", 0.1)
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(3))
        await asyncio.wait_for(server.owners[0].closed.wait(), 2)


FAST = SocketLimits(ping_interval_s=0.5, ping_timeout_s=0.4)


async def test_a_client_that_answers_pings_stays() -> None:
    async with serving(FAST) as server, page(server.port) as client:
        await a_while(3 * FAST.ping_interval_s)
        assert server.owners[0].told == []
        await client.send("still there")
        await until(lambda: server.owners[0].told == [b"still there"])


async def test_pings_come_every_interval() -> None:
    now, came = asyncio.get_running_loop().time, []
    started = now()
    async with serving(FAST) as server, raw_client(server.port) as client:
        for _ in range(4):
            assert await client.next() == Got(PING, b"")
            came.append(now())
            client.send(frame(PONG))
    # None is early, and one at least is not late.
    assert came[-1] - started > 3.9 * FAST.ping_interval_s
    assert min(later - sooner for sooner, later in pairwise(came)) < 1.5 * FAST.ping_interval_s


async def test_any_byte_after_a_ping_is_a_sign_of_life() -> None:
    async with serving(FAST) as server, raw_client(server.port) as client:
        half = frame(TEXT, b"one byte at a time")
        for index in range(4):
            await client.next()
            client.send(half[index : index + 1])
        assert server.owners[0].told == []


async def test_a_client_that_says_nothing_is_cut_off() -> None:
    started = asyncio.get_running_loop().time()
    async with serving(FAST) as server, raw_client(server.port):
        await asyncio.wait_for(server.owners[0].closed.wait(), PATIENCE_S)
        assert asyncio.get_running_loop().time() - started > 0.98 * (
            FAST.ping_interval_s + FAST.ping_timeout_s
        )


async def test_what_was_said_before_the_ping_does_not_count() -> None:
    async with serving(FAST) as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"x"))
        await asyncio.wait_for(server.owners[0].closed.wait(), PATIENCE_S)


async def test_a_slow_reader_blocks_and_drains() -> None:
    limits = SocketLimits(write_buffer_bytes=8192)
    async with (
        serving(limits, small_buffers=True) as server,
        raw_client(server.port, small_buffers=True) as client,
    ):
        owner = server.owners[0]
        sent = 0
        while not owner.blocked.is_set():
            owner.socket.send(text_frame(b"x" * 1000))
            sent += 1
            assert sent < 5000
            await asyncio.sleep(0)
        assert owner.told == ["blocked"]
        for _ in range(sent):
            assert (await client.next()).payload == b"x" * 1000
        client.send(frame(TEXT, b"read again"), CLOSED_1000)
        await client.frames()
        await asyncio.wait_for(owner.closed.wait(), PATIENCE_S)
        assert owner.told == ["blocked", "drained", b"read again", "closed"]


async def test_who_does_not_read_gets_no_more_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of pings must not pile up pongs in our memory; and the blocked are not taken for the dead."""
    # The kernel's own limit would come as soon as ours here, and closes who takes nothing for that long.
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    limits = SocketLimits(write_buffer_bytes=8192, ping_interval_s=0.1, ping_timeout_s=0.05)
    async with (
        serving(limits, small_buffers=True) as server,
        raw_client(server.port, small_buffers=True) as client,
    ):
        owner = server.owners[0]
        for _ in range(200):
            client.writer.write(frame(PING, b"x" * 125) * 100)
        await asyncio.wait_for(owner.blocked.wait(), PATIENCE_S)
        await a_while(0.5)
        assert owner.blocked.is_set()
        assert set(owner.told) <= {"blocked", "drained"}
        assert owner.socket._transport is not None
        assert owner.socket._transport.get_write_buffer_size() < 2 * limits.write_buffer_bytes
        owner.socket.abort()
        await owner.closed.wait()


async def test_a_blocked_client_can_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorstep.gateway.websocket.CLOSE_TIMEOUT_S", 0.2)
    limits = SocketLimits(write_buffer_bytes=8192)
    async with (
        serving(limits, small_buffers=True) as server,
        raw_client(server.port, small_buffers=True),
    ):
        owner = server.owners[0]
        while not owner.blocked.is_set():
            owner.socket.send(text_frame(b"x" * 100_000))
            await asyncio.sleep(0)
        owner.socket.close(CloseCode.TRY_AGAIN_LATER)
        await asyncio.wait_for(owner.closed.wait(), 2)
        assert owner.told == ["blocked", "closed"]


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_a_socket_that_ends_before_it_is_accepted_says_nothing(how: str) -> None:
    ours, theirs = _tcp_pair()
    owner = Owner()
    owner.socket = WebSocket(owner, SocketLimits(), Traffic())
    if how == "close":
        owner.socket.close(CloseCode.GOING_AWAY)
    else:
        owner.socket.abort()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, ours)
    owner.socket.accept(ANSWER)
    owner.socket.send(text_frame(b"x"))
    await owner.closed.wait()
    with theirs:
        theirs.settimeout(5)
        assert _received(theirs) == b""


async def test_nothing_is_sent_before_the_101() -> None:
    ours, theirs = _tcp_pair()
    owner = Owner()
    owner.socket = WebSocket(owner, SocketLimits(), Traffic())
    await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, ours)
    owner.socket.send(text_frame(b"too early"))
    owner.socket.accept(ANSWER)
    await a_while(0.05)
    theirs.settimeout(5)
    answer = theirs.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.endswith(b"\r\n\r\n")
    theirs.close()
    await owner.closed.wait()


async def test_bytes_before_the_101_are_kept_but_not_without_end() -> None:
    ours, theirs = _tcp_pair()
    owner = Owner()
    owner.socket = WebSocket(owner, SocketLimits(), Traffic())
    await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, ours)
    theirs.sendall(frame(TEXT, b"early"))
    await a_while(0.05)
    owner.socket.accept(ANSWER)
    assert owner.told == [b"early"]
    theirs.close()
    await owner.closed.wait()

    ours, theirs = _tcp_pair()
    owner = Owner()
    owner.socket = WebSocket(owner, SocketLimits(), Traffic())
    await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, ours)
    theirs.sendall(b"x" * 100_000)
    await asyncio.wait_for(owner.closed.wait(), PATIENCE_S)
    theirs.close()


async def test_sockets_never_see_each_others_bytes() -> None:
    """Also amid messages and after faults."""
    async with serving(echo=True) as server:
        for _ in range(20):
            async with (
                raw_client(server.port) as whole,
                raw_client(server.port) as half,
                raw_client(server.port) as wrong,
            ):
                half.send(frame(TEXT, b"secret", fin=False))
                wrong.send(frame(TEXT, b"other secret")[:-3])
                await asyncio.sleep(0.002)
                wrong.writer.transport.abort()
                whole.send(frame(TEXT, b"mine"))
                assert await whole.next() == Got(TEXT, b"mine")
                half.send(frame(CONT, b" stays"))
                assert await half.next() == Got(TEXT, b"secret stays")


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    return ours, theirs


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(10_000)
    except ConnectionResetError:
        return b""
