"""Redis Cluster: finds the master of each hash slot, and follows it when it moves."""

import asyncio
from binascii import crc_hqx
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import ClassVar

import hiredis

from doorstep.actors.store.redis.calls import Call, Connection, OnAnswer, is_error
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.redis.link import Address, Link, Login, Reply, pack
from doorstep.actors.store.redis.race import first_answer
from doorstep.actors.store.redis.server import Server

HASH_SLOTS = 16384
_ATTEMPTS = 6
_PAUSE_S = 0.05
_ELSEWHERE = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
"""What a master says of a call that it did not carry out, and that another one, or itself later, may."""


@lru_cache(maxsize=4096)
def hash_slot(key: str) -> int:
    """The hash slot of a key, from its tag if it has one (Redis Cluster specification, "Hash tags")."""
    start = key.find("{")
    end = key.find("}", start + 1)
    tag = key[start + 1 : end] if start >= 0 and end > start + 1 else key
    return crc_hqx(tag.encode(), 0) % HASH_SLOTS


class ClusterConnection(Connection):
    """The masters of a cluster."""

    sharded: ClassVar[bool] = True

    def __init__(self, keys: Keyspace, on_answer: OnAnswer, seeds: Sequence[Address], login: Login) -> None:
        super().__init__(keys, on_answer)
        self._login = login
        self._seeds = seeds
        self._servers: dict[Address, Server] = {}
        self._hosts: list[Server | None] = []
        """The master of each hash slot; empty while that is not known."""
        self._learning: asyncio.Task[None] | None = None

    @property
    def links(self) -> Sequence[Link] | None:
        links = [server.link for server in self._servers.values()]
        opened = [link for link in links if link is not None]
        return opened if self._hosts and len(opened) == len(links) else None

    async def place(self, keys: Sequence[str]) -> Mapping[Server, Sequence[str]]:
        await self._learn()
        placed: dict[Server, list[str]] = {server: [] for server in self._hosts if server is not None}
        for key in keys:
            placed[self._host(key)].append(key)
        return placed

    async def close(self) -> None:
        for server in self._servers.values():
            server.drop()

    async def _exchange(self, calls: Sequence[Call], whole: bool) -> list[Reply]:
        replies: list[Reply] = [None] * len(calls)
        todo: Sequence[int] = range(len(calls))
        for attempt in range(_ATTEMPTS):
            if attempt or not self._hosts:
                await asyncio.sleep(_PAUSE_S * attempt)
                await self._learn()
            await self._send(calls, todo, replies, whole)
            for i in todo:
                if is_error(replies[i], "ASK"):
                    replies[i] = await self._ask(calls[i], str(replies[i]), whole)
            todo = [i for i in todo if _was_refused(replies[i])]
            if not todo:
                break
        return replies

    async def _send(
        self, calls: Sequence[Call], todo: Iterable[int], replies: list[Reply], whole: bool
    ) -> None:
        """Send those calls, each to its master, and put their replies where they belong."""
        groups: dict[Server, list[int]] = {}
        for i in todo:
            groups.setdefault(self._host(calls[i].key), []).append(i)
        results = await asyncio.gather(
            *(
                server.exchange(b"".join([calls[i].packed(whole) for i in group]), len(group))
                for server, group in groups.items()
            ),
            return_exceptions=True,
        )
        for group, result in zip(groups.values(), results, strict=True):
            if isinstance(result, BaseException):
                self._hosts = []  # a replica may have taken over
                raise result
            for i, reply in zip(group, result, strict=True):
                replies[i] = reply

    async def _ask(self, call: Call, said: str, whole: bool) -> Reply:
        """Send a call where the master of a slot that is just moving points to."""
        server = self._server(_address(said.split()[2], self._seeds[0]))
        _, reply = await server.exchange(pack(("ASKING",)) + call.packed(whole), 2)
        return reply

    def _host(self, key: str) -> Server:
        server = self._hosts[hash_slot(key)] if self._hosts else None
        if server is None:
            raise StoreUnavailable(f"no master of the cluster serves hash slot {hash_slot(key)}")
        return server

    def _server(self, address: Address) -> Server:
        if address not in self._servers:
            self._servers[address] = Server(partial(_just, address), self._login)
        return self._servers[address]

    async def _learn(self) -> None:
        """Ask the cluster which master serves what; at most one such question at a time."""
        if self._learning is None:
            self._learning = asyncio.create_task(self._learn_from_any())
            self._learning.add_done_callback(self._learned)
        await asyncio.shield(self._learning)

    def _learned(self, learning: asyncio.Task[None]) -> None:
        self._learning = None
        if not learning.cancelled():
            learning.exception()  # seen, even if whoever waited for it has given up

    async def _learn_from_any(self) -> None:
        addresses = {*self._servers, *self._seeds}
        questions = [self._layout(address) for address in addresses]
        self._use(await first_answer(questions, "no node of the cluster answers"))

    async def _layout(self, address: Address) -> Sequence[tuple[int, int, Address]]:
        """The ranges of hash slots (first, last, master) as one node knows them."""
        (said,) = await self._server(address).exchange(pack(("CLUSTER", "SLOTS")), 1)
        if isinstance(said, hiredis.ReplyError):
            raise StoreUnavailable(f"{address} is not a node of a cluster: {said}")
        return [
            (first, last, Address((host or b"").decode() or address.host, port))
            for first, last, (host, port, *_), *_ in said
        ]

    def _use(self, layout: Sequence[tuple[int, int, Address]]) -> None:
        hosts: list[Server | None] = [None] * HASH_SLOTS
        for first, last, address in layout:
            hosts[first : last + 1] = [self._server(address)] * (last + 1 - first)
        self._hosts = hosts
        for address in self._servers.keys() - {address for _, _, address in layout}:
            self._servers.pop(address).drop()


def _was_refused(reply: Reply) -> bool:
    return any(is_error(reply, code) for code in _ELSEWHERE)


def _address(text: str, asked: Address) -> Address:
    """`host:port` as in a redirection; without a host it is the one that was asked."""
    host, _, port = text.rpartition(":")
    return Address(host or asked.host, int(port))


async def _just(address: Address) -> Address:
    return address
