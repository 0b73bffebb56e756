"""A TCP proxy in front of a real server: it can cut connections, keep replies back, and speak TLS."""

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from doorstep.development.ports import free_port

_NO_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target`, in a thread of its own.

    Every method may be called from any thread and returns when it has taken effect.
    """

    def __init__(self, target: int, *, certificate: Path | None = None) -> None:
        """`certificate`: PEM file with key and certificate; clients then have to speak TLS."""
        self.port = free_port()
        self._target = target
        self._tls = _server_context(certificate) if certificate else None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, Any] = {}
        """Each with its socket, which TLS forgets when it is closed."""
        self.asked = 0
        """How often clients have sent something."""
        self._replies_flow = asyncio.Event()
        self._replies_flow.set()

    def start(self) -> None:
        """Accept connections."""
        self._thread.start()
        self._run(self._listen())

    def stop(self) -> None:
        """Cut everything and listen no more; it can't be started again."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections; new ones are served."""
        self._run(self._abort_all())

    def hold_replies(self) -> None:
        """Keep back what the server says from now on; it still gets what clients say."""
        self._loop.call_soon_threadsafe(self._replies_flow.clear)

    def release_replies(self) -> None:
        """Let replies through again, the held ones of connections that live first."""
        self._loop.call_soon_threadsafe(self._replies_flow.set)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._abort_all()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def _abort_all(self) -> None:
        for writer, sock in self._writers.items():
            # Without lingering the peer gets a reset instead of an orderly end.
            with contextlib.suppress(OSError):  # closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            writer.transport.abort()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._writers[to_client] = to_client.get_extra_info("socket")
        with contextlib.suppress(OSError):
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers[to_server] = to_server.get_extra_info("socket")
            await asyncio.gather(
                self._forward(from_client, to_server, on_data=self._count),
                self._forward(from_server, to_client, on_data=self._replies_flow.wait),
            )
            self._writers.pop(to_server)
        to_client.transport.abort()
        self._writers.pop(to_client)

    async def _count(self) -> None:
        self.asked += 1

    @staticmethod
    async def _forward(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, on_data: Callable[[], Awaitable[object]]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await on_data()
                sink.write(data)
                await sink.drain()
        sink.close()


def _server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
