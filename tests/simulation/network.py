"""A network between hosts: ways that keep their order, and everything else that may happen on them.

What is sent comes late, in pieces, after anything on another way; a connection may be cut, for one end long
before the other notices; hosts may be cut off from each other, and what was sent waits until they are not,
as TCP does.
"""

import asyncio
import contextvars
import random
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.simulation.loop import Loop, Process, current, resolve

Factory = Callable[[], asyncio.Protocol]
Arrival = Callable[[], None]

_WORLD = contextvars.Context()
"""In it runs what belongs to no process."""
_SLOW_SHARE = 0.01
_SPLIT_SHARE = 0.05
_RETRANSMIT_S = 1.0


class Network:
    """All hosts, and what is between them."""

    def __init__(self, loop: Loop, chance: random.Random) -> None:
        self.loop = loop
        self.chance = chance
        self._pairs: list[tuple[Endpoint, Endpoint]] = []
        self._listening: dict[str, Factory] = {}
        self._apart: set[frozenset[str]] = set()
        self._stalled: list[Arrival] = []

    # Faults

    def part(self, one: str, other: str) -> None:
        """These two hosts do not hear each other from now on."""
        self._apart.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """They do again."""
        self._apart.discard(frozenset((one, other)))
        self._go_on()

    def cut(self, one: str, other: str) -> int:
        """Cut the connections between these hosts; says how many."""
        self._pairs = [pair for pair in self._pairs if not (pair[0].is_closing() and pair[1].is_closing())]
        cut = [pair for pair in self._pairs if {pair[0].host, pair[1].host} == {one, other}]
        for ends in cut:
            for end in ends:
                end.lose(self._lateness())
        return len(cut)

    def are_apart(self, one: str, other: str) -> bool:
        """Whether they do not hear each other."""
        return bool(self._apart) and frozenset((one, other)) in self._apart

    def when_together(self, one: str, other: str, go_on: Arrival) -> bool:
        """Whether they hear each other; else `go_on` is called when they may do so again."""
        if self.are_apart(one, other):
            self._stalled.append(go_on)
            return False
        return True

    def _go_on(self) -> None:
        stalled, self._stalled = self._stalled, []
        for go_on in stalled:
            self.later(self.chance.uniform(0, _RETRANSMIT_S), go_on)

    def _lateness(self) -> float:
        return self.chance.choice((0.0, self.chance.uniform(0, 0.1), self.chance.uniform(0, 3)))

    # Time

    def latency(self) -> float:
        """How long the next thing takes from one host to another."""
        if self.chance.random() < _SLOW_SHARE:
            return self.chance.uniform(0.05, 1.0)
        return self.chance.uniform(0.0001, 0.003)

    def later(self, delay_s: float, function: Callable[..., object], *arguments: Any) -> None:
        """Call something as no process."""
        self.loop.call_later(delay_s, function, *arguments, context=_WORLD)

    def soon(self, process: Process | None, function: Callable[..., object], *arguments: Any) -> None:
        """Call something as a process, if it lives."""
        self.loop.call_soon(function, *arguments, context=process.context if process else _WORLD)

    async def travel(self, one: str, other: str) -> None:
        """Go from one host to another, however long that takes."""
        arrived = self.loop.create_future()
        Way(self, one, other).send(partial(resolve, arrived))
        await arrived

    # Connections

    def listen(self, host: str, serve: Factory) -> None:
        """Accept connections to this host."""
        self._listening[host] = serve

    def deafen(self, host: str) -> None:
        """Accept none any more."""
        self._listening.pop(host, None)

    async def connect(
        self, factory: Factory, host: str, *_: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """As `loop.create_connection` does. Raises `OSError`."""
        process = current()
        assert process is not None
        await self.travel(process.host, host)
        serve = self._listening.get(host)
        if serve is None:
            raise ConnectionRefusedError(f"nobody listens on {host}")
        near, far = self.pair(process.host, host)
        self.soon(None, far.belongs_to, None, serve())
        await self.travel(host, process.host)
        protocol = factory()
        near.belongs_to(process, protocol)
        return near, protocol

    def pair(self, one: str, other: str) -> "tuple[Endpoint, Endpoint]":
        """A connection that is open."""
        near, far = Endpoint(self, one, other), Endpoint(self, other, one)
        near.peer, far.peer = far, near
        self._pairs.append((near, far))
        return near, far

    def pieces(self, data: bytes) -> list[bytes]:
        """As what a write comes."""
        if len(data) < 2 or self.chance.random() > _SPLIT_SHARE:
            return [data]
        at = self.chance.randrange(1, len(data))
        return [data[:at], data[at:]]


class Way:
    """From one host to another: what is sent arrives in order, each after its time."""

    def __init__(self, network: Network, one: str, other: str) -> None:
        self._network = network
        self._one, self._other = one, other
        self._coming: deque[Arrival] = deque()
        self._last_at = 0.0
        self._is_stalled = False
        self._is_cut = False

    def send(self, arrive: Arrival) -> None:
        """Have `arrive` called when it is there."""
        if self._is_cut:
            return
        loop = self._network.loop
        self._coming.append(arrive)
        self._last_at = max(self._last_at, loop.time() + self._network.latency())
        loop.call_at(self._last_at, self._arrive, context=_WORLD)

    def lose(self) -> None:
        """Of what is under way only the first so many things still arrive, and nothing after them."""
        self._is_cut = True
        for _ in range(self._network.chance.randint(0, len(self._coming))):
            self._coming.pop()

    def _arrive(self) -> None:
        if self._is_stalled or not self._coming:
            return
        self._is_stalled = not self._network.when_together(self._one, self._other, self._catch_up)
        if not self._is_stalled:
            self._coming.popleft()()

    def _catch_up(self) -> None:
        self._is_stalled = False
        for _ in range(len(self._coming)):
            self._arrive()


class Endpoint(asyncio.Transport):
    """One end of a connection: what its process writes comes to the other end."""

    peer: "Endpoint"

    def __init__(self, network: Network, host: str, other: str) -> None:
        super().__init__()
        self.host = host
        self._other = other
        self._network = network
        self._protocol: asyncio.Protocol | None = None
        self._process: Process | None = None
        self._coming = Way(network, other, host)
        self._arrived: list[bytes] = []
        """What came before there was a protocol, or while reading was paused."""
        self._under_way = 0
        self._most = 1 << 30
        self._is_full = False
        self._is_reading = True
        self._ended = False

    def belongs_to(self, process: Process | None, protocol: asyncio.Protocol) -> None:
        """Its process, which runs now, takes it."""
        self._process, self._protocol = process, protocol
        if process is not None:
            process.on_death.append(self._die)
        protocol.connection_made(self)
        self._call(self._flush)

    # What a protocol calls

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._ended:
            return
        for piece in self._network.pieces(bytes(data)):
            self.peer.send_here(piece)
        self._under_way += len(data)
        if self._under_way > self._most and not self._is_full and self._protocol is not None:
            self._is_full = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._ended:
            self.peer.end_here()
            self._stop(None)

    def abort(self) -> None:
        if not self._ended:
            self.peer.lose(self._network.latency())
            self._stop(None)

    def is_closing(self) -> bool:
        return self._ended

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._call(self._flush)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._most = self._most if high is None else high

    # What the network does

    def send_here(self, data: bytes) -> None:
        """The peer has written this."""
        self._coming.send(lambda: self._take(data))

    def end_here(self) -> None:
        """The peer has closed."""
        self._coming.send(lambda: self._end(None))

    def lose(self, late_s: float) -> None:
        """The connection is gone; some of what is under way may still come."""
        self._coming.lose()
        self._network.later(late_s, self._is_lost)

    def _is_lost(self) -> None:
        if self._network.when_together(self._other, self.host, self._is_lost):
            self._end(ConnectionResetError("the connection was cut"))

    def _take(self, data: bytes) -> None:
        if self._ended:
            self.peer.lose(self._network.latency())
            return
        self._arrived.append(data)
        self._call(self._flush)

    def was_read(self, size: int) -> None:
        """So much of what was written here was read at the other end."""
        self._under_way -= size
        if self._is_full and not self._under_way:
            self._is_full = False
            self._call(self._resume_writing)

    def _resume_writing(self) -> None:
        if self._protocol is not None and not self._ended:
            self._protocol.resume_writing()

    def _flush(self) -> None:
        """As its process: hand over what has come."""
        if self._protocol is not None and self._is_reading:
            arrived, self._arrived = self._arrived, []
            for data in arrived:
                self.peer.was_read(len(data))
                self._protocol.data_received(data)

    def _stop(self, error: Exception | None) -> None:
        """As its process: hear no more, and end."""
        self._is_reading = False
        self._end(error)

    def _end(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended = True
            self._call(self._tell_end, error)

    def _tell_end(self, error: Exception | None) -> None:
        self._flush()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(error)

    def _die(self) -> None:
        if not self._ended:
            self._ended = True
            self.peer.lose(self._network.latency())

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        self._network.soon(self._process, function, *arguments)


class AcceptedSocket(socket.socket):
    """A connection that was accepted and is nobody's yet; no descriptor is behind it."""

    def __init__(self, endpoint: Endpoint, process: Process) -> None:
        self._endpoint = endpoint
        self._process = process

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        """Nothing has come yet."""
        raise BlockingIOError

    def given_to(self, protocol: asyncio.Protocol) -> Endpoint:
        """It is the protocol's."""
        self._endpoint.belongs_to(self._process, protocol)
        return self._endpoint
