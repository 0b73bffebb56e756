"""Notices a Redis that has lost writes which it had acknowledged: a restart, a failover, a flush.

It leaves a canary beside the data: a checkpoint of its own, which grows with every checkpoint that this
consumer writes. As Redis replicates and persists in order, who has the last canary has all that was
acknowledged before it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from doorstep.actors.consuming.commit_metadata import CommitMetadata
from doorstep.actors.records import Partition, TopicIds, name_of
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.rebuilding import Rebuilding
from doorstep.actors.store.redis.errors import StoreLost, StoreUnavailable
from doorstep.actors.store.redis.link import Link
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary

logger = structlog.get_logger(__name__)


class RollbackGuard:
    """One consumer's. After a loss it begins anew, with what Redis has then."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        stamp: Stamp,
        rebuilding: Rebuilding,
        topic_ids: TopicIds,
        *,
        group: str,
        name: str,
        on_lost: Callable[[], None],
    ) -> None:
        """`name` is no other consumer's, here or in another Doorstep of the same group. `on_lost` is called
        once for each loss: what was read and is not committed, is to be read again."""
        self._checkpoints = checkpoints
        self._stamp = stamp
        self._rebuilding = rebuilding
        self._topic_ids = topic_ids
        self._store_id = ""
        self._goals: dict[Partition, int] = {}
        """After a loss: the offsets up to where partitions, also of others, are being appended again."""
        self._group = group
        self._name = name
        self._on_lost = on_lost
        self._canary: Canary | None = None
        self._begun = 0
        """How often a canary was left: each is another one, or what was sent before a loss and comes after it
        would take a later one for its own."""
        self._identity = ""
        self.vouches = False
        """Whether readers know by now that the servers which there are were looked at."""
        self.doubts = False
        """Whether nobody had looked at them before, and we have not told readers yet what they may lack."""
        self._verified: Sequence[Link] | None = None
        """The links to the servers that were verified."""

    async def verify(self) -> None:
        """Check that Redis still has what it acknowledged; at first, leave the canary.

        The canary comes before the checkpoints of others are looked for: what is lost later is missed here,
        what was lost before is missed there. Raises `StoreUnavailable`; as `StoreLost` after a loss.
        """
        canary, links = self._canary, self._checkpoints.links
        if canary is None:
            await self._begin()
            return
        identity, found = await asyncio.gather(
            self._checkpoints.server_identity(), self._checkpoints.read(self._group)
        )
        if identity != self._identity or not canary.is_among(found):
            self._lose(canary)
        self._verified = links if links == self._checkpoints.links else None
        await self._end_rebuilding({partition: each.offset for partition, each in found.items()})

    async def trust(self) -> Canary:
        """Like `verify`, unless that was done by the links that there are now; what an append is to look for.

        A server that is restarted loses its links, one that is flushed its canary. Raises `StoreUnavailable`
        too before the first `verify`, or the first after a loss.
        """
        if self._canary is None:
            raise StoreUnavailable("this consumer is still finding its place")
        if self._verified is None or self._verified != self._checkpoints.links:
            await self.verify()
        return self._canary

    async def keep(self, offsets: Mapping[Partition, int]) -> None:
        """Write checkpoints, where Redis is verified in the same step: they would hide that older ones are
        lost, and what was appended by then must have been appended to the same server.

        One at a time. Raises `StoreError`; as `StoreLost` after a loss.
        """
        canary = self._canary
        if canary is None:
            raise StoreUnavailable("this consumer is still finding its place")
        try:
            following = await self._checkpoints.advance(offsets, self._identity, canary)
        except StoreLost:
            self._lose(canary)
            raise
        if self._canary is canary:
            self._canary = following
            self.vouches, self.doubts = True, False
        await self._end_rebuilding(offsets)

    def metadata_of(self, partition: Partition) -> str:
        """What to write beside an offset of it that was kept."""
        topic_id, goal = self._topic_ids.get(partition[0], ""), self._goals.get(partition, 0)
        return str(CommitMetadata(self._store_id, topic_id, goal))

    async def begin_rebuilding(self, lost: Mapping[Partition, int], starts: Mapping[Partition, int]) -> None:
        """Tell readers what is missing and will come back, before `keep` says that Redis is known.

        `lost` are the offsets up to where Redis had partitions, whoever reads them: one consumer must not be
        done with its part before another has told of its own. `starts` are where partitions are read from
        now; what was noted of those before counts as well. Raises `StoreUnavailable`.
        """
        noted = await self._rebuilding.goals()
        goals = {each: max(lost.get(each, 0), noted.get(each, 0)) for each in lost.keys() | starts.keys()}
        ahead = {each: goal for each, goal in goals.items() if goal > starts.get(each, 0)}
        reached = goals.keys() - ahead.keys()
        await self._rebuilding.end(noted.keys() & reached)
        await self._rebuilding.begin(ahead)
        if news := ahead.keys() - self._goals.keys():
            logger.warning("reading_again", partitions=sorted(map(name_of, news)))
        self._goals = {each: goal for each, goal in self._goals.items() if each not in reached} | ahead

    async def _end_rebuilding(self, offsets: Mapping[Partition, int]) -> None:
        """Readers need not wait any more for partitions that have got as far as their goals."""
        rebuilt = [each for each, goal in self._goals.items() if offsets.get(each, 0) >= goal]
        await self._rebuilding.end(rebuilt)
        for each in rebuilt:
            self._goals.pop(each, None)

    async def _begin(self) -> None:
        identity = await self._checkpoints.server_identity()
        canary = Canary(self._group, (f"!{self._name}.{self._begun}", 0), int(time.time() * 1000))
        self._begun += 1
        self._store_id = await self._stamp.ensure()  # before anything is written again
        doubts = not await self._stamp.knows(identity)
        await self._checkpoints.write(self._group, {canary.partition: canary.checkpoint})
        self._identity, self._canary, self.vouches, self.doubts = identity, canary, False, doubts

    def _lose(self, canary: Canary) -> None:
        """What was known before is over; told once, whoever notices it first. Raises `StoreLost`."""
        if self._canary is canary:
            self._canary = None
            self._on_lost()
        raise StoreLost("Redis was restarted or has lost writes: reading them again from Kafka")
