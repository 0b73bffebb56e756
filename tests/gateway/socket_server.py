"""A server of nothing but WebSockets, and a raw client for it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from doorstep.gateway.frames import text_frame
from doorstep.gateway.head import parse_head
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.upgrade import switching_protocols
from doorstep.gateway.websocket import SocketLimits, WebSocket
from tests.gateway.wire import CLOSE, Got, frame, read_frame, upgrade
from tests.support.waiting import PATIENCE_S

ANSWER = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
"""As good as any where no client looks closer."""


@dataclass
class Owner:
    """Owns one socket: writes down what it is told, and sends text back if asked to."""

    echo: bool = False
    told: list[str | bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    blocked: asyncio.Event = field(default_factory=asyncio.Event)
    socket: WebSocket = field(init=False)

    def on_text(self, data: bytes) -> None:
        self.told.append(data)
        if data == b"raise":
            raise RuntimeError("an owner with a bug")
        if self.echo:
            self.socket.send(text_frame(data))

    def on_blocked(self) -> None:
        self.told.append("blocked")
        self.blocked.set()

    def on_drained(self) -> None:
        self.told.append("drained")
        self.blocked.clear()

    def on_closed(self) -> None:
        self.told.append("closed")
        self.closed.set()


class SocketServer:
    """Accepts connections at `port`; `owners` has the owner of each, in order."""

    def __init__(self, limits: SocketLimits, *, echo: bool = False, small_buffers: bool = False) -> None:
        self.limits = limits
        self.owners: list[Owner] = []
        self.traffic = Traffic()
        self._echo = echo
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        if small_buffers:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    async def run(self) -> None:
        """Accept until cancelled."""
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            await self._open(sock)

    async def _open(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        received = await loop.sock_recv(sock, 65536)
        head = parse_head(received)
        assert head is not None
        owner = Owner(self._echo)
        owner.socket = WebSocket(owner, self.limits, self.traffic)
        self.owners.append(owner)
        await loop.connect_accepted_socket(lambda: owner.socket, sock)
        owner.socket.accept(switching_protocols(head), received[head.size :])

    def close(self) -> None:
        self._listener.close()
        for owner in self.owners:
            owner.socket.abort()


@asynccontextmanager
async def serving(
    limits: SocketLimits | None = None, *, echo: bool = False, small_buffers: bool = False
) -> AsyncIterator[SocketServer]:
    """A running server."""
    server = SocketServer(limits or SocketLimits(), echo=echo, small_buffers=small_buffers)
    task = asyncio.create_task(server.run())
    try:
        yield server
    finally:
        task.cancel()
        server.close()


def page(port: int, **options: Any) -> connect:
    """A connection as a page makes it, with a real client."""
    return connect(f"ws://127.0.0.1:{port}/v1/ws", subprotocols=[Subprotocol("doorstep.v1")], **options)


class RawClient:
    """A client that sends whatever bytes a test likes; open it with `raw_client`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        self.reader = reader
        self.writer = writer
        self.answer = answer

    def send(self, *frames: bytes) -> None:
        """Send frames in one go."""
        self.writer.write(b"".join(frames))

    async def frames(self) -> list[Got]:
        """All frames up to the end of the connection; a close frame is answered."""
        frames = []
        while not self.reader.at_eof():
            try:
                frames.append(await self.next())
            except asyncio.IncompleteReadError:
                break
            if frames[-1].opcode == CLOSE:
                self.send(frame(CLOSE, frames[-1].payload))
        self.writer.close()
        return frames

    async def next(self) -> Got:
        """The next frame."""
        return await asyncio.wait_for(read_frame(self.reader), PATIENCE_S)


@asynccontextmanager
async def raw_client(
    port: int, head: bytes | None = None, *, small_buffers: bool = False
) -> AsyncIterator[RawClient]:
    """A connected client that has read the 101."""
    sock = socket.socket()
    if small_buffers:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096 if small_buffers else 1 << 20)
    writer.write(head or upgrade())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    try:
        yield RawClient(reader, writer, answer)
    finally:
        writer.close()
