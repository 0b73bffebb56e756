"""One master: a standalone server, or the one that Sentinel names."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from doorstep.actors.store.redis.calls import Call, Connection, OnAnswer, mentions
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.redis.link import Link, Reply
from doorstep.actors.store.redis.server import Server


class SingleConnection(Connection):
    """All keys on one server."""

    sharded: ClassVar[bool] = False

    def __init__(self, keys: Keyspace, on_answer: OnAnswer, server: Server) -> None:
        super().__init__(keys, on_answer)
        self._server = server

    @property
    def links(self) -> Sequence[Link] | None:
        link = self._server.link
        return None if link is None else (link,)

    async def place(self, keys: Sequence[str]) -> Mapping[Server, Sequence[str]]:
        return {self._server: keys}

    async def close(self) -> None:
        self._server.drop()

    async def _exchange(self, calls: Sequence[Call], whole: bool) -> list[Reply]:
        packed = b"".join([call.packed(whole) for call in calls])
        replies = await self._server.exchange(packed, len(calls))
        if any(mentions(reply, {"READONLY"}) for reply in replies):
            self._server.drop()  # demoted: ask anew who the master is
        return replies
