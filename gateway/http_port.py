"""A port of HTTP without bodies: each connection brings the head of one request, and gets one answer."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from doorstep.gateway.head import Head, HeadError, parse_head
from doorstep.gateway.listener import Listener
from doorstep.gateway.problem import Problem, RefusedError, problem_of, without_body

_log = structlog.get_logger(__name__)

BACKLOG = 4096
MAX_ARRIVALS = 8192
"""Connections whose head is not complete; the oldest gives way to a new one."""
MAX_LEAVING = 2048
"""Answered connections that are waited for; the oldest gives way."""
MAX_DISCARDED_BYTES = 2 << 20
"""How much a client may send after its request before it is cut off."""
SWEEP_INTERVAL_S = 0.25
LINGER_S = 5.0
LOOK_S = 0.05
READ_BYTES = 16 * 1024

_LATE = Problem(408, "head_timeout", "the request head did not come in time")
_FAULT = Problem(503, "internal_error", "the request failed here; it was logged")


Inherited = dict[str, socket.socket]
"""Listening sockets that a predecessor had, by what they are; who uses one takes it out."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request, the socket that it came on, and what came after it."""

    head: Head
    sock: socket.socket
    early: bytes


Serve = Callable[[Request], Awaitable[bytes | None]]
"""Returns the answer, complete; or None where the socket is no longer the port's. Raises `RefusedError` or
`HeadError` for the client's fault, `OSError` for a connection that is gone; whatever else is logged."""


