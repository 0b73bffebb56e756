"""Bytes of one connection never reach another: one is cut off at every byte, while the other speaks."""

import asyncio

import pytest

from tests.gateway.socket_server import RawClient, raw_client, serving
from tests.gateway.wire import CLOSE, CONT, PING, PONG, TEXT, Got, frame

pytestmark = pytest.mark.patient

LONG = b"long text: " + b"x" * 300
NORMAL = b"\x03\xe8"

CASES = {
    "text": (frame(TEXT, b"mine"), [Got(TEXT, b"mine")]),
    "empty text": (frame(TEXT), [Got(TEXT, b"")]),
    "long text": (frame(TEXT, LONG), [Got(TEXT, LONG)]),
    "ping": (frame(PING, b"mine"), [Got(PONG, b"mine")]),
    "pong": (frame(PONG) + frame(PING), [Got(PONG, b"")]),
    "fragments": (
        frame(TEXT, b"mi", fin=False) + frame(PING, b"?") + frame(CONT, b"ne"),
        [Got(PONG, b"?"), Got(TEXT, b"mine")],
    ),
    "close": (frame(CLOSE, NORMAL), [Got(CLOSE, NORMAL)]),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_frame_cut_anywhere_touches_nobody_else(case: str) -> None:
    sent, answers = CASES[case]
    async with serving(echo=True) as server, raw_client(server.port) as other:
        for cut in range(1, len(sent)):
            async with raw_client(server.port) as cutting:
                await _interleave(cutting, other, sent, cut)
                assert [await cutting.next() for _ in answers] == answers
                await _speak(other)


async def _interleave(cutting: RawClient, other: RawClient, sent: bytes, cut: int) -> None:
    """Each waits until the server has read what the one before it sent: a connection tells by its echo."""
    await _speak(cutting)
    cutting.send(sent[:cut])
    await _speak(other)
    await _speak(other)
    cutting.send(sent[cut:])


async def _speak(client: RawClient) -> None:
    client.send(frame(TEXT, b"other"))
    assert await client.next() == Got(TEXT, b"other")


@pytest.mark.parametrize("size", [2, 6, 7, 100])
async def test_whoever_writes_in_pieces_disturbs_neither_others_nor_itself(size: int) -> None:
    """As gobwas/ws does: header and payload apart, by twenty clients at once."""

    async def speak(port: int) -> None:
        async with raw_client(port) as client:
            for number in range(20):
                data = frame(TEXT, b"%d" % number * 30)
                for start in range(0, len(data), size):
                    client.send(data[start : start + size])
                    await client.writer.drain()
                    await asyncio.sleep(0)
                assert await client.next() == Got(TEXT, b"%d" % number * 30)

    async with serving(echo=True) as server:
        await asyncio.gather(*(speak(server.port) for _ in range(20)))
