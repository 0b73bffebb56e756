"""Consumers' offsets, kept beside the data: they tell a Redis that lost writes it had acknowledged.

Redis replicates and persists in order. So if a checkpoint is there, so is every append that was acknowledged
before it. If it is older than what was written, or missing, appends may be missing as well.

Every master has to vouch for itself. In a Cluster the checkpoints are written under the hash tag of every
slot, and read from one of them per master: so each master has some, however the slots were moved.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.records import Partition, TopicIds, name_of
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Argument, Link, pack
from doorstep.actors.store.redis.server import Server
from doorstep.actors.store.values import Canary, Checkpoint

_ADVANCE = Script("advance.lua")
_FIELD = re.compile(rb"(\S+)/(\d{1,10}) (\d{1,19})(?: ([\w-]+))?")
_INFO = pack(("EVAL", "return redis.call('INFO', 'server')", 0))
"""As `advance.lua` asks: a proxy may answer a plain INFO by itself."""


class Checkpoints:
    """The checkpoints of all consumer groups. Every method raises `StoreUnavailable`, and may be repeated."""

    def __init__(self, connection: Connection, topic_ids: TopicIds = MappingProxyType({})) -> None:
        """`topic_ids` are written beside the offsets; they are looked up whenever something is written."""
        self._connection = connection
        self._topic_ids = topic_ids
        self._key = connection.keys.checkpoints
        self._stamp = connection.keys.stamp
        self._slots = range(SLOTS) if connection.sharded else range(1)

    async def write(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Keep the lowest unacknowledged offset of these partitions, on every master.

        To be called only after all appends below them were acknowledged.
        """
        fields = self._fields(offsets)
        if not fields:
            return
        keys = [self._key(slot, group) for slot in self._slots]
        written = await self._connection.run([command("HSET", key, *fields, foreign=None) for key in keys])
        foreign = [key for key, count in zip(keys, written, strict=True) if count is None]
        await self._connection.run([command("DEL", key) for key in foreign])
        await self._connection.run([command("HSET", key, *fields) for key in foreign])

    async def advance(self, offsets: Mapping[Partition, int], identity: str, canary: Canary) -> Canary:
        """Like `write`, but only on masters of this `server_identity` that have the canary as it is.

        Returns the next canary: it was written with the checkpoints. From now on the servers are known to
        readers: they judge what is there, unless it is being rebuilt (`Rebuilding`). Raises `StoreLost` where
        a master is another one or has lost writes; nothing was written there.
        """
        following = canary._replace(checkpoint=canary.checkpoint + 1)
        fields = self._fields({**offsets, following.partition: following.checkpoint})
        seen = (identity, name_of(canary.partition), canary.checkpoint, following.checkpoint)
        await self._connection.run(
            [
                _ADVANCE.call([self._key(slot, canary.group), self._stamp(slot)], [*seen, *fields])
                for slot in self._slots
            ]
        )
        return following

    async def read(self, group: str) -> Mapping[Partition, Checkpoint]:
        """What every master still knows: of each partition the lowest checkpoint over the masters.

        A partition that one of them does not know, or knows of another topic id, is missing.
        """
        placed = await self._connection.place([self._key(slot, group) for slot in self._slots])
        keys = [hosted[0] for hosted in placed.values() if hosted]
        return _lowest(await self._connection.run([command("HGETALL", key, foreign={}) for key in keys]))

    def _fields(self, offsets: Mapping[Partition, int]) -> Sequence[Argument]:
        fields: list[Argument] = []
        for (topic, number), offset in offsets.items():
            topic_id = self._topic_ids.get(topic)
            fields += (name_of((topic, number)), f"{offset} {topic_id}" if topic_id else offset)
        return fields

    @property
    def links(self) -> Sequence[Link] | None:
        """See `Connection.links`."""
        return self._connection.links

    async def server_identity(self) -> str:
        """Another one after a master was restarted, or replaced by its replica."""
        servers = await self._connection.place([])
        return ",".join(sorted([await _run_id(server) for server in servers]))


def _lowest(replies: Sequence[Mapping[bytes, bytes]]) -> Mapping[Partition, Checkpoint]:
    every = [dict(_checkpoints(reply)) for reply in replies]
    known_by_all = frozenset[Partition].intersection(*(frozenset(each) for each in every))
    lowest = {partition: min(each[partition] for each in every) for partition in known_by_all}
    return {
        partition: checkpoint
        for partition, checkpoint in lowest.items()
        if all(each[partition].topic_id == checkpoint.topic_id for each in every)
    }


def _checkpoints(reply: Mapping[bytes, bytes]) -> Iterator[tuple[Partition, Checkpoint]]:
    """What is of our form; the rest is as good as lost."""
    for field, value in reply.items():
        if match := _FIELD.fullmatch(b"%b %b" % (field, value)):
            topic, number, offset, topic_id = match.groups()
            yield (topic.decode(), int(number)), Checkpoint(int(offset), (topic_id or b"").decode())


async def _run_id(server: Server) -> str:
    (info,) = await server.exchange(_INFO, 1)
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE) if isinstance(info, bytes) else None
    if found is None:
        raise StoreUnavailable(f"Redis does not tell its run_id in INFO: {info!r}")
    return found[1].decode()
