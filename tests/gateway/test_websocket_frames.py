"""Any bytes a client may send: valid messages arrive whole and in order, all else ends the connection."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doorstep.gateway.traffic import Traffic
from doorstep.gateway.websocket import SocketLimits, WebSocket
from tests.gateway.socket_server import ANSWER, Owner
from tests.gateway.wire import CONT, PING, TEXT, Got, frame, read_frame
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.patient

LIMITS = SocketLimits(max_frame_bytes=300)


async def opened(limits: SocketLimits) -> tuple[Owner, socket.socket]:
    """An accepted socket over real TCP, and the client's end of it, which has read the 101."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    owner = Owner()
    owner.socket = WebSocket(owner, limits, Traffic())
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: owner.socket, ours)
    owner.socket.accept(ANSWER)
    assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 101")
    return owner, client


async def send(client: socket.socket, pieces: Sequence[bytes]) -> None:
    loop = asyncio.get_running_loop()
    for piece in pieces:
        with suppress(ConnectionError):
            await loop.sock_sendall(client, piece)
        await asyncio.sleep(0)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


_text = st.text(max_size=70)
_pings = st.lists(st.binary(max_size=125), max_size=2)
_message = st.tuples(_text, st.lists(st.integers(min_value=0), max_size=3), _pings)


def frames_of(text: str, places: Sequence[int], pings: Sequence[bytes]) -> bytes:
    """One message in fragments cut anywhere, with pings in between."""
    first, *rest = cut(text.encode(), places)
    parts = [frame(TEXT, first, fin=not rest)]
    for index, part in enumerate(rest):
        parts += [frame(PING, ping) for ping in pings]
        parts.append(frame(CONT, part, fin=index == len(rest) - 1))
    return b"".join(parts)


@settings(max_examples=150)
@given(st.lists(_message, max_size=5), st.lists(st.integers(min_value=0), max_size=6))
async def test_valid_messages_arrive_whole_and_in_order_however_they_are_cut(
    messages: list[tuple[str, list[int], list[bytes]]], places: list[int]
) -> None:
    owner, client = await opened(LIMITS)
    await send(client, cut(b"".join(frames_of(*message) for message in messages), places))
    await send(client, [frame(8, b"\x03\xe8")])
    reader, writer = await asyncio.open_connection(sock=client)
    answers = []
    while (answer := await asyncio.wait_for(read_frame(reader), PATIENCE_S)).opcode != 8:
        answers.append(answer)
    writer.close()
    await asyncio.wait_for(owner.closed.wait(), PATIENCE_S)
    assert owner.told == [*(text.encode() for text, _, _ in messages), "closed"]
    pongs = [
        ping for text, places, pings in messages for _ in cut(text.encode(), places)[1:] for ping in pings
    ]
    assert answers == [Got(10, ping) for ping in pongs]


_frame = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=320),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 1, 7]),
    mask=st.sampled_from([True, True, True, True, False]),
)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(_frame, st.binary(max_size=30)), max_size=8),
    st.lists(st.integers(min_value=0), max_size=4),
)
async def test_any_bytes_end_in_messages_and_one_close(frames: list[bytes], places: list[int]) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    owner, client = await opened(LIMITS)
    await send(client, cut(b"".join(frames), places))
    client.close()
    await asyncio.wait_for(owner.closed.wait(), PATIENCE_S)
    assert faults == []
    assert owner.told.count("closed") == 1
    assert owner.told[-1] == "closed"
    for message in owner.told[:-1]:
        assert isinstance(message, bytes)
        assert len(message) <= LIMITS.max_frame_bytes
        assert message.decode() is not None
