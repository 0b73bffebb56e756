"""What stands between some pages and the server: a box that does not understand WebSockets."""

import asyncio
import contextlib
from typing import Literal

Mode = Literal["through", "refuse", "strip", "hang", "cut"]

_CUT_AFTER_S = 0.25
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Middlebox:
    """Forwards 127.0.0.1:`port` to a server; its `mode` is what it does to an upgrade, and to nothing else.

    `refuse` answers 502, `strip` forwards a plain GET, `hang` answers nothing, `cut` closes after 250 ms.
    """

    def __init__(self, target: str, mode: Mode) -> None:
        """`target` is `host:port`."""
        self.mode = mode
        self.port = 0
        self._host, _, port = target.partition(":")
        self._target_port = int(port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Middlebox":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            mode = self.mode if b"upgrade: websocket" in head.lower() else "through"
            if mode == "refuse":
                writer.write(_BAD_GATEWAY)
            elif mode == "hang":
                await reader.read()
            else:
                await self._forward(_without_upgrade(head) if mode == "strip" else head, mode, reader, writer)
        writer.close()

    async def _forward(
        self, head: bytes, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answers, requests = await asyncio.open_connection(self._host, self._target_port)
        requests.write(head)
        pumps = {asyncio.create_task(_pump(reader, requests)), asyncio.create_task(_pump(answers, writer))}
        try:
            timeout = _CUT_AFTER_S if mode == "cut" else None
            await asyncio.wait(pumps, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            requests.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()


def _without_upgrade(head: bytes) -> bytes:
    kept = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"upgrade:", b"connection:"))
    ]
    return b"\r\n".join(kept)
