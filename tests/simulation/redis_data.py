"""What a Redis server keeps, and the commands on it that Doorstep gives: a model of them, and nothing more.

tests/simulation/test_redis.py compares it with a real server on random sequences. Pure.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Reply = Any
"""Bytes, int, None, `Status`, a dict, lists of them; pairs of member and score as a list of tuples."""


class RedisError(Exception):
    """An error reply."""


class Status(str):
    """A reply that is no value, such as OK."""

    __slots__ = ()


@dataclass(slots=True)
class Stream:
    """Entries by number: all ids are `<number>-0`."""

    entries: dict[int, list[bytes]] = field(default_factory=dict)
    last: int = 0


Hash = dict[bytes, bytes]


class SortedSet(dict[bytes, float]):
    """Scores by member."""

    def ranked(self) -> list[tuple[bytes, float]]:
        """All, the lowest first."""
        return sorted(self.items(), key=lambda pair: (pair[1], pair[0]))


Value = bytes | Hash | SortedSet | Stream
_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
_NOT_A_NUMBER = "ERR value is not an integer or out of range"


class Data:
    """All keys of a server. `run` raises `RedisError`."""

    def __init__(self, now: Callable[[], float], info: Callable[[], str]) -> None:
        """`now` is in Unix seconds."""
        self._now = now
        self._info = info
        self._values: dict[bytes, Value] = {}
        self._ends: dict[bytes, float] = {}
        self._commands: Mapping[bytes, Callable[..., Reply]] = {
            name.removeprefix("do_").upper().encode(): getattr(self, name)
            for name in dir(self)
            if name.startswith("do_")
        }

    def copy(self) -> tuple[dict[bytes, Value], dict[bytes, float]]:
        """All there is, to be put back later."""
        return {
            key: copy.copy(value)
            if not isinstance(value, Stream)
            else Stream(dict(value.entries), value.last)
            for key, value in self._values.items()
        }, dict(self._ends)

    def put_back(self, kept: tuple[dict[bytes, Value], dict[bytes, float]]) -> None:
        """As it was."""
        self._values, self._ends = kept

    def run(self, verb: bytes, *arguments: bytes) -> Reply:
        """One command."""
        command = self._commands.get(verb.upper())
        if command is None:
            raise RedisError(f"ERR unknown command '{verb.decode()}'")
        return command(*arguments)

    # Keys

    def _find(self, key: bytes, kind: type) -> Any:
        end = self._ends.get(key)
        if end is not None and end <= self._now():
            self._drop(key)
        found = self._values.get(key)
        if found is not None and type(found) is not kind:
            raise RedisError(_WRONG_TYPE)
        return found

    def _made(self, key: bytes, kind: type) -> Any:
        found = self._find(key, kind)
        if found is None:
            found = self._values[key] = kind()
        return found

    def _drop(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def _tidy(self, key: bytes) -> None:
        """What is empty is not there."""
        if not self._values.get(key):
            self._drop(key)

    def _is_there(self, key: bytes) -> bool:
        end = self._ends.get(key)
        if end is not None and end <= self._now():
            self._drop(key)
        return key in self._values

    def do_exists(self, *keys: bytes) -> int:
        return sum(map(self._is_there, keys))

    def do_del(self, *keys: bytes) -> int:
        return sum([self._is_there(key) and self._drop(key) for key in keys])

    def do_unlink(self, *keys: bytes) -> int:
        return self.do_del(*keys)

    def do_pexpire(self, key: bytes, ms: bytes) -> int:
        if not self._is_there(key):
            return 0
        self._ends[key] = self._now() + _integer(ms) / 1000
        return 1

    def do_flushall(self) -> Status:
        self._values.clear()
        self._ends.clear()
        return Status("OK")

    def do_time(self) -> list[bytes]:
        microseconds = round(self._now() * 1_000_000)
        return [b"%d" % (microseconds // 1_000_000), b"%d" % (microseconds % 1_000_000)]

    def do_info(self, *_: bytes) -> bytes:
        return self._info().encode()

    # Strings

    def do_get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._find(key, bytes)
        return found

    def do_mget(self, *keys: bytes) -> list[bytes | None]:
        found = [self._values.get(key) if self._is_there(key) else None for key in keys]
        return [each if isinstance(each, bytes) else None for each in found]

    def do_set(self, key: bytes, value: bytes, *options: bytes) -> Status:
        self._ends.pop(key, None)
        self._values[key] = value
        if options:
            self._ends[key] = self._now() + _integer(options[1]) / 1000
        return Status("OK")

    # Hashes

    def do_hget(self, key: bytes, name: bytes) -> bytes | None:
        return (self._find(key, dict) or {}).get(name)

    def do_hmget(self, key: bytes, *names: bytes) -> list[bytes | None]:
        found = self._find(key, dict) or {}
        return [found.get(name) for name in names]

    def do_hgetall(self, key: bytes) -> Hash:
        return dict(self._find(key, dict) or {})

    def do_hexists(self, key: bytes, name: bytes) -> int:
        return int(name in (self._find(key, dict) or {}))

    def do_hkeys(self, key: bytes) -> list[bytes]:
        return list(self._find(key, dict) or {})

    def do_hlen(self, key: bytes) -> int:
        return len(self._find(key, dict) or {})

    def do_hset(self, key: bytes, *pairs: bytes) -> int:
        if not pairs or len(pairs) % 2:
            raise RedisError("ERR wrong number of arguments for 'hset' command")
        found: Hash = self._made(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def do_hdel(self, key: bytes, *names: bytes) -> int:
        found: Hash = self._find(key, dict) or {}
        gone = sum(found.pop(name, None) is not None for name in names)
        self._tidy(key)
        return gone

    # Sorted sets

    def _members(self, key: bytes) -> SortedSet:
        return self._find(key, SortedSet) or SortedSet()

    def do_zadd(self, key: bytes, *arguments: bytes) -> int:
        only_new = arguments[0].upper() == b"NX"
        pairs = arguments[1:] if only_new else arguments
        found: SortedSet = self._made(key, SortedSet)
        before = len(found)
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            if not (only_new and member in found):
                found[member] = float(score)
        return len(found) - before

    def do_zrem(self, key: bytes, *members: bytes) -> int:
        found = self._members(key)
        gone = sum(found.pop(member, None) is not None for member in members)
        self._tidy(key)
        return gone

    def do_zcard(self, key: bytes) -> int:
        return len(self._members(key))

    def do_zscore(self, key: bytes, member: bytes) -> float | None:
        return self._members(key).get(member)

    def do_zrange(self, key: bytes, first: bytes, last: bytes, *options: bytes) -> list[Any]:
        ranked = _slice(self._members(key).ranked(), _integer(first), _integer(last))
        return list(ranked) if options else [member for member, _ in ranked]

    def do_zrangebyscore(self, key: bytes, low: bytes, high: bytes, *limit: bytes) -> list[bytes]:
        within = [member for member, score in self._members(key).ranked() if _is_within(score, low, high)]
        return within[_integer(limit[1]) :][: _integer(limit[2])] if limit else within

    def do_zremrangebyscore(self, key: bytes, low: bytes, high: bytes) -> int:
        return self.do_zrem(key, *self.do_zrangebyscore(key, low, high))

    def do_zremrangebyrank(self, key: bytes, first: bytes, last: bytes) -> int:
        ranked = _slice(self._members(key).ranked(), _integer(first), _integer(last))
        return self.do_zrem(key, *[member for member, _ in ranked])

    def do_zscan(self, key: bytes, cursor: bytes, *_: bytes) -> list[Any]:
        flat: list[bytes] = []
        for member, score in self._members(key).ranked():
            flat += (member, number_text(score))
        return [b"0", flat]

    # Streams

    def do_xadd(self, key: bytes, *arguments: bytes) -> bytes:
        most = None
        if arguments[0].upper() == b"MAXLEN":
            most, arguments = _integer(arguments[2]), arguments[3:]
        number = _number_of(arguments[0])
        if not number:
            raise RedisError("ERR The ID specified in XADD must be greater than 0-0")
        found = self._find(key, Stream)
        if found is not None and number <= found.last:
            raise RedisError(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item"
            )
        stream: Stream = self._made(key, Stream)
        stream.entries[number], stream.last = list(arguments[1:]), number
        if most is not None:  # "~" lets a server keep more: it never keeps less
            for gone in list(stream.entries)[: max(len(stream.entries) - most, 0)]:
                del stream.entries[gone]
        return b"%d-0" % number

    def do_xrange(self, key: bytes, first: bytes, last: bytes, *count: bytes) -> list[Any]:
        entries = self._between(key, first, last)
        return entries[: _integer(count[1])] if count else entries

    def do_xrevrange(self, key: bytes, last: bytes, first: bytes, *count: bytes) -> list[Any]:
        entries = self._between(key, first, last)[::-1]
        return entries[: _integer(count[1])] if count else entries

    def _between(self, key: bytes, first: bytes, last: bytes) -> list[Any]:
        stream = self._find(key, Stream) or Stream()
        low = 0 if first == b"-" else _number_of(first)
        high = stream.last if last == b"+" else _number_of(last)
        return [
            [b"%d-0" % number, fields] for number, fields in stream.entries.items() if low <= number <= high
        ]


def number_text(number: float) -> bytes:
    """As Redis writes a number."""
    return b"%d" % number if number == int(number) else repr(number).encode()


def _integer(text: bytes) -> int:
    if not re.fullmatch(rb"-?\d+", text):
        raise RedisError(_NOT_A_NUMBER)
    return int(text)


def _number_of(id_: bytes) -> int:
    number, _, rest = id_.partition(b"-")
    if not number.isdigit() or rest not in (b"", b"0"):
        raise RedisError("ERR Invalid stream ID specified as stream command argument")
    return int(number)


def _slice(everything: Sequence[tuple[bytes, float]], first: int, last: int) -> Sequence[tuple[bytes, float]]:
    size = len(everything)
    start = max(first + size if first < 0 else first, 0)
    return everything[start : max((last + size if last < 0 else last) + 1, 0)]


def _is_within(score: float, low: bytes, high: bytes) -> bool:
    above = score > float(low[1:]) if low.startswith(b"(") else score >= float(low)
    below = score < float(high[1:]) if high.startswith(b"(") else score <= float(high)
    return above and below
