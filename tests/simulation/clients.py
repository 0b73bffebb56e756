"""Devices of users: each keeps a cursor, and comes back with it whatever happens."""

import asyncio
import contextlib
import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import orjson

from doorstep.gateway.frames import CLOSE, PING, PONG, TEXT
from doorstep.gateway.handover import Parcel
from tests.simulation.cells import Cells
from tests.simulation.loop import Process, resolve
from tests.simulation.network import AcceptedSocket, Network

_ANSWER = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.1, 3.0
START = "it has just come"
_FOREVER = 4e9
_REPLAY = 100_000
_WAIT_S = 3
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What a device wrote down: it was told where it stands (anew), or it got a notification."""

    at: float
    kind: Literal["welcome", "reset", "notification"]
    seq: int
    mark: str = ""
    """Of a notification: which event it is."""
    is_new_start: bool = False
    """Whether it has to fetch its state: what came before is not told to it again."""
    reason: str | None = None


@dataclass(slots=True)
class Journal:
    """Of one device."""

    user: str
    device: str
    entries: list[Entry] = field(default_factory=list)


class Device:
    """One device, by whatever way it comes."""

    def __init__(
        self, network: Network, cells: Cells, chance: random.Random, *, user: str, device: str
    ) -> None:
        self.journal = Journal(user, device)
        self.process = Process(network.loop, device, device)
        self._loop = network.loop
        self._network = network
        self._cells = cells
        self._chance = chance
        self._cursor: str | None = None
        living = self.process.call(self._loop.create_task, self._live())
        living.add_done_callback(asyncio.Task.result)  # an exception of it is one that nobody caught

    def mark_read(self) -> None:
        """Say that everything up to here is read, if there is a way."""

    async def _live(self) -> None:
        delay = _FIRST_RETRY_S
        while True:
            if await self._once():
                delay = _FIRST_RETRY_S
            await asyncio.sleep(self._chance.uniform(delay / 2, delay))
            delay = min(2 * delay, _LONGEST_RETRY_S)

    async def _once(self) -> bool:
        """Connect, and stay as long as it lasts; whether the server has answered."""
        raise NotImplementedError

    async def _connect(self, line: asyncio.Protocol, kind: Literal["socket", "poll"], query: str) -> bool:
        """Whether some holder of some node has taken us."""
        node = self._cells.any_node(self._chance)
        await self._network.travel(self.process.host, node)
        seat = self._cells.holder_for(node, self.journal.user)
        if seat is None:
            return False
        holder, take = seat
        near, far = self._network.pair(self.process.host, node)
        near.belongs_to(self.process, line)
        parcel = Parcel(kind, self.journal.user, _FOREVER, query, answer=_ANSWER)
        self._network.soon(holder, take, AcceptedSocket(far, holder), parcel)
        return True

    def _note(self, notification: dict[str, Any]) -> None:
        self._cursor = notification["cursor"]
        mark = mark_of(notification["data"])
        self._write(Entry(self._loop.time(), "notification", notification["seq"], mark))

    def _stand(
        self, kind: Literal["welcome", "reset"], cursor: str, reason: str | None, *, anew: bool
    ) -> None:
        self._cursor = cursor
        self._write(Entry(self._loop.time(), kind, _seq(cursor), "", anew, reason))

    def _write(self, entry: Entry) -> None:
        self.journal.entries.append(entry)


class Browser(Device):
    """A page with a WebSocket."""

    _line: "_Line | None" = None

    def mark_read(self) -> None:
        if self._cursor is not None and self._line is not None:
            self.process.call(self._line.say, {"op": "read", "cursor": self._cursor})

    async def _once(self) -> bool:
        line = self._line = _Line(self._take)
        query = f"cursor={quote(self._cursor)}" if self._cursor else f"replay={_REPLAY}"
        if await self._connect(line, "socket", query):
            await line.ended
        return line.was_welcomed

    def _take(self, message: dict[str, Any]) -> None:
        """A message of the server."""
        if "seq" in message:
            self._note(message)
        elif message["event"] == "doorstep.welcome":
            data, has_been = message["data"], bool(self.journal.entries)
            anew = not data["resumed"] and (has_been or data["reset"] is not None)
            self._stand("welcome", message["cursor"], data["reset"], anew=anew)
        elif message["event"] == "doorstep.reset":
            self._stand("reset", message["cursor"], message["data"]["reason"], anew=True)


class Poller(Device):
    """A page where WebSockets are blocked."""

    async def _once(self) -> bool:
        exchange = _Exchange()
        query = f"after={quote(self._cursor)}&wait={_WAIT_S}&limit=5" if self._cursor else ""
        if await self._connect(exchange, "poll", query):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_S):
                    await exchange.ended
        return self._take(exchange.data)

    def _take(self, response: bytes) -> bool:
        head, _, body = response.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0] or len(body) < _length_of(head):
            return False
        answer = orjson.loads(body)
        if not self.journal.entries:
            self._stand("welcome", answer["cursor"], START, anew=True)
        elif answer["reset"]:
            self._stand("reset", answer["cursor"], answer["reset_reason"], anew=True)
        for notification in answer["notifications"]:
            self._note(notification)
        self._cursor = answer["cursor"]
        return True


class _Exchange(asyncio.Protocol):
    """One HTTP request and its response."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        resolve(self.ended)


def _length_of(head: bytes) -> int:
    found = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 1 << 30


class _Line(asyncio.Protocol):
    """One connection of a browser, just enough of RFC 6455."""

    def __init__(self, take: Callable[[dict[str, Any]], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.was_welcomed = False
        self._on_message = take
        self._data = b""
        self._is_open = False
        self._transport: asyncio.Transport | None = None

    def say(self, operation: dict[str, Any]) -> None:
        """Send an operation, if it can be sent."""
        if self._transport is not None and self._is_open:
            self._transport.write(_masked(TEXT, orjson.dumps(operation)))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            _, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            self._is_open, self._data = True, rest
        while self._transport is not None and self._read_frame():
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        resolve(self.ended)

    def _read_frame(self) -> bool:
        data = self._data
        if len(data) < 2:
            return False
        size, start = data[1], 2
        if size == 126:
            start = 4
        elif size == 127:
            start = 10
        if len(data) < start:
            return False
        if start > 2:
            size = int.from_bytes(data[2:start])
        if len(data) < start + size:
            return False
        self._data = data[start + size :]
        self._take(data[0] & 15, data[start : start + size])
        return True

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self._transport is not None
        if opcode == PING:
            self._transport.write(_masked(PONG, payload))
        elif opcode == CLOSE:
            self._transport.write(_masked(CLOSE, payload[:2]))
            self._transport.close()
        elif opcode == TEXT:
            self.was_welcomed = True
            self._on_message(orjson.loads(payload))


def _masked(opcode: int, payload: bytes) -> bytes:
    """A short frame, masked with zeros."""
    return struct.pack("!BB4x", 0x80 | opcode, 0x80 | len(payload)) + payload


def _seq(cursor: str) -> int:
    return int(cursor.partition("-")[0])


def mark_of(data: dict[str, Any]) -> str:
    """Which event a notification with these data is."""
    mark: str = data.get("mark") or data["original_file_name"]
    return mark
