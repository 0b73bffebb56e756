"""A member of the Kafka consumer group: aiokafka's consumer, with what it leaves to its user done here.

What there is to know of aiokafka 0.14: it rebalances eagerly, so every rebalance takes all partitions away,
and there is no word of partitions that are lost. It never calls the revoke callback on `stop`, and only logs
what the callbacks raise. A poll that raises may have moved positions past records that it did not hand over.
A pause throws away what was fetched, and is gone after a rebalance. While a rebalance is on, a poll returns
after it, whatever its timeout is. One record whose headers can't be decoded fails its batch, again and again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, CorruptRecordException, IllegalStateError, KafkaError

from doorstep.actors.kafka.fallback_reader import read_fallback
from doorstep.actors.kafka.fetch_sessions import FetchSessions
from doorstep.actors.kafka.options import member_options, reader_options
from doorstep.actors.kafka.pacing import FetchPace
from doorstep.actors.records import Beginning, Partition, Record
from doorstep.config.settings import KafkaSettings

_CALL_S = 5.0
_PROBE_S = 3.0
_STOP_S = 2.0
_EACH_S = 0.1

T = TypeVar("T")

Polled = list[tuple[Partition, Sequence[Record]]]
"""Records by partition, each partition's in order."""

logger = structlog.get_logger(__name__)


class KafkaUnavailableError(Exception):
    """Kafka did not answer, or refused: the infrastructure's fault. Try the same again."""


class UnreadableError(Exception):
    """Some records are not as aiokafka wants them: `seek` all partitions, then `poll_each`."""


class _Listener:
    def __init__(
        self,
        on_assigned: Callable[[frozenset[Partition]], None],
        on_revoked: Callable[[], Awaitable[None]],
    ) -> None:
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    def on_partitions_assigned(self, assigned: Iterable[Partition]) -> None:
        self._on_assigned(frozenset(assigned))

    async def on_partitions_revoked(self, revoked: Iterable[Partition]) -> None:
        await self._on_revoked()


ConsumerRebalanceListener.register(_Listener)


