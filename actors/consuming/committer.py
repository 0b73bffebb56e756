"""Commits what is done: a checkpoint beside the data first, then Kafka's offset."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from doorstep.actors.consuming.in_flight import InFlight
from doorstep.actors.consuming.rollback_guard import RollbackGuard
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.records import OffsetAndMetadata, Partition
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.redis.errors import StoreError


class Committer:
    """One membership's: now and then, at once when asked, and one commit at a time."""

    def __init__(
        self,
        *,
        group_consumer: GroupConsumer,
        guard: RollbackGuard,
        interval_s: float,
        redis: Breaker,
        kafka: Breaker,
        on_room: Callable[[], None],
    ) -> None:
        """`on_room` is called when a commit has made room for more records."""
        self._group_consumer = group_consumer
        self._guard = guard
        self._interval_s = interval_s
        self._redis = redis
        self._kafka = kafka
        self._on_room = on_room
        self._turn = asyncio.Lock()
        self._urgent = asyncio.Event()

    def hurry(self) -> None:
        """Others wait for the room that a commit would make."""
        self._urgent.set()

    async def run(self, flight: Callable[[], InFlight]) -> None:
        """Commit what is done of the present `flight`, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await self._urgent.wait()
            self._urgent.clear()
            await self._try(flight())

    async def commit(self, flight: InFlight) -> None:
        """Commit what is done. Raises `StoreError`, `KafkaUnavailableError`."""
        async with self._turn:
            offsets = flight.to_commit()
            if offsets:
                committed = await self._keep(offsets)
                flight.committed({each: offsets[each] for each in committed})
                self._on_room()

    async def begin(self, starts: Mapping[Partition, int]) -> None:
        """Keep where these partitions are read from, however long that takes."""

        async def keep() -> None:
            async with self._turn:
                await self._keep(starts)

        async def keep_in_kafka() -> None:
            await self._kafka.retry("keep the place", keep, KafkaUnavailableError)

        await self._redis.retry("keep the place", keep_in_kafka, StoreError, self._guard.verify)

    async def _try(self, flight: InFlight) -> None:
        try:
            await self.commit(flight)
        except StoreError as error:
            await asyncio.sleep(self._redis.failure(error, "commit"))
        except KafkaUnavailableError as error:
            self._redis.success("commit")
            await asyncio.sleep(self._kafka.failure(error, "commit"))
        else:
            self._redis.success("commit")
            self._kafka.success("commit")

    async def _keep(self, offsets: Mapping[Partition, int]) -> frozenset[Partition]:
        """See `GroupConsumer.commit`."""
        await self._guard.keep(offsets)
        return await self._group_consumer.commit(
            {
                each: OffsetAndMetadata(offset, self._guard.metadata_of(each))
                for each, offset in offsets.items()
            }
        )
