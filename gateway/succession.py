"""A gateway's listening sockets go to its successor on the same machine: no connect is refused meanwhile.

The successor connects to a Unix socket; it is sent the predecessor's rank and the names of its listening
sockets, as JSON, with their descriptors. Once it accepts connections itself, it says so with one byte, and
the predecessor accepts no more. The queue of connections that nobody has accepted yet is the kernel's, and
the same for both.

An heir asks, too, but says nothing: it has the sockets in case that the predecessor dies, and offers them
then, so that the queue stays until there is a successor. A predecessor that ends in order says so first.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import orjson
import structlog

from doorstep.gateway.http_port import Inherited
from doorstep.gateway.unix_listener import UnixListener

_log = structlog.get_logger(__name__)

PUBLIC_PORT = "public port"
_LISTENING, _IN_ORDER = b"+", b"-"
_MAX_BYTES, _MAX_SOCKETS = 4096, 8
_PATIENCE_S = 2.0
_LOOK_S = 0.1
_QUEUE_LOOK_S = 0.01
_KEEP_S = 60.0
"""How long an heir offers what nobody accepts from; after that clients are better off refused."""


class Bequest:
    """Offers at `path` what `listening` has then. `on_taken` is called when a successor has taken it, once.
    A successor's `rank` is not lower."""

    def __init__(
        self, path: Path, rank: int, listening: Callable[[], Inherited], on_taken: Callable[[], None]
    ) -> None:
        self._rank = rank
        self._listening = listening
        self._on_taken = on_taken
        self._listener = UnixListener(path, self._offer, "succession")
        self._asking: set[socket.socket] = set()

    @property
    def is_open(self) -> bool:
        """Whether it is offered."""
        return self._listener.is_open

    def start(self) -> None:
        """Offer it from now on, in place of a predecessor, unless it is offered already. Raises `OSError`,
        `NotPrivateError`."""
        self._loop = asyncio.get_running_loop()
        if not self.is_open:
            self._listener.start()

    def renew(self) -> None:
        """What is offered is another: who has been told before is to ask again."""
        for connection in list(self._asking):
            with contextlib.suppress(OSError):
                connection.send(_IN_ORDER)
            self._forget(connection)

    def close(self) -> None:
        """Offer it no more."""
        self._listener.close()
        self.renew()

    def _offer(self, connection: socket.socket) -> None:
        listening = self._listening()
        self._asking.add(connection)
        self._loop.add_reader(connection.fileno(), self._hear, connection)
        try:
            fds = [sock.fileno() for sock in listening.values()]
            socket.send_fds(connection, [orjson.dumps([self._rank, *listening])], fds)
        except OSError as error:
            _log.warning("ports_not_offered", error=str(error))
            self._forget(connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            said = connection.recv(1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            said = b""
        self._forget(connection)
        if said == _LISTENING:
            self.close()
            self._on_taken()

    def _forget(self, connection: socket.socket) -> None:
        self._asking.discard(connection)
        self._loop.remove_reader(connection.fileno())
        connection.close()


class Inheritance:
    """What a predecessor listens to, and goes on accepting from until `take`."""

    def __init__(self, predecessor: socket.socket | None, sockets: Inherited) -> None:
        """None: there is none."""
        self._predecessor = predecessor
        self.sockets = sockets
        """Who uses one takes it out."""

    @property
    def is_there(self) -> bool:
        """Whether there is a predecessor."""
        return self._predecessor is not None

    def take(self) -> None:
        """Tell the predecessor to accept no more: we do. One that has died meanwhile needs no telling."""
        if self._predecessor is not None:
            with contextlib.suppress(OSError):
                self._predecessor.send(_LISTENING)

    async def is_orphaned(self) -> bool:
        """Wait for the end of the predecessor; whether it has died, without a word."""
        if self._predecessor is None:
            return False
        try:
            return not await asyncio.get_running_loop().sock_recv(self._predecessor, 1)
        except OSError:
            return True

    def __enter__(self) -> "Inheritance":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the rest to the predecessor."""
        for sock in self.sockets.values():
            sock.close()
        if self._predecessor is not None:
            self._predecessor.close()


async def inheritance_at(path: Path, rank: int) -> Inheritance:
    """What is offered there; nothing where nobody is, or answers. Raises `OSError` where that is by one of a
    higher rank."""
    left, theirs = await _ask(path)
    if theirs > rank:
        left.close()
        raise OSError(errno.EBUSY, f"a later one has the ports: {theirs}, we are {rank}")
    return left


async def _ask(path: Path) -> tuple[Inheritance, int]:
    """Not in a thread: whoever is cancelled would leave there what it was just sent, a port that listens."""
    predecessor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(TimeoutError):  # what is there counts, however late we look
            async with asyncio.timeout(_PATIENCE_S):
                await _connect(predecessor, path)
                await _readable(predecessor)
        said, fds, _, _ = socket.recv_fds(predecessor, _MAX_BYTES, _MAX_SOCKETS)
    except OSError:
        said, fds = b"", []
    except BaseException:
        predecessor.close()
        raise
    for fd in fds:
        os.set_inheritable(fd, False)
    sockets = [socket.socket(fileno=fd) for fd in fds]
    rank, *names = orjson.loads(said or b"[0]")
    inheritance = Inheritance(predecessor, dict(zip(names, sockets, strict=False)))
    if said and len(names) == len(sockets):
        return inheritance, rank
    inheritance.close()  # without descriptors of ours to receive them with, there is nothing to inherit
    return Inheritance(None, {}), 0


async def _connect(connecting: socket.socket, path: Path) -> None:
    """Not by the event loop, which takes a Unix socket for connected where the queue is full."""
    connecting.setblocking(False)
    while True:
        with contextlib.suppress(BlockingIOError):
            connecting.connect(str(path))
            return
        await asyncio.sleep(_QUEUE_LOOK_S)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there_is_something = asyncio.Event()
    loop.add_reader(sock.fileno(), there_is_something.set)
    try:
        await there_is_something.wait()
    finally:
        loop.remove_reader(sock.fileno())


class Heir:
    """Has a copy of the sockets of this `kind` that are offered at `path`, whoever offers them, and offers
    them in its place when it has died."""

    def __init__(self, path: Path, rank: int, kind: str) -> None:
        self._path = path
        self._rank = rank
        self._kind = kind

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            with contextlib.suppress(OSError), await inheritance_at(self._path, self._rank) as left:
                for name in [name for name in left.sockets if not name.startswith(self._kind)]:
                    left.sockets.pop(name).close()
                if await left.is_orphaned():
                    await self._keep(left.sockets)
            await asyncio.sleep(_LOOK_S)

    async def _keep(self, sockets: Inherited) -> None:
        taken = asyncio.Event()
        bequest = Bequest(self._path, self._rank, lambda: sockets, taken.set)
        bequest.start()
        _log.info("ports_kept", ports=list(sockets))
        try:
            async with asyncio.timeout(_KEEP_S):
                await taken.wait()
        except TimeoutError:
            _log.warning("ports_given_up", seconds=_KEEP_S)
        finally:
            bequest.close()
