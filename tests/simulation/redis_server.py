"""A Redis server on the simulated network: the real bytes go in and come out; what it keeps is a model."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import hiredis

from tests.simulation.network import Network
from tests.simulation.redis_data import Data, RedisError, Reply, Status, Value
from tests.simulation.redis_lua import Lua

_MORE = object()
Kept = tuple[dict[bytes, Value], dict[bytes, float]]


class RedisServer:
    """One server; it may be restarted with what it had, with less, or with nothing."""

    def __init__(self, network: Network, host: str, lua: Lua, now: Callable[[], float]) -> None:
        self.data = Data(now, self._info)
        self.refuses = ""
        """An error with which it answers all that would write."""
        self._network = network
        self._host = host
        self._lua = lua
        self._starts = 0
        self._scripts: set[bytes] = set()
        self._subscribers: defaultdict[bytes, list[_Session]] = defaultdict(list)
        self._sessions: list[_Session] = []
        self._kept: Kept = {}, {}
        self.start()

    def keep(self) -> None:
        """What there is now is on the disk, or on a replica."""
        self._kept = self.data.copy()

    def start(self) -> None:
        """Be there, as a process of its own."""
        self._starts += 1
        self._network.listen(self._host, partial(_Session, self))

    def stop(self, *, loses: bool) -> None:
        """Be gone; when it is back it has all, or what was kept last."""
        self._network.deafen(self._host)
        for session in self._sessions:
            session.drop()
        self._sessions.clear()
        self._subscribers.clear()
        self._scripts.clear()
        if loses:
            self.data.put_back(self._kept)
            self.keep()

    def cut_subscribers(self) -> None:
        """Cut those who listen, as it does with one that is too slow."""
        for session in {id(each): each for all_ in self._subscribers.values() for each in all_}.values():
            session.drop()

    def execute(self, session: "_Session", words: list[bytes]) -> Iterator[bytes]:
        """The answer to one command."""
        verb = words[0].upper()
        if verb in (b"SUBSCRIBE", b"UNSUBSCRIBE"):
            yield from self._subscribe(session, verb, words[1:])
            return
        try:
            yield _encoded(self._answer(verb, words))
        except RedisError as error:
            yield b"-%b\r\n" % str(error).encode()

    def forget(self, session: "_Session") -> None:
        """It is gone."""
        for sessions in self._subscribers.values():
            if session in sessions:
                sessions.remove(session)
        if session in self._sessions:
            self._sessions.remove(session)

    def join(self, session: "_Session") -> None:
        """It has come."""
        self._sessions.append(session)

    def _answer(self, verb: bytes, words: list[bytes]) -> Reply:
        match verb:
            case b"HELLO":
                return {b"server": b"redis", b"proto": 3, b"role": b"master"}
            case b"PING":
                return Status("PONG")
            case b"COMMAND":
                return [None]
            case b"EVAL":
                self._scripts.add(self._lua.compile(words[1]))
                return self._evaluate(self._lua.compile(words[1]), words)
            case b"EVALSHA":
                if words[1] not in self._scripts:
                    raise RedisError("NOSCRIPT No matching script. Please use EVAL.")
                return self._evaluate(words[1], words)
        return self.run(*words)

    def _evaluate(self, sha: bytes, words: list[bytes]) -> Reply:
        keys = 3 + int(words[2])
        return self._lua.run(self.run, sha, words[3:keys], words[keys:])

    def run(self, verb: bytes, *arguments: bytes) -> Reply:
        """One command on what it keeps. Raises `RedisError`."""
        if verb.upper() == b"PUBLISH":
            return self._publish(*arguments)
        if self.refuses and verb.upper() in _WRITES:
            raise RedisError(self.refuses)
        return self.data.run(verb, *arguments)

    def _publish(self, channel: bytes, message: bytes) -> int:
        sessions = self._subscribers.get(channel, ())
        for session in sessions:
            session.push([b"message", channel, message])
        return len(sessions)

    def _subscribe(self, session: "_Session", verb: bytes, channels: list[bytes]) -> Iterator[bytes]:
        for channel in channels:
            sessions = self._subscribers[channel]
            if session in sessions:
                sessions.remove(session)
            if verb == b"SUBSCRIBE":
                sessions.append(session)
            yield _push([verb.lower(), channel, len(sessions)])

    def _info(self) -> str:
        return f"run_id:{self._starts:040x}\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\n"


_WRITES = frozenset({b"HSET", b"SET", b"ZADD", b"XADD", b"HDEL", b"ZREM"})


class _Session(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._reader = hiredis.Reader(notEnoughData=_MORE)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._server.join(self)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        answers: list[bytes] = []
        while (words := self._reader.gets()) is not _MORE:
            answers += self._server.execute(self, words)
        if answers and self._transport is not None:
            self._transport.write(b"".join(answers))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.forget(self)

    def push(self, message: list[Reply]) -> None:
        """Tell it what was published."""
        if self._transport is not None:
            self._transport.write(_push(message))

    def drop(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()


def _push(message: list[Reply]) -> bytes:
    return b">%d\r\n%b" % (len(message), b"".join(map(_encoded, message)))


def _encoded(reply: Reply) -> bytes:
    """As RESP 3."""
    match reply:
        case None:
            return b"_\r\n"
        case Status() | int() | float():
            return b"%b%b\r\n" % (_SIGNS[type(reply)], str(reply).encode())
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case dict():
            parts = [_encoded(part) for pair in reply.items() for part in pair]
            return b"%%%d\r\n%b" % (len(reply), b"".join(parts))
    return b"*%d\r\n%b" % (len(reply), b"".join(map(_encoded, reply)))


_SIGNS: Mapping[type, bytes] = {Status: b"+", int: b":", float: b","}
