"""Handing a connected TCP socket from one process to another, by SCM_RIGHTS over a Unix stream socket.

One message: a header `id:u32 size:u32` with the descriptor attached, then `size` bytes of a parcel.
Its answer: `id:u32 status:u8`. The receiver takes header and body with separate reads, so the descriptor that
comes with a header's bytes belongs to that message, also after one that arrived without its descriptor.
Who may write to the Unix socket may act as any user: it lives in a directory that only its owner can enter.
"""

import array
import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson
import structlog

from doorstep.gateway.unix_listener import UnixListener

_log = structlog.get_logger(__name__)

_FORMAT = 1
"""Of the parcels. It grows when an older holder would misread what a newer gateway sends."""
_HEADER = struct.Struct("!II")
_ANSWER = struct.Struct("!IB")
_ACCEPTED, _REFUSED = 0, 1
_OF_ONE_PARCEL = (errno.EBADF, errno.ETOOMANYREFS)
"""Errors of sending that say nothing of the connection: the socket is closed, or too many are under way."""
_FD_SPACE = socket.CMSG_LEN(array.array("i", [0]).itemsize)
MAX_BODY_BYTES = 128 * 1024
MAX_WAITING = 1024
"""Parcels under way to one receiver; more are refused at once."""
PATIENCE_S = 3.0
"""How long a receiver may take to answer, unless the caller says otherwise."""


class HandoverError(Exception):
    """The receiver could not take the socket; the caller still owns it and may try another receiver."""


class NoAnswerError(HandoverError):
    """The receiver has said nothing in time: it may take the socket yet, so nobody else is to."""


class FullError(Exception):
    """A receiver has no room for one socket more; `on_parcel` raises it."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes with the socket: what the client asked, and who it was verified to be.

    `expires_at` is the token's end in unix seconds, `query` what was sent: a token may be in it, so it is
    kept out of `repr`. For a poll `origin` is the allowed Origin to echo, for a socket `answer` the 101 to
    be sent, and `early` what followed the request.
    """

    kind: Literal["socket", "poll"]
    user_id: str
    expires_at: float
    query: str = field(default="", repr=False)
    origin: str | None = None
    answer: str = ""
    early: bytes = b""

    def encode(self) -> bytes:
        """Size of the fields, the fields as JSON, the early bytes."""
        fields = orjson.dumps(
            [_FORMAT, self.kind, self.user_id, float(self.expires_at), self.query, self.origin, self.answer]
        )
        return struct.pack("!I", len(fields)) + fields + self.early

    @classmethod
    def decode(cls, body: bytes) -> "Parcel":
        """Inverse of `encode`; raises `ValueError` for anything else."""
        if len(body) < 4:
            raise ValueError("the parcel is cut short")
        end = 4 + struct.unpack_from("!I", body)[0]
        match orjson.loads(body[4:end]):
            case [int(found), *_] if found != _FORMAT:
                raise ValueError(f"the parcel has format {found}, this holder knows {_FORMAT}: restart it")
            case [
                int(),
                "socket" | "poll" as kind,
                str(user_id),
                float(expires_at),
                str(query),
                None | str() as origin,
                str(answer),
            ]:
                return cls(kind, user_id, expires_at, query, origin, answer, body[end:])
        raise ValueError("the parcel has other fields")


class _Outgoing:
    """A parcel that is not wholly written yet. `fd` goes with its first byte."""

    __slots__ = ("data", "fd", "id")

    def __init__(self, id_: int, data: bytes, fd: int) -> None:
        self.id = id_
        self.data = memoryview(data)
        self.fd: int | None = fd


