"""What stands between a page and the server: a network that fails, or a box that knows no WebSockets."""

import asyncio
import contextlib
from typing import Literal

Mode = Literal["through", "off", "silent", "refuse", "strip", "hang", "cut"]

_CUT_AFTER_S = 0.25
_BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Middlebox:
    """Forwards `host:port`, on this machine, to a server, as its `mode` says.

    To everything: `off` closes what was there and what comes, `silent` forwards nothing more, either way.
    To an upgrade only: `refuse` answers 502, `strip` forwards a plain GET, `hang` answers nothing, `cut`
    closes after 250 ms.
    """

    def __init__(self, target: str, host: str = "127.0.0.1") -> None:
        """`target` is `host:port`."""
        self.host = host
        self.port = 0
        self._target_host, _, port = target.partition(":")
        self._target_port = int(port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self.mode = "through"

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        if mode == "silent":
            self._flows.clear()
        else:
            self._flows.set()
        if mode == "off":
            self.close_connections()

    def close_connections(self) -> None:
        """End all that are there now."""
        for task in self._connections:
            task.cancel()

    async def __aenter__(self) -> "Middlebox":
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.close_connections()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(await reader.readuntil(b"\r\n\r\n"), reader, writer)
        finally:
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_upgrade = b"upgrade: websocket" in head.lower()
        mode = self._mode if is_upgrade or self._mode == "off" else "through"
        if mode == "refuse":
            writer.write(_BAD_GATEWAY)
        elif mode == "hang":
            await reader.read()
        elif mode != "off":
            await self._forward(_without_upgrade(head) if mode == "strip" else head, mode, reader, writer)

    async def _forward(
        self, head: bytes, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answers, requests = await asyncio.open_connection(self._target_host, self._target_port)
        pumps = {
            asyncio.create_task(self._pump(reader, requests, head)),
            asyncio.create_task(self._pump(answers, writer)),
        }
        try:
            timeout = _CUT_AFTER_S if mode == "cut" else None
            await asyncio.wait(pumps, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            requests.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, data: bytes = b""
    ) -> None:
        with contextlib.suppress(OSError):
            while data := data or await source.read(1 << 16):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
                data = b""


def _without_upgrade(head: bytes) -> bytes:
    kept = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"upgrade:", b"connection:"))
    ]
    return b"\r\n".join(kept)
