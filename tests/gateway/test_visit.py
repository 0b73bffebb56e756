"""The visitor of our own port, on connections that are no good."""

import asyncio

import pytest

from doorstep.gateway.visit import visit


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", ConnectionRefusedError),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x7e\x01", ConnectionResetError),
        (b"HTTP/1.1 101 Switch", ConnectionResetError),
        (b"x" * 20_000, ConnectionResetError),
    ],
)
async def test_what_is_no_socket_is_told(answer: bytes, error: type[OSError]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        with pytest.raises(error):
            async with visit("127.0.0.1", server.sockets[0].getsockname()[1], "token") as messages:
                await anext(messages)


async def test_messages_of_every_length_are_read_and_other_frames_are_not_told() -> None:
    texts = [b"", b"a" * 125, b"b" * 126, b"c" * 70_000]
    frames = [
        b"\x81\x00",
        b"\x89\x00",
        b"\x81\x7d" + texts[1],
        b"\x81\x7e" + (126).to_bytes(2) + texts[2],
        b"\x81\x7f" + (70_000).to_bytes(8) + texts[3],
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + b"".join(frames))
        await writer.drain()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        visit("127.0.0.1", server.sockets[0].getsockname()[1], "token") as messages,
    ):
        assert [await anext(messages) for _ in texts] == texts