class Sender:
    """Hands sockets to the receiver at `path`, over one connection, many at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._connection: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._outgoing: deque[_Outgoing] = deque()
        self._answers = bytearray()
        self._next_id = 0
        self._writing = False

    async def hand_over(self, sock: socket.socket, parcel: Parcel, patience_s: float = PATIENCE_S) -> None:
        """Returns when the receiver said that it has the socket; the caller then closes its own copy.

        Raises `HandoverError` when the receiver can't be reached, refused or died before its answer, and
        `NoAnswerError` when it gave none in time. It may be cancelled. The parcel is then not sent if it was
        not under way yet.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise HandoverError(f"too many sockets already wait for the holder at {self._path.name}")
        if self._connection is None:
            self._connect()
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        id_, body = self._next_id, parcel.encode()
        answer: asyncio.Future[None] = self._loop.create_future()
        self._waiting[id_] = answer
        self._outgoing.append(_Outgoing(id_, _HEADER.pack(id_, len(body)) + body, sock.fileno()))
        timer = self._loop.call_later(patience_s, self._give_up, id_)
        try:
            self._write()
            await answer
        except asyncio.CancelledError:
            # The answer may have come just before the cancellation: the socket is then no longer ours.
            if answer.cancelled() or not answer.done() or answer.exception() is not None:
                raise
        finally:
            timer.cancel()
            self._forget(id_)

    def close(self) -> None:
        """Drop the connection; everyone who waits gets a `HandoverError`."""
        self._disconnect("the gateway closed it")

    def _connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(str(self._path))
        except OSError as exc:
            connection.close()
            raise HandoverError(f"no holder listens at {self._path.name}: {exc.strerror}") from exc
        self._connection = connection
        self._loop.add_reader(connection.fileno(), self._read)

    def _disconnect(self, why: str) -> None:
        if self._connection is not None:
            self._loop.remove_reader(self._connection.fileno())
            self._stop_writing()
            self._connection.close()
            self._connection = None
        self._outgoing.clear()
        self._answers.clear()
        for id_ in self._waiting:
            self._fail(id_, HandoverError(f"the connection to {self._path.name} is gone: {why}"))

    def _forget(self, id_: int) -> None:
        """A parcel whose first byte is out stays; its descriptor is no longer needed from us then."""
        self._waiting.pop(id_, None)
        for outgoing in self._outgoing:
            if outgoing.id == id_ and outgoing.fd is not None:
                self._outgoing.remove(outgoing)
                break

    def _write(self) -> None:
        assert self._connection is not None
        try:
            while self._outgoing:
                self._write_some(self._connection, self._outgoing[0])
        except (BlockingIOError, InterruptedError):
            self._start_writing(self._connection)
        except OSError as exc:
            self._disconnect(exc.strerror or "write failed")
        else:
            self._stop_writing()

    def _write_some(self, connection: socket.socket, outgoing: _Outgoing) -> None:
        if outgoing.fd is None:
            sent = connection.send(outgoing.data)
        else:
            sent = self._write_with_socket(connection, outgoing, outgoing.fd)
        outgoing.fd = None
        outgoing.data = outgoing.data[sent:]
        if not outgoing.data:
            self._outgoing.popleft()

    def _write_with_socket(self, connection: socket.socket, outgoing: _Outgoing, fd: int) -> int:
        """Bytes sent; all of them count as sent where the kernel refuses this descriptor alone."""
        try:
            return socket.send_fds(connection, [outgoing.data], [fd])
        except OSError as exc:
            if exc.errno not in _OF_ONE_PARCEL:
                raise
            self._fail(outgoing.id, HandoverError(f"the socket can't be sent: {exc.strerror}"))
            return len(outgoing.data)

    def _give_up(self, id_: int) -> None:
        self._fail(id_, NoAnswerError(f"no answer in time from the holder at {self._path.name}"))

    def _fail(self, id_: int, error: HandoverError) -> None:
        answer = self._waiting.get(id_)
        if answer is not None and not answer.done():
            answer.set_exception(error)

    def _start_writing(self, connection: socket.socket) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(connection.fileno(), self._write)

    def _stop_writing(self) -> None:
        if self._writing and self._connection is not None:
            self._writing = False
            self._loop.remove_writer(self._connection.fileno())

    def _read(self) -> None:
        """Read until nothing is left: uvloop tells only once of a connection that broke."""
        while self._connection is not None and self._read_some(self._connection):
            pass

    def _read_some(self, connection: socket.socket) -> bool:
        try:
            data = connection.recv(64 * 1024)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            self._disconnect(exc.strerror or "read failed")
            return False
        if not data:
            self._disconnect("the holder closed it or died")
            return False
        self._answers += data
        self._take_answers()
        return True

    def _take_answers(self) -> None:
        whole = len(self._answers) - len(self._answers) % _ANSWER.size
        for id_, status in _ANSWER.iter_unpack(self._answers[:whole]):
            answer = self._waiting.get(id_)
            if status != _ACCEPTED:
                self._fail(id_, HandoverError(f"the holder at {self._path.name} could not take the socket"))
            elif answer is not None and not answer.done():
                answer.set_result(None)
        del self._answers[:whole]


OnParcel = Callable[[socket.socket, Parcel], None]


