"""Runs the scripts of the store as they are, on Lua 5.1 as Redis does, against a model of its data."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
from lupa.lua51 import LuaRuntime, lua_type

from tests.simulation.redis_data import RedisError, Reply, Status, number_text

_PRELUDE = b"""
local execute, sha1hex, pack, unpack_message = ...
redis = { pcall = execute, sha1hex = sha1hex }
cmsgpack = { pack = pack, unpack = unpack_message }
function redis.call(...)
  local said = execute(...)
  if type(said) == 'table' and said.err then error(said, 0) end
  return said
end
function redis.error_reply(text) return { err = text } end
return function(script, keys, arguments)
  local could, said = pcall(script, keys, arguments)
  if could or type(said) == 'table' then return said end
  return { err = 'ERR ' .. tostring(said) }
end
"""

Run = Callable[..., Reply]
"""One command, given its words; raises `RedisError`."""


class Lua:
    """One interpreter for all servers: what a script is called with decides on what it works."""

    def __init__(self) -> None:
        self._runtime = LuaRuntime(encoding=None, unpack_returned_tuples=False)
        prepare = self._runtime.eval(b"function(...) " + _PRELUDE + b" end")
        self._call = prepare(self._execute, _sha1hex, self._pack, self._unpack)
        self._scripts: dict[bytes, Any] = {}
        self._run: Run

    def compile(self, text: bytes) -> bytes:
        """The hash by which a script is called from now on."""
        sha = hashlib.sha1(text).hexdigest().encode()
        if sha not in self._scripts:
            self._scripts[sha] = self._runtime.eval(b"function(KEYS, ARGV) " + text + b"\nend")
        return sha

    def run(self, run: Run, sha: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> Reply:
        """One run of a script; `run` is for its commands. Raises `RedisError`."""
        self._run = run
        table = self._runtime.table_from
        return self._reply(self._call(self._scripts[sha], table(keys), table(arguments)))

    def _execute(self, verb: bytes, *arguments: Any) -> Any:
        words = [each if isinstance(each, bytes) else number_text(each) for each in arguments]
        try:
            return self._value(self._run(verb, *words))
        except RedisError as error:
            return self._runtime.table_from({b"err": str(error).encode()})

    def _value(self, reply: Reply) -> Any:
        """A reply as Lua sees it: in the forms of RESP 2."""
        match reply:
            case None:
                return False
            case Status():
                return self._runtime.table_from({b"ok": reply.encode()})
            case float():
                return number_text(reply)
            case dict():
                return self._runtime.table_from([part for pair in reply.items() for part in pair])
            case list():
                flat = [part for each in reply for part in (each if isinstance(each, tuple) else (each,))]
                return self._runtime.table_from([self._value(each) for each in flat])
        return reply

    def _reply(self, value: Any) -> Reply:
        if lua_type(value) != "table":
            return _scalar(value)
        if (error := value[b"err"]) is not None:
            raise RedisError(error.decode())
        if (status := value[b"ok"]) is not None:
            return Status(status.decode())
        replies: list[Reply] = []
        while (each := value[len(replies) + 1]) is not None:
            replies.append(self._reply(each))
        return replies

    def _pack(self, table: Any) -> bytes:
        packed: bytes = msgpack.packb(list(table.values()), use_bin_type=False)
        return packed

    def _unpack(self, message: bytes) -> Any:
        return self._runtime.table_from(msgpack.unpackb(message, raw=True))


def _scalar(value: Any) -> Reply:
    if value is None or value is False:
        return None
    return value if isinstance(value, bytes) else int(value)


def _sha1hex(text: bytes) -> bytes:
    return hashlib.sha1(text).hexdigest().encode()
