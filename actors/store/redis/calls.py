"""Calls to Redis, and what every connection does with them whatever form Redis has.

There is no hidden retry of a call that may have been carried out: it raises, and is the caller's to repeat.
"""

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

import hiredis

from doorstep.actors.store.redis.errors import StoreError, StoreLost, StoreUnavailable
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.redis.link import Argument, Link, Reply, pack
from doorstep.actors.store.redis.server import Server

_REFUSED = object()

OnAnswer = Callable[[float], None]
"""Told how many seconds it took from a write to the last of its replies, where they came."""


class Script:
    """A Lua script: sent by its hash, and whole to a server that does not know it yet."""

    def __init__(self, *files: str) -> None:
        """The files, one after the other, are its text; they lie in `actors/store/`, beside its callers."""
        folder = resources.files("doorstep.actors.store")
        self.text = "".join([folder.joinpath(file).read_text() for file in files])
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Sequence[Argument]) -> "Call":
        """One run of it; `keys` is not empty, and all of them are of one hash slot where slots matter."""
        return Call(keys[0], (len(keys), *keys, *arguments), self)


@dataclass(frozen=True, slots=True)
class Call:
    """A command about `key`, or a run of a script, not sent yet."""

    key: str
    arguments: tuple[Argument, ...]
    script: Script | None = None
    foreign: Reply = _REFUSED
    """What to take for the reply where the key is of another type: nothing of ours. Unless set, an error."""

    def packed(self, whole: bool = False) -> bytes:
        """Its bytes; `whole`: with the script's text."""
        if self.script is None:
            return pack(self.arguments)
        if whole:
            return pack(("EVAL", self.script.text, *self.arguments))
        return pack(("EVALSHA", self.script.sha, *self.arguments))


def command(verb: str, key: str, *arguments: Argument, foreign: Reply = _REFUSED) -> Call:
    """A plain command about `key`; for `foreign` see `Call`."""
    return Call(key, (verb, key, *arguments), foreign=foreign)


class Connection(ABC):
    """Redis. Links are opened when they are needed. To be used from one event loop."""

    sharded: ClassVar[bool]
    """Keys of different hash tags may be on different masters, and so are their channels."""

    def __init__(self, keys: Keyspace, on_answer: OnAnswer) -> None:
        self.keys = keys
        """What the keys and channels are called."""
        self._on_answer = on_answer

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        """Run all calls, in one write per master, and return their replies in order.

        Raises `StoreUnavailable` if one of them may not have been carried out, `StoreError` if one was
        refused; the others may have been carried out all the same.
        """
        if not calls:
            return []
        began = time.monotonic()
        replies = await self._exchange(calls, whole=False)
        self._on_answer(time.monotonic() - began)
        await self._run_unknown_scripts(calls, replies)
        for i, reply in enumerate(replies):
            if type(reply) is hiredis.ReplyError:
                replies[i] = _instead(calls[i], reply)
        return replies

    async def run_one(self, call: Call) -> Reply:
        """Run one call; raises like `run`."""
        (reply,) = await self.run([call])
        return reply

    @property
    @abstractmethod
    def links(self) -> Sequence[Link] | None:
        """The links that calls go by; None while one of them is not open.

        As long as they are the same, every master is the process that it was: none has been restarted.
        """

    @abstractmethod
    async def place(self, keys: Sequence[str]) -> Mapping[Server, Sequence[str]]:
        """Every master, and which of these keys (or sharded channels) it hosts now.

        Raises `StoreUnavailable`.
        """

    @abstractmethod
    async def close(self) -> None:
        """End all links. Calls in flight raise `StoreUnavailable`."""

    @abstractmethod
    async def _exchange(self, calls: Sequence[Call], whole: bool) -> list[Reply]:
        """Send the calls and return the replies in order, error replies among them."""

    async def _run_unknown_scripts(self, calls: Sequence[Call], replies: list[Reply]) -> None:
        unknown = [i for i, reply in enumerate(replies) if is_error(reply, "NOSCRIPT")]
        if unknown:
            again = await self._exchange([calls[i] for i in unknown], whole=True)
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply


def is_error(reply: Reply, code: str) -> bool:
    """The reply is an error with this code."""
    return type(reply) is hiredis.ReplyError and str(reply).startswith(code)


def mentions(reply: Reply, codes: Set[str]) -> bool:
    """The reply is an error with one of these codes, or of a script that got it from one of its commands.

    What such an error looks like differs between versions; the code is a word of it.
    """
    words = str(reply).replace("-", " ").split() if type(reply) is hiredis.ReplyError else ()
    return not codes.isdisjoint(words)


_TEMPORARY = {
    "ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM",
    "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN",
}  # fmt: skip


def _instead(call: Call, reply: hiredis.ReplyError) -> Reply:
    """What to take for an error reply. Raises `StoreError` where that is not set."""
    if call.foreign is not _REFUSED and is_error(reply, "WRONGTYPE"):
        return call.foreign
    raise _as_store_error(call, reply)


def _as_store_error(call: Call, reply: hiredis.ReplyError) -> StoreError:
    if is_error(reply, "DSLOST"):
        return StoreLost(f"Redis has lost what it acknowledged: {reply}")
    if mentions(reply, _TEMPORARY):
        return StoreUnavailable(f"Redis cannot do this now, to {call.key}: {reply}")
    return StoreError(f"Redis refused a call to {call.key}: {reply}")
