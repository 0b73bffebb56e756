"""Consumers' offsets, kept beside the data: they tell a Redis that lost writes it had acknowledged.

Redis replicates and persists in order. So if a checkpoint is there, so is every append that was acknowledged
before it. If it is older than what was written, or missing, appends may be missing as well.

Every master has to vouch for itself. In a Cluster the checkpoints are written under the hash tag of every
slot, and read from one of them per master: so each master has some, however the slots were moved.
"""

import re
from collections.abc import Mapping, Sequence

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.records import Partition, name_of, partition_of
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Argument, pack
from doorstep.actors.store.redis.server import Server
from doorstep.actors.store.values import Canary

_ADVANCE = Script("advance.lua")
_INFO = pack(("EVAL", "return redis.call('INFO', 'server')", 0))
"""As `advance.lua` asks: a proxy may answer a plain INFO by itself."""


class Checkpoints:
    """The checkpoints of all consumer groups. Every method raises `StoreUnavailable`, and may be repeated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._key = connection.keys.checkpoints
        self._slots = range(SLOTS) if connection.sharded else range(1)

    async def write(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Keep the lowest unacknowledged offset of these partitions, on every master.

        To be called only after all appends below them were acknowledged.
        """
        if fields := _fields(offsets):
            await self._connection.run(
                [command("HSET", self._key(slot, group), *fields) for slot in self._slots]
            )

    async def advance(self, offsets: Mapping[Partition, int], identity: str, canary: Canary) -> Canary:
        """Like `write`, but only on masters of this `server_identity` that have the canary as it is.

        Returns the next canary: it was written with the checkpoints. Raises `StoreLost` where a master is
        another one or has lost writes; nothing was written there.
        """
        following = canary._replace(checkpoint=canary.checkpoint + 1)
        fields = _fields({**offsets, following.partition: following.checkpoint})
        seen = (identity, name_of(canary.partition), canary.checkpoint, following.checkpoint)
        await self._connection.run(
            [_ADVANCE.call([self._key(slot, canary.group)], [*seen, *fields]) for slot in self._slots]
        )
        return following

    async def read(self, group: str) -> Mapping[Partition, int]:
        """What every master still knows: of each partition the lowest checkpoint over the masters.

        A partition that one of them does not know is missing.
        """
        placed = await self._connection.place([self._key(slot, group) for slot in self._slots])
        keys = [hosted[0] for hosted in placed.values() if hosted]
        return _lowest(await self._connection.run([command("HGETALL", key) for key in keys]))

    async def server_identity(self) -> str:
        """Another one after a master was restarted, or replaced by its replica."""
        servers = await self._connection.place([])
        return ",".join(sorted([await _run_id(server) for server in servers]))


def _fields(offsets: Mapping[Partition, int]) -> Sequence[Argument]:
    return [each for partition, offset in offsets.items() for each in (name_of(partition), offset)]


def _lowest(replies: Sequence[Mapping[bytes, bytes]]) -> Mapping[Partition, int]:
    known_by_all = frozenset[bytes].intersection(*(frozenset(reply) for reply in replies))
    return {
        partition_of(field.decode()): min(int(reply[field]) for reply in replies) for field in known_by_all
    }


async def _run_id(server: Server) -> str:
    (info,) = await server.exchange(_INFO, 1)
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE) if isinstance(info, bytes) else None
    if found is None:
        raise StoreUnavailable(f"Redis does not tell its run_id in INFO: {info!r}")
    return found[1].decode()
