"""What is being rebuilt after a loss: partitions, and the offsets up to where Redis had them.

While anything is noted here, what is missing in a log may be there soon: readers wait before they say that
a cursor can't be continued, or where a log ends. It is kept in Redis itself, on every master, so that a
consumer that takes over goes on with it, and ends by itself an hour after the last note.
"""

from collections.abc import Iterable, Iterator, Mapping

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.records import Partition, name_of, partition_of
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.link import Argument

_TTL_S = 3600
_REBUILD = Script("rebuild.lua")
_REBUILT = Script("rebuilt.lua")


class Rebuilding:
    """What a consumer group still has to append again. Every method raises `StoreUnavailable`, and may be
    repeated."""

    def __init__(self, connection: Connection, group: str) -> None:
        self._connection = connection
        self._group = group
        keys = connection.keys
        self._keys = [
            (keys.rebuilding(slot), keys.stamp(slot)) for slot in range(SLOTS if connection.sharded else 1)
        ]

    async def begin(self, goals: Mapping[Partition, int]) -> None:
        """Note up to where these partitions are to be appended again: before the checkpoints of their starts
        are written, which say that the server is known."""
        fields: list[Argument] = []
        for partition, goal in goals.items():
            fields += (self._field(partition), goal)
        if fields:
            await self._connection.run([_REBUILD.call(keys, [_TTL_S, *fields]) for keys in self._keys])

    async def end(self, partitions: Iterable[Partition]) -> None:
        """These have been appended again, as far as they were noted."""
        fields = [self._field(partition) for partition in partitions]
        if fields:
            await self._connection.run([_REBUILT.call(keys, fields) for keys in self._keys])

    async def goals(self) -> Mapping[Partition, int]:
        """What is noted of this group, on any master."""
        goals: dict[Partition, int] = {}
        calls = [command("HGETALL", key, foreign={}) for key, _ in self._keys]
        for reply in await self._connection.run(calls):
            for partition, goal in self._read(reply):
                goals[partition] = max(goal, goals.get(partition, 0))
        return goals

    def _field(self, partition: Partition) -> str:
        return f"{name_of(partition)} {self._group}"  # the names of topics have no spaces

    def _read(self, reply: Mapping[bytes, bytes]) -> Iterator[tuple[Partition, int]]:
        for field, goal in reply.items():
            name, _, group = field.partition(b" ")
            if group == self._group.encode() and goal.isdigit():
                yield partition_of(name.decode()), int(goal)