class GroupConsumer:
    """One membership, from `start` to `stop`. Not to be used again after that."""

    def __init__(self, kafka: KafkaSettings, client_id: str) -> None:
        self._kafka = kafka
        self._consumer = AIOKafkaConsumer(client_id=client_id, **member_options(kafka))
        client = self._consumer._client  # there is no other way in
        client.send = FetchPace(FetchSessions(client.send), kafka.linger_ms / 1000)

    async def start(
        self,
        topics: Collection[str],
        on_assigned: Callable[[frozenset[Partition]], None],
        on_revoked: Callable[[], Awaitable[None]],
    ) -> None:
        """Connect, and ask for partitions of these topics, of those too that come into being later.

        `on_assigned` is called with all partitions that are this member's from now on; they are paused, and
        have to be given positions by `seek`. `on_revoked` is awaited before they go to others; it must not
        take longer than the rebalance timeout. Raises `KafkaUnavailableError`.
        """

        def pause_first(assigned: frozenset[Partition]) -> None:
            self.set_paused(assigned)
            on_assigned(assigned)

        try:
            await self._consumer.start()
        except KafkaError as error:
            raise KafkaUnavailableError(f"no broker can be reached: {error}") from error
        # Subscribed only now: before the start, it would wait for topics that do not exist yet.
        self._consumer.subscribe(list(topics), listener=_Listener(pause_first, on_revoked))

    async def stop(self) -> None:
        """Leave the group. Calls no callback, commits nothing, takes 2 seconds at most."""
        try:
            async with asyncio.timeout(_STOP_S):
                await self._consumer.stop()
        except (KafkaError, TimeoutError) as error:
            logger.warning("group_not_left", reason=str(error) or "no answer in time")

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are this member's."""
        return frozenset(self._consumer.assignment())

    @property
    def paused(self) -> frozenset[Partition]:
        """Those of them that are not fetched."""
        return frozenset(self._consumer.paused())

    def partitions_of(self, topics: Collection[str]) -> list[Partition]:
        """All partitions of these topics, whoever has them, as far as they are known yet."""
        known = self._consumer.partitions_for_topic
        return [(topic, number) for topic in topics for number in known(topic) or ()]

    def set_paused(self, paused: Collection[Partition]) -> None:
        """Pause these, as far as they are assigned, and resume all others."""
        assigned = self._consumer.assignment()
        self._consumer.pause(*(partition for partition in assigned if partition in paused))
        self._consumer.resume(*(partition for partition in assigned if partition not in paused))

    async def poll(self, rooms: Mapping[Partition, int], limit: int, timeout_s: float) -> Polled:
        """Wait for records: at most `rooms` of each of these partitions, and `limit` in all.

        Raises `KafkaUnavailableError` or `UnreadableError`: `seek` all partitions then, as records may have
        been passed over.
        """
        everything = len(rooms) == len(self._consumer.assignment())
        wanted = () if everything else tuple(TopicPartition(*partition) for partition in rooms)
        most = min(limit, *rooms.values()) if rooms else limit
        try:
            polled = await self._get(wanted, most, timeout_s)
            taken = sum(len(records) for _, records in polled)
            if rooms and taken == most:  # there may be more, and room for it
                polled += await self._get_more(polled, rooms, limit - taken)
        except (CorruptRecordException, UnicodeDecodeError) as error:
            raise UnreadableError(str(error)) from error
        except KafkaError as error:
            raise KafkaUnavailableError(f"poll: {error!r}") from error
        return polled

    async def poll_each(self, rooms: Mapping[Partition, int], limit: int) -> Polled:
        """Like `poll`, partition by partition, and by other means where that fails.

        Raises `KafkaUnavailableError`: `seek` all partitions then.
        """
        polled: Polled = []
        for partition, room in rooms.items():
            named, most = TopicPartition(*partition), min(room, limit)
            if not most:
                break
            try:
                found = await self._get((named,), most, _EACH_S)
            except (CorruptRecordException, UnicodeDecodeError):
                found = await self._salvage(named, most)
            except KafkaError as error:
                raise KafkaUnavailableError(f"poll: {error!r}") from error
            polled += found
            limit -= sum(len(records) for _, records in found)
        return polled

    async def _salvage(self, named: TopicPartition, room: int) -> Polled:
        position = await self._consumer.position(named)
        records = await asyncio.to_thread(read_fallback, self._kafka, named, position, room)
        if not records:
            raise KafkaUnavailableError(f"poll: the records of {named} from {position} on can't be read")
        self.seek({named: records[-1].offset + 1})
        return [(named, records)]

    async def _get(self, wanted: Sequence[Partition], most: int, timeout_s: float) -> Polled:
        polled = await self._consumer.getmany(*wanted, timeout_ms=timeout_s * 1000, max_records=most)
        return list(polled.items())

    async def _get_more(self, polled: Polled, rooms: Mapping[Partition, int], limit: int) -> Polled:
        """What is fetched already, by partition, as the limit of aiokafka is for all of them together."""
        left = dict(rooms)
        for partition, records in polled:
            left[partition] -= len(records)
        more: Polled = []
        for partition, room in left.items():
            most = min(room, limit)
            if most > 0:
                found = await self._get((TopicPartition(*partition),), most, 0)
                more += found
                limit -= sum(len(records) for _, records in found)
        return more

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from these offsets. Raises `KafkaUnavailableError` if a partition is no longer assigned."""
        try:
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(*partition), offset)
        except IllegalStateError as error:
            raise KafkaUnavailableError(f"seek: {error!r}") from error

    async def committed(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        """The group's offsets; None where nothing is committed. Raises `KafkaUnavailableError`."""
        calls = [self._consumer.committed(TopicPartition(*partition)) for partition in partitions]
        return dict(zip(partitions, await _in_time("committed", asyncio.gather(*calls)), strict=True))

    async def offsets_of(self, starts: Mapping[Partition, int | Beginning]) -> dict[Partition, int]:
        """The same, with beginnings as the offsets they have now. Raises `KafkaUnavailableError`."""
        found = {each: start for each, start in starts.items() if isinstance(start, int)}
        wanted = [TopicPartition(*each) for each in starts if each not in found]
        return found | dict(await _in_time("beginning", self._consumer.beginning_offsets(wanted)))

    async def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offset of the next committed record that will be written. Raises `KafkaUnavailableError`."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        return dict(await _in_time("end", self._consumer.end_offsets(wanted), _PROBE_S))

    async def commit(self, offsets: Mapping[Partition, int]) -> bool:
        """Commit; False if a rebalance has taken a partition away. Raises `KafkaUnavailableError`."""
        named = {TopicPartition(*partition): offset for partition, offset in offsets.items()}
        try:
            await _in_time("commit", self._consumer.commit(named))
        except (CommitFailedError, IllegalStateError):
            return False
        return True


async def read_whole(
    kafka: KafkaSettings, partitions: Collection[Partition]
) -> AsyncIterator[Sequence[Record]]:
    """All records that these partitions have now, each partition's in order, without joining the group.

    Raises `KafkaUnavailableError`.
    """
    consumer = AIOKafkaConsumer(**reader_options(kafka))
    try:
        await consumer.start()
        left = await _whole(consumer, partitions)
        consumer.assign(list(left))
        while left:
            for records in (await consumer.getmany(timeout_ms=_CALL_S * 1000)).values():
                yield records
            left = {each: end for each, end in left.items() if await consumer.position(each) < end}
    except KafkaError as error:
        raise KafkaUnavailableError(f"read whole: {error!r}") from error
    finally:
        await consumer.stop()


async def _whole(consumer: AIOKafkaConsumer, partitions: Collection[Partition]) -> dict[TopicPartition, int]:
    """The ends of those partitions that have records."""
    named = [TopicPartition(*partition) for partition in partitions]
    beginnings, ends = await consumer.beginning_offsets(named), await consumer.end_offsets(named)
    return {each: end for each, end in ends.items() if beginnings[each] < end}


async def _in_time(what: str, call: Awaitable[T], timeout_s: float = _CALL_S) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except (CommitFailedError, IllegalStateError):
        raise
    except (KafkaError, TimeoutError) as error:
        raise KafkaUnavailableError(f"{what}: {error or 'no answer in time'!r}") from error
