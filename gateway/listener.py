"""Accepting connections: some in each turn of the event loop, none while nothing is left to hold them."""

import asyncio
import socket
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)

ACCEPTS_PER_TURN = 64
ACCEPT_PAUSE_S = 0.2


class Listener:
    """Gives each connection to the listening socket `listening`, which it owns, to `on_connection`.

    Out of descriptors or memory it pauses: whoever connects then waits in the backlog. `name` is what the log
    calls it.
    """

    def __init__(
        self, listening: socket.socket, on_connection: Callable[[socket.socket], None], name: str
    ) -> None:
        """Begin at once; call within a running event loop."""
        self._listening = listening
        self._on_connection = on_connection
        self._name = name
        self._starved = False
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        listening.setblocking(False)
        self._resume()

    @property
    def listening(self) -> socket.socket:
        """The socket that it accepts from."""
        return self._listening

    def close(self) -> None:
        """Listen no more; what was accepted stays with its owner."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listening.fileno())
        self._listening.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                self._starve(exc)
                return
            self._starved = False
            connection.setblocking(False)
            self._on_connection(connection)

    def _starve(self, exc: OSError) -> None:
        """Told once, until it is over: a thousand clients in trouble are no thousand lines."""
        if not self._starved:
            hint = "raise the limit of open files (ulimit -n)"
            _log.warning("accept_failed", listener=self._name, error=exc.strerror, hint=hint)
        self._starved = True
        self._loop.remove_reader(self._listening.fileno())
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listening.fileno(), self._accept)
