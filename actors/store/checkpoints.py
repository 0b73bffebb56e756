"""Consumers' offsets, kept beside the data: they tell a Redis that lost writes it had acknowledged.

Redis replicates and persists in order. So if a mark is there, so is every append that was acknowledged
before it. If it is older than what was written, or missing, appends may be missing as well.

Every master has to vouch for itself. In a Cluster the marks are written under the hash tag of every slot, and
read from one of them per master: so each master has some, however the slots were moved.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Argument, pack
from doorstep.actors.store.redis.server import Server

Partition = tuple[str, int]
"""Topic and partition."""


class Witness(NamedTuple):
    """A mark that only its consumer writes and that only grows, and what it is at least.

    A Redis where it is less has lost what went before.
    """

    group: str
    partition: Partition
    mark: int


_ADVANCE = Script("advance.lua")
_INFO = pack(("EVAL", "return redis.call('INFO', 'server')", 0))
"""As `advance.lua` asks: a proxy may answer a plain INFO by itself."""


class Marks:
    """The marks of all consumer groups. Every method raises `StoreUnavailable`, and may be repeated."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._slots = range(SLOTS) if connection.sharded else range(1)

    async def write(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Keep the lowest unacknowledged offset of these partitions, on every master.

        To be called only after all appends below them were acknowledged.
        """
        if fields := _fields(offsets):
            await self._connection.run(
                [command("HSET", marks_key(slot, group), *fields) for slot in self._slots]
            )

    async def advance(self, offsets: Mapping[Partition, int], identity: str, witness: Witness) -> Witness:
        """Like `write`, but only on masters of this `server_identity` that have the witness as it is.

        Returns the next witness: it was written with the marks. Raises `StoreLost` where a master is another
        one or has lost writes; nothing was written there.
        """
        following = witness._replace(mark=witness.mark + 1)
        fields = _fields({**offsets, following.partition: following.mark})
        seen = (identity, mark_field(witness.partition), witness.mark, following.mark)
        await self._connection.run(
            [_ADVANCE.call([marks_key(slot, witness.group)], [*seen, *fields]) for slot in self._slots]
        )
        return following

    async def read(self, group: str) -> Mapping[Partition, int]:
        """What every master still knows: of each partition the lowest mark over the masters.

        A partition that one of them does not know is missing.
        """
        placed = await self._connection.place([marks_key(slot, group) for slot in self._slots])
        keys = [hosted[0] for hosted in placed.values() if hosted]
        return _lowest(await self._connection.run([command("HGETALL", key) for key in keys]))

    async def server_identity(self) -> str:
        """Another one after a master was restarted, or replaced by its replica."""
        servers = await self._connection.place([])
        return ",".join(sorted([await _run_id(server) for server in servers]))


def marks_key(slot: int, group: str) -> str:
    """The key of a group's marks under the hash tag of a slot."""
    return f"ds:{{s{slot}}}:marks:{group}"


def mark_field(partition: Partition) -> str:
    """The field of a partition's mark."""
    topic, number = partition
    return f"{topic}/{number}"


def _fields(offsets: Mapping[Partition, int]) -> Sequence[Argument]:
    return [each for partition, offset in offsets.items() for each in (mark_field(partition), offset)]


def _lowest(replies: Sequence[Mapping[bytes, bytes]]) -> Mapping[Partition, int]:
    known_by_all = frozenset[bytes].intersection(*(frozenset(reply) for reply in replies))
    return {_partition(field): min(int(reply[field]) for reply in replies) for field in known_by_all}


def _partition(field: bytes) -> Partition:
    topic, _, partition = field.decode().rpartition("/")
    return topic, int(partition)


async def _run_id(server: Server) -> str:
    (info,) = await server.exchange(_INFO, 1)
    found = re.search(rb"^run_id:(\w+)", info, re.MULTILINE) if isinstance(info, bytes) else None
    if found is None:
        raise StoreUnavailable(f"Redis does not tell its run_id in INFO: {info!r}")
    return found[1].decode()
