"""The port for operators: the same HTTP as on the public port, without sockets, Origins and tokens."""

import socket

from doorstep.config.settings import AdminSettings
from doorstep.gateway.http import Pages, page_for
from doorstep.gateway.http_port import HttpPort, Request
from doorstep.gateway.problem import RefusedError

_HEAD_TIMEOUT_S = 5.0


class AdminPort:
    """Listens at `settings.host:settings.port`, for whoever gets there."""

    def __init__(self, settings: AdminSettings, pages: Pages) -> None:
        self._settings = settings
        self._pages = pages
        self._http = HttpPort(self._serve, _ignore, _HEAD_TIMEOUT_S)

    def start(self) -> int:
        """Listen; returns the port (useful with port 0). Raises `OSError` where it can't."""
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        bound: int = listening.getsockname()[1]
        self._http.start(listening, "admin port")
        return bound

    async def stop(self) -> None:
        """Listen no more."""
        await self._http.stop()

    async def _serve(self, request: Request) -> bytes:
        return (await page_for(self._pages, request.head)).response({})


def _ignore(_refused: RefusedError) -> None:
    """An operator sees it in the answer."""
