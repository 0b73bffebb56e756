"""A whole node without Ray: a public port, an HTTP application, and holders that greet or echo."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from doorstep.config.settings import AuthSettings, GatewaySettings
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.handover import FullError, Parcel, Receiver
from doorstep.gateway.head import Head
from doorstep.gateway.http import Page, make_pages
from doorstep.gateway.poll import PollConnection
from doorstep.gateway.port import PublicPort
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.websocket import SocketLimits, WebSocket
from tests.gateway.socket_server import Owner
from tests.gateway.wire import SECRET

LARGE = 8_000_000
NOBODY: Mapping[str, str] = {}
AUTH = AuthSettings(hs256_secret=SecretStr(SECRET), leeway_s=0)


class EchoHolder:
    """Echoes on sockets, and answers polls with their user's name."""

    def __init__(self, path: Path) -> None:
        self.parcels: list[Parcel] = []
        self.sockets: list[socket.socket] = []
        self.owners: list[Owner] = []
        self.traffic = Traffic()
        self.refuses = False
        self._limits = SocketLimits()
        self._tasks: set[asyncio.Task[None]] = set()
        self._receiver = Receiver(path, self._take)

    async def start(self) -> None:
        await self._receiver.start()

    async def stop(self) -> None:
        await self._receiver.stop()
        for owner in self.owners:
            owner.socket.abort()

    def _take(self, sock: socket.socket, parcel: Parcel) -> None:
        if self.refuses:
            raise FullError
        self.parcels.append(parcel)
        self.sockets.append(sock)
        serve = self._serve_socket if parcel.kind == "socket" else self._serve_poll
        task = asyncio.create_task(serve(sock, parcel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve_socket(self, sock: socket.socket, parcel: Parcel) -> None:
        owner = Owner(echo=True)
        owner.socket = WebSocket(owner, self._limits, self.traffic)
        self.owners.append(owner)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: owner.socket, sock)
        owner.socket.accept(parcel.answer, parcel.early)

    async def _serve_poll(self, sock: socket.socket, parcel: Parcel) -> None:
        connection = PollConnection(lambda: None, self.traffic, parcel.origin)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
        connection.answer(200, parcel.user_id.encode())


class Node:
    """What `running` gives a test."""

    def __init__(self, port: PublicPort, holder: EchoHolder, path: Path) -> None:
        self.public = port
        self.holder = holder
        self.path = path
        self.port = 0


async def _asyncapi() -> bytes:
    return b"{}"


async def _broken(_head: Head) -> Page:
    raise RuntimeError("a bug with a secret")


async def _large(_head: Head) -> Page:
    return Page(b"x" * LARGE)


@asynccontextmanager
async def running(
    directory: Path,
    auth: AuthSettings = AUTH,
    *,
    holder: bool = True,
    homes: Mapping[str, str] = NOBODY,
    **settings: Any,
) -> AsyncIterator[Node]:
    """A node on a free port; its holder's socket is `directory/holder`. `homes`: by user, the home's name."""
    path = directory / "holder"
    pages = {**make_pages(lambda: True, _asyncapi), "/broken": _broken, "/large": _large}
    public = PublicPort(
        GatewaySettings(**{"port": 0, **settings}), Authenticator(auth), lambda _: [path], pages, homes.get
    )
    node = Node(public, EchoHolder(path), path)
    try:
        if holder:
            await node.holder.start()
        node.port = await public.start()
        yield node
    finally:
        await public.stop()
        await node.holder.stop()
