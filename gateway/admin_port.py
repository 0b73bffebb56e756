"""The port for operators: the same HTTP as on the public port, without sockets, Origins and tokens."""

from doorstep.config.settings import AdminSettings
from doorstep.gateway.http import Pages, page_for
from doorstep.gateway.http_port import HttpPort, Inherited, Request
from doorstep.gateway.problem import RefusedError

_HEAD_TIMEOUT_S = 5.0


class AdminPort:
    """Listens at `settings.host:settings.port`, for whoever gets there."""

    def __init__(self, settings: AdminSettings, pages: Pages) -> None:
        self._settings = settings
        self._pages = pages
        self._http = HttpPort(self._serve, _ignore, _HEAD_TIMEOUT_S)

    def start(self, inherited: Inherited) -> int:
        """Listen, at the socket of a predecessor that listened to the same, if there is one; returns the port
        (useful with port 0). Raises `OSError` where it can't."""
        listening = self._http.listen("admin port", self._settings.host, self._settings.port, inherited)
        bound: int = listening.getsockname()[1]
        return bound

    @property
    def listening(self) -> Inherited:
        """See `HttpPort.listening`."""
        return self._http.listening

    async def leave(self, within_s: float) -> None:
        """See `HttpPort.leave`."""
        await self._http.leave(within_s)

    async def stop(self) -> None:
        """Listen no more."""
        await self._http.stop()

    async def _serve(self, request: Request) -> bytes:
        return (await page_for(self._pages, request.head)).response({})


def _ignore(_refused: RefusedError) -> None:
    """An operator sees it in the answer."""