class Receiver:
    """Takes sockets at `path`. `on_parcel` owns the socket from its call on, unless it raises.

    `on_parcel` must not write to the socket in the same turn of the event loop: only at its end is the sender
    told what was taken, and a sender that was not told hands its copy to another receiver.
    """

    def __init__(self, path: Path, on_parcel: OnParcel) -> None:
        self._on_parcel = on_parcel
        self._listener = UnixListener(path, self._let_in, "handover")
        self._inlets: set[_Inlet] = set()

    async def start(self) -> None:
        """Listen; a socket file that a predecessor left is replaced. Raises `OSError`, `NotPrivateError` if
        the directory is open to others."""
        self._listener.start()

    async def stop(self) -> None:
        """Take no more; what was taken stays with `on_parcel`."""
        self._listener.close()
        for inlet in list(self._inlets):
            inlet.close()

    def _let_in(self, connection: socket.socket) -> None:
        self._inlets.add(_Inlet(connection, self._on_parcel, self._inlets.discard))


_PARCELS_PER_TURN = 32


class _Inlet:
    """One sender's connection, on the receiver's side."""

    def __init__(
        self, connection: socket.socket, on_parcel: OnParcel, on_closed: "Callable[[_Inlet], None]"
    ) -> None:
        self._connection = connection
        self._on_parcel = on_parcel
        self._on_closed = on_closed
        self._header = bytearray()
        self._body = bytearray()
        self._taken: socket.socket | None = None
        self._answers = bytearray()
        self._stuck = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection.fileno(), self._read)

    def close(self) -> None:
        """Stop reading; a socket whose parcel is incomplete is let go (its sender still has it)."""
        if self._connection.fileno() < 0:
            return
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        if self._taken is not None:
            self._taken.close()
            self._taken = None
        self._on_closed(self)

    def _read(self) -> None:
        """Take some parcels, and answer them together."""
        broken = False
        try:
            for _ in range(_PARCELS_PER_TURN):
                self._read_parcel()
        except (BlockingIOError, InterruptedError):
            pass
        except (OSError, EOFError):
            broken = True
        self._write()
        if broken:
            self.close()

    def _read_parcel(self) -> None:
        """Go on reading until one parcel is whole and taken; raises `BlockingIOError` before that."""
        while len(self._header) < _HEADER.size:
            self._read_header()
        id_, size = _HEADER.unpack(self._header)
        if size > MAX_BODY_BYTES:
            raise EOFError("no message of ours")
        while len(self._body) < size:
            self._body += _some(self._connection.recv(size - len(self._body)))
        body, taken = bytes(self._body), self._taken
        self._header.clear()
        self._body.clear()
        self._taken = None
        self._answers += _ANSWER.pack(id_, _ACCEPTED if self._deliver(taken, body) else _REFUSED)

    def _read_header(self) -> None:
        missing = _HEADER.size - len(self._header)
        data, ancillary, _, _ = self._connection.recvmsg(missing, _FD_SPACE)
        for fd in _descriptors(ancillary):
            self._take(fd)
        self._header += _some(data)

    def _take(self, fd: int) -> None:
        """Own a descriptor that arrived; one that is no socket, or too many, is closed."""
        try:
            taken = socket.socket(fileno=fd)
        except OSError:
            os.close(fd)
            return
        if self._taken is None:
            self._taken = taken
        else:
            taken.close()

    def _deliver(self, taken: socket.socket | None, body: bytes) -> bool:
        if taken is None:
            _log.error("descriptor_lost", hint="raise the holder's limit of open files (ulimit -n)")
            return False
        try:
            taken.setblocking(False)
            self._on_parcel(taken, Parcel.decode(body))
        except FullError:
            _log.warning("holder_full", hint="add holders, or raise the limit of open files (ulimit -n)")
            taken.close()
            return False
        except Exception:
            _log.exception("handover_refused")
            taken.close()
            return False
        return True

    def _write(self) -> None:
        """A sender that does not take its answers gets no more of its parcels taken until it does."""
        if not self._answers:
            return
        try:
            sent = self._connection.send(self._answers)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        del self._answers[:sent]
        self._set_stuck(bool(self._answers))

    def _set_stuck(self, stuck: bool) -> None:
        if stuck == self._stuck:
            return
        self._stuck = stuck
        fd = self._connection.fileno()
        if stuck:
            self._loop.remove_reader(fd)
            self._loop.add_writer(fd, self._write)
        else:
            self._loop.remove_writer(fd)
            self._loop.add_reader(fd, self._read)


def _some(data: bytes) -> bytes:
    if not data:
        raise EOFError("the sender closed")
    return data


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()
