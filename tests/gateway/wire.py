"""The client's side in bare bytes: request heads, masked frames, answers."""

import asyncio
import base64
import json
import struct
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from doorstep.config.settings import AuthSettings
from doorstep.gateway.signer import Signer

SECRET = "a secret of more than thirty-two bytes"
KEY = base64.b64encode(b"sixteen bytes...").decode()


def token(user_id: str = "teacher-1", *, lasts_s: float = 60, **claims: object) -> str:
    """A token signed with `SECRET`."""
    return Signer(AuthSettings(hs256_secret=SecretStr(SECRET))).sign(user_id, lasts_s, **claims)


def request(target: str, *headers: str, method: str = "GET", host: str | None = "doorstep.test") -> bytes:
    """The bytes of a request head."""
    lines = [f"{method} {target} HTTP/1.1", *([] if host is None else [f"Host: {host}"]), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def upgrade(target: str = "/v1/ws", *headers: str, host: str | None = "doorstep.test") -> bytes:
    """The bytes of a WebSocket handshake."""
    return request(
        target,
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: doorstep.v1",
        *headers,
        host=host,
    )


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """One frame as a client sends it (masked with a fixed key, unless told otherwise)."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, masked | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if not mask:
        return head + payload
    key = b"\x12\x34\x56\x78"
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10


@dataclass(frozen=True)
class Got:
    """One frame that the server sent."""

    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        """The code of a close frame."""
        return int(struct.unpack_from("!H", self.payload)[0])


async def read_frame(reader: asyncio.StreamReader) -> Got:
    """The next frame; a server's frame is whole and unmasked."""
    first, second = await reader.readexactly(2)
    assert first & 0x70 == 0
    assert second & 0x80 == 0
    size = second
    if second == 126:
        (size,) = struct.unpack("!H", await reader.readexactly(2))
    elif second == 127:
        (size,) = struct.unpack("!Q", await reader.readexactly(8))
    assert first & 0x80
    return Got(first & 0x0F, await reader.readexactly(size))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def parse_answer(data: bytes) -> Answer:
    """Take a complete answer apart, and check what every complete one must have."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert headers.get("content-length", "0") == str(len(body))
    return Answer(int(status), headers, body)


async def exchange(port: int, data: bytes, timeout_s: float = 10) -> Answer:
    """Send bytes, read the answer up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return parse_answer(await asyncio.wait_for(reader.read(), timeout_s))
    finally:
        writer.close()