class _Connection:
    """A connection on its way in, or, answered, on its way out."""

    __slots__ = ("deadline", "discarded", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self.sock = sock
        self.deadline = deadline
        self.received = b""
        self.unsent = b""
        self.discarded = 0


class HttpPort:
    """Reads a head within `head_timeout_s`, lets `serve` answer it, and closes. `on_refused` is told of every
    refusal, with facts for the log."""

    def __init__(
        self,
        serve: Serve,
        on_refused: Callable[[RefusedError], None],
        head_timeout_s: float,
    ) -> None:
        self._serve = serve
        self._on_refused = on_refused
        self._head_timeout_s = head_timeout_s
        self._listener: Listener | None = None
        self._arrivals: dict[socket.socket, _Connection] = {}
        self._leaving: dict[socket.socket, _Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def listen(self, name: str, host: str, port: int, inherited: Inherited) -> socket.socket:
        """Take what connects there; the listening socket, which a predecessor may have left.

        Raises `OSError` where it can't.
        """
        self._loop = asyncio.get_running_loop()
        self._name = f"{name} {host}:{port}"
        listening = inherited.pop(self._name, None) or _listening_at(host, port)
        self._listener = Listener(listening, self._arrive, self._name)
        self._sweep()
        return listening

    @property
    def listening(self) -> Inherited:
        """What it listens to, for a successor; nothing where it does not."""
        return {self._name: self._listener.listening} if self._listener else {}

    async def leave(self, within_s: float) -> None:
        """Listen no more, and stop once everybody who came is served, or after that many seconds."""
        self._close_listener()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._arrivals or self._tasks or self._leaving:  # noqa: ASYNC110 - three kinds
                    await asyncio.sleep(LOOK_S)
        await self.stop()

    async def stop(self) -> None:
        """Listen no more; connections that were not passed on yet are closed."""
        self._close_listener()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._arrivals.values()):
            self._drop(connection)
        for connection in list(self._leaving.values()):
            self._leave(connection)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    # Coming in.

    def _arrive(self, sock: socket.socket) -> None:
        connection = _Connection(sock, self._loop.time() + self._head_timeout_s)
        if len(self._arrivals) >= MAX_ARRIVALS:
            self._expire(next(iter(self._arrivals.values())))
        self._arrivals[sock] = connection
        self._read_head(connection)
        if sock in self._arrivals:
            self._loop.add_reader(sock.fileno(), self._read_head, connection)

    def _read_head(self, connection: _Connection) -> None:
        """Read until nothing is left or the head is whole: uvloop tells only once of a broken connection."""
        while (data := _received(connection.sock)) is not None:
            if not data:
                self._drop(connection)
                return
            connection.received += data
            if self._look_at_head(connection):
                return

    def _look_at_head(self, connection: _Connection) -> bool:
        """Whether enough has come in to decide, which is then done."""
        try:
            head = parse_head(connection.received)
        except HeadError as exc:
            self._depart(connection)
            self._refuse(connection, RefusedError(problem_of(exc)))
            return True
        if head is None:
            return False
        self._depart(connection)
        task = self._loop.create_task(self._respond(connection, head))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _depart(self, connection: _Connection) -> None:
        del self._arrivals[connection.sock]
        self._loop.remove_reader(connection.sock.fileno())

    def _drop(self, connection: _Connection) -> None:
        self._depart(connection)
        connection.sock.close()

    def _expire(self, connection: _Connection) -> None:
        """Too slow. A browser's spare connection, on which nothing was sent, expects no answer."""
        if connection.received:
            self._depart(connection)
            self._refuse(connection, RefusedError(_LATE))
        else:
            self._drop(connection)

    # Going on.

    async def _respond(self, connection: _Connection, head: Head) -> None:
        try:
            answer = await self._serve(Request(head, connection.sock, connection.received[head.size :]))
        except RefusedError as exc:
            self._refuse(connection, exc)
        except HeadError as exc:
            self._refuse(connection, RefusedError(problem_of(exc)))
        except asyncio.CancelledError:
            connection.sock.close()
            raise
        except OSError:
            connection.sock.close()
        except Exception:
            _log.exception("request_failed", path=head.path)
            self._refuse(connection, RefusedError(_FAULT))
        else:
            if answer is not None:
                self._answer(connection, answer)

    def _refuse(self, connection: _Connection, refused: RefusedError) -> None:
        self._on_refused(refused)
        self._answer(connection, refused.response())

    # Going out.

    def _answer(self, connection: _Connection, response: bytes) -> None:
        """Answer and close our side; what the client still sends is read for a while, else a reset would
        overtake the answer."""
        connection.unsent = without_body(response) if connection.received.startswith(b"HEAD ") else response
        connection.received = b""
        connection.deadline = self._loop.time() + LINGER_S
        if len(self._leaving) >= MAX_LEAVING:
            self._leave(next(iter(self._leaving.values())))
        self._leaving[connection.sock] = connection
        self._loop.add_reader(connection.sock.fileno(), self._discard, connection)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.unsent)
            connection.unsent = connection.unsent[sent:]
            if connection.unsent:
                raise BlockingIOError
            connection.sock.shutdown(socket.SHUT_WR)
        except (BlockingIOError, InterruptedError):
            self._loop.add_writer(connection.sock.fileno(), self._send, connection)
        except OSError:
            self._leave(connection)
        else:
            self._loop.remove_writer(connection.sock.fileno())

    def _discard(self, connection: _Connection) -> None:
        """A client that closed its own side may still want the rest of its answer."""
        data = _received(connection.sock)
        if data is None:
            return
        connection.discarded += len(data)
        if connection.discarded > MAX_DISCARDED_BYTES or not (data or connection.unsent):
            self._leave(connection)
        elif not data:
            self._loop.remove_reader(connection.sock.fileno())

    def _leave(self, connection: _Connection) -> None:
        del self._leaving[connection.sock]
        self._loop.remove_reader(connection.sock.fileno())
        self._loop.remove_writer(connection.sock.fileno())
        connection.sock.close()

    def _sweep(self) -> None:
        """End what is late. Both tables are in the order of their deadlines."""
        now = self._loop.time()
        for connection in _late(self._arrivals, now):
            self._expire(connection)
        for connection in _late(self._leaving, now):
            self._leave(connection)
        self._sweeper = self._loop.call_later(SWEEP_INTERVAL_S, self._sweep)


def _listening_at(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def _received(sock: socket.socket) -> bytes | None:
    """The next bytes, none at the end of the connection however it came, None while there are none yet."""
    try:
        return sock.recv(READ_BYTES)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""


def _late(table: dict[socket.socket, _Connection], now: float) -> list[_Connection]:
    late = []
    for connection in table.values():
        if connection.deadline > now:
            break
        late.append(connection)
    return late
