"""A client that sends without end: the others keep their turns, and it is closed."""

import asyncio

import pytest

from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.websocket import SocketLimits
from tests.gateway.socket_server import RawClient, raw_client, serving
from tests.gateway.wire import CLOSE, CONT, PING, PONG, TEXT, Got, frame

NO_RATE = SocketLimits(max_frames_per_s=1e9)
FLOODS = {
    "pings": (b"", frame(PING)),
    "long pings": (b"", frame(PING, b"x" * 125)),
    "pongs": (b"", frame(PONG)),
    "operations": (b"", frame(TEXT, b'{"op":"ping"}')),
    "empty fragments": (frame(TEXT, fin=False), frame(CONT, fin=False)),
}


async def test_others_keep_their_turns_during_a_flood() -> None:
    """Told by the order of things, not by time: when it is their turn, most of the flood is still unread."""
    number = 20_000
    async with (
        serving(NO_RATE, echo=True) as server,
        raw_client(server.port) as flooding,
        raw_client(server.port) as other,
    ):
        flooding.send(frame(TEXT, b"x") * number)
        for _ in range(5):
            other.send(frame(TEXT, b"mine"))
            assert await other.next() == Got(TEXT, b"mine")
        assert 0 < len(server.owners[0].told) < number / 2
        assert [await flooding.next() for _ in range(number)] == [Got(TEXT, b"x")] * number


@pytest.mark.parametrize("flood", FLOODS)
async def test_who_floods_is_closed(flood: str) -> None:
    first, then = FLOODS[flood]
    async with serving(SocketLimits(max_frames_per_s=10)) as server, raw_client(server.port) as client:
        client.send(first + then * 1000)
        closed = (await client.frames())[-1]
        assert (closed.opcode, closed.code) == (CLOSE, CloseCode.PROTOCOL_VIOLATION)
        await server.owners[0].closed.wait()


async def test_few_but_long_frames_are_a_flood_too() -> None:
    limits = SocketLimits(max_frames_per_s=10, max_frame_bytes=16 * 1024)
    async with serving(limits) as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b"x" * 16_000) * 20)
        assert (await client.frames())[-1].code == CloseCode.PROTOCOL_VIOLATION


async def test_whoever_catches_up_may_acknowledge_everything_at_once() -> None:
    """A whole log of a thousand."""
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(TEXT, b'{"op":"ack","cursor":"1-0000000000000000"}') * 1000)
        client.send(frame(CLOSE, b"\x03\xe8"))
        assert await client.frames() == [Got(CLOSE, b"\x03\xe8")]
        assert len(server.owners[0].told) == 1000


async def test_the_allowance_comes_back_with_time() -> None:
    limits = SocketLimits(max_frames_per_s=1000)
    async with serving(limits) as server, raw_client(server.port) as client:
        for _ in range(5):
            client.send(frame(PONG) * 9000)
            await asyncio.sleep(0.02)
        assert (await client.frames())[-1].code == CloseCode.PROTOCOL_VIOLATION
    async with serving(limits) as server, raw_client(server.port) as client:
        for _ in range(40):
            client.send(frame(PONG) * 10)
            await asyncio.sleep(0.015)
        client.send(frame(PING))
        assert await client.next() == Got(PONG, b"")
        assert server.owners[0].told == []


async def test_what_comes_after_the_end_is_thrown_away_but_not_without_end() -> None:
    async with serving() as server, raw_client(server.port) as client:
        client.send(frame(3))
        with pytest.raises(ConnectionError):
            await _send_without_end(client)
        await asyncio.wait_for(server.owners[0].closed.wait(), 2)


async def _send_without_end(client: RawClient) -> None:
    while True:
        client.send(b"x" * 100_000)
        await client.writer.drain()
