"""A WebSocket from the other side, as plain as can be: visits our own port, and reads a few messages."""

import asyncio
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from doorstep.gateway.auth import SUBPROTOCOL_PREFIX
from doorstep.gateway.frames import TEXT
from doorstep.gateway.paths import WS_PATH
from doorstep.gateway.upgrade import SUBPROTOCOL

_MAX_HEAD_BYTES = 16 * 1024
_LENGTH_BYTES = {126: 2, 127: 8}


@asynccontextmanager
async def visit(host: str, port: int, token: str) -> AsyncIterator[AsyncIterator[bytes]]:
    """The messages of a new socket, without an end of their own: set a deadline.

    It answers no ping, so it is not for long. Raises `OSError` where it is refused, or ends early.
    """
    reader, writer = await asyncio.open_connection(host, port, limit=_MAX_HEAD_BYTES)
    try:
        writer.write(_request(f"{host}:{port}", token))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(head.partition(b"\r\n")[0].decode("latin-1"))
        yield _messages(reader)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise ConnectionResetError("the connection ended early, or what came is no answer") from error
    finally:
        writer.transport.abort()


def _request(host: str, token: str) -> bytes:
    key = b64encode(secrets.token_bytes(16)).decode()
    return (
        f"GET {WS_PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}, {SUBPROTOCOL_PREFIX}{token}\r\n\r\n"
    ).encode("ascii")


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The server's frames are whole and not masked (RFC 6455, 5.1)."""
    while True:
        first, length = await reader.readexactly(2)
        if length in _LENGTH_BYTES:
            length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES[length]))
        payload = await reader.readexactly(length)
        if first & 0x0F == TEXT:
            yield payload
