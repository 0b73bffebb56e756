"""The partitions that are this consumer's: from where they are read, and the work on their records.

What was read and is not committed is lost when its partition goes: whoever gets it next begins at what is
committed and has a checkpoint. So every way to lose one's place (a rebalance, a frozen process, a Redis that
forgot) has the same way back.
"""

import asyncio
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import structlog

from doorstep.actors.consuming.classify import Classified
from doorstep.actors.consuming.committer import Committer
from doorstep.actors.consuming.delivery import Delivery, Located
from doorstep.actors.consuming.faults import Faults
from doorstep.actors.consuming.in_flight import InFlight, Ticket
from doorstep.actors.consuming.pending_letters import PendingLetters
from doorstep.actors.consuming.start_point import StartPoint
from doorstep.actors.kafka.consumer_thread import Batch
from doorstep.actors.kafka.errors import KafkaUnavailableError
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.records import Partition, StoredRecord, name_of
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.redis.errors import StoreError
from doorstep.config.settings import Settings

_DRAIN_S = 5.0
_OFFER_AGAIN_S = 0.5
_LOOK_AGAIN_S = 1.0
_READ_AGAIN_S = 5.0

logger = structlog.get_logger(__name__)

AssignmentState = Literal["settling", "running", "finishing"]


@dataclass(slots=True)
class _Gathered:
    """Records that were read and classified, while those before them were carried out."""

    classified: Classified = field(default_factory=Classified)
    tickets: list[Ticket] = field(default_factory=list)
    records: int = 0


class Assignment:
    """The work on the partitions that are assigned; they come and go, and those that stay go on."""

    def __init__(
        self,
        *,
        settings: Settings,
        event_topics: Set[str],
        context_topics: Set[str],
        group_consumer: GroupConsumer,
        start_point: StartPoint,
        delivery: Delivery,
        faults: Faults,
        redis: Breaker,
        kafka: Breaker,
    ) -> None:
        self.assigned: frozenset[Partition] = frozenset()
        """The partitions that are this consumer's."""
        self.paused: frozenset[Partition] = frozenset()
        """Those of them that are not fetched now."""
        self._settings = settings
        self._event_topics = event_topics
        self._context_topics = context_topics
        self._group_consumer = group_consumer
        self._start_point = start_point
        self._delivery = delivery
        self._faults = faults
        self._redis = redis
        self._committer = Committer(
            group_consumer=group_consumer,
            guard=start_point.guard,
            interval_s=settings.kafka.commit_interval_ms / 1000,
            redis=redis,
            kafka=kafka,
            on_room=self._regulate,
        )
        self._letters = PendingLetters(delivery, faults, self._on_letters)
        self._flight = self._new_flight()
        self._to_pause: frozenset[Partition] = frozenset()
        self._gathered = _Gathered()
        self._stuck: list[Located] = []
        self._open: list[Ticket] = []
        self._finishing = False
        self._work_done = asyncio.Event()
        self._more: asyncio.Future[None] | None = None
        self._settling: asyncio.Task[None] | None = None
        self._unsettled: set[Partition] = set()
        self._unreadable: dict[Partition, str] = {}

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin to work on what will be added, in `tasks`; faults of ours end them."""
        self._tasks = tasks
        self._working = tasks.create_task(self._work())
        tasks.create_task(self._letters.run())
        tasks.create_task(self._committer.run(lambda: self._flight))

    @property
    def state(self) -> AssignmentState:
        """What goes on; a part that is still settling counts for all, but for what faults hold up."""
        if self._finishing:
            return "finishing"
        unsettled = self.assigned - self._flight.partitions
        return "running" if all(map(self._faults.has, unsettled)) else "settling"

    @property
    def events_wait(self) -> bool:
        """Whether events are held back because no more of them may be parked."""
        return bool(self._stuck)

    @property
    def in_flight(self) -> int:
        """Offsets that were read and are not committed."""
        return self._flight.size

    def lag(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """How many offsets before these ends are not done with."""
        done = self._flight.positions()
        return {each: max(ends.get(each, reached) - reached, 0) for each, reached in done.items()}

    # Partitions come and go

    def add(self, partitions: frozenset[Partition]) -> None:
        """These are ours from now on: read them from where they are to be read."""
        self.assigned |= partitions
        self._settle_all()

    async def release(self, partitions: frozenset[Partition]) -> None:
        """These go to others: finish and commit what was read, as far as that takes 5 seconds at most."""
        is_done = await self.finish(_DRAIN_S)
        self.assigned -= partitions
        self._flight.forget(partitions)
        self._letters.keep_only(self.assigned)
        self._stuck = [
            (record, event)
            for record, event in self._stuck
            if (record.topic, record.partition) not in partitions
        ]
        if is_done:
            self._settle_all()
        else:
            self.restart()  # what is still under way may be another one's by now

    def lose(self, partitions: frozenset[Partition]) -> None:
        """These are another one's already: nothing that is under way may be written any more."""
        self.assigned -= partitions
        self.restart()

    def hold_up(self, partition: Partition, reason: str) -> None:
        """Something of it can't be read: go on with all others, and try it again now and then."""
        if partition in self._flight:
            logger.warning("partition_unreadable", partition=name_of(partition), reason=reason)
            self._flight.forget([partition])
            self._tasks.create_task(self._read_later(partition, reason))

    async def _read_later(self, partition: Partition, reason: str) -> None:
        try:
            self._unreadable[partition] = f"it can't be read: {reason}"
            self._name_unreadable()
            await asyncio.sleep(_READ_AGAIN_S)
        finally:
            del self._unreadable[partition]
            self._name_unreadable()
        if self._settling is None or self._settling.done():
            self._settle_all()
        elif partition in self.assigned:
            self._unsettled.add(partition)

    def _name_unreadable(self) -> None:
        reasons = {name_of(each): why for each, why in self._unreadable.items()}
        self._faults.replace("read", reasons, time.time())
        self.apply_pauses()

    def begin_anew(self, topics: Set[str]) -> None:
        """These were deleted and made anew: find the place of their partitions again."""
        self._flight.forget([each for each in self._flight.partitions if each[0] in topics])
        self._settle_all()

    def restart(self) -> None:
        """Drop what is under way, and begin again at what is committed."""
        self._working.cancel()
        self._delivery.cache.forget_all()
        self._flight.forget(self._flight.partitions)  # a commit of it may wait for its turn
        self._flight = self._new_flight()
        self._gathered, self._stuck, self._open = _Gathered(), [], []
        self._letters.keep_only(())
        self._working = self._tasks.create_task(self._work())
        self._settle_all()

    async def finish(self, timeout_s: float) -> bool:
        """Finish what was read and commit it, within `timeout_s`; says whether that was possible."""
        self._finishing = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._work_done.wait()
                await self._letters.tried()
                await self._committer.commit(self._flight)
        except (StoreError, KafkaUnavailableError, TimeoutError) as error:
            reason = str(error) or "timeout"
            logger.warning("assignment_unfinished", reason=reason)
            return False
        finally:
            self._finishing = False
        return True

    def _settle_all(self) -> None:
        """Find the place of all partitions that have none yet."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        self._unsettled = set(self.assigned - self._flight.partitions)
        if self._unsettled:
            self._settling = self._tasks.create_task(self._settle(self._unsettled))
        self.apply_pauses()

    async def _settle(self, partitions: set[Partition]) -> None:
        """Begin with those that have no fault, and with the others when they have none any more."""
        while partitions:
            sound = frozenset(each for each in partitions if not self._faults.has(each))
            if sound:
                starts = await self._start_point.find(sound)
                await self._committer.begin(starts)
                self._group_consumer.read_from(starts, partial(self._begin, starts, self._settling))
                partitions.difference_update(starts)
            if partitions:
                await asyncio.sleep(_LOOK_AGAIN_S)

    def _begin(self, starts: Mapping[Partition, int], settling: asyncio.Task[None] | None) -> None:
        if settling is self._settling:  # else this is another time, and what is read now is not taken
            self._flight.begin(starts)
            self.apply_pauses()

    def _new_flight(self) -> InFlight:
        return InFlight(window=self._settings.history.dedupe_window, apart=self._context_topics)

    # How much is read

    def apply_pauses(self) -> None:
        """Pause what is not to be fetched now, and resume the rest; to be called when that changes."""
        paused = self.assigned if self._redis.is_open else frozenset(filter(self._is_paused, self.assigned))
        if paused != self._to_pause:
            self._to_pause = paused
            self._group_consumer.pause(paused, partial(setattr, self, "paused", paused))
        self._regulate()

    def _is_paused(self, partition: Partition) -> bool:
        waits = self.events_wait and partition[0] in self._event_topics
        return waits or partition not in self._flight or self._faults.has(partition)

    def _regulate(self) -> None:
        """Let as much be read as there is room for, and no more ahead than is worth it."""
        ahead = self._settings.kafka.max_poll_records - self._gathered.records
        room = self._flight.room(only_apart=self.events_wait)
        self._group_consumer.allow(max(min(room, ahead), 0))

    # Work

    def take(self, batch: Batch) -> None:
        """Records were read; they are carried out in the order in which they are taken.

        Those of partitions without a place were read for a time that is over.
        """
        gathered = self._gathered
        taken: list[StoredRecord] = []
        for partition, records in batch.items():
            if partition in self._flight:
                offsets = [record.offset for record in records]
                gathered.tickets.append(self._flight.read(partition, offsets))
                taken += records
        gathered.records += len(taken)
        self._delivery.classify(taken, gathered.classified)
        self._regulate()
        if gathered.records:
            self._work_done.clear()
            if self._more is not None and not self._more.done():
                self._more.set_result(None)

    def catch_up(self, ends: Mapping[Partition, int]) -> None:
        """Of these partitions there is nothing before these ends but what was taken."""
        self._flight.skip_to(ends)
        if self._flight.is_tight:
            self._committer.hurry()
        self._regulate()

    async def _work(self) -> None:
        while True:
            if not self._gathered.records:
                await self._wait_for_more()
            batch, self._gathered = self._gathered, _Gathered()
            await self._carry_out(batch)

    async def _wait_for_more(self) -> None:
        """Returns when there is more to do, or after a moment while events are stuck."""
        self._work_done.set()
        self._more = asyncio.get_running_loop().create_future()
        if self._stuck:
            await asyncio.wait((self._more,), timeout=_OFFER_AGAIN_S)
        else:
            await self._more

    async def _carry_out(self, batch: _Gathered) -> None:
        waited = self.events_wait
        self._stuck = await self._delivery.deliver(batch.classified, self._stuck)
        self._letters.add(batch.classified.refused)
        self._open += batch.tickets
        self._acknowledge()
        if self.events_wait != waited:
            self.apply_pauses()
        else:
            self._regulate()

    def _on_letters(self) -> None:
        self._flight.set_aside(self._letters.held)
        self._acknowledge()
        self.apply_pauses()

    def _acknowledge(self) -> None:
        """All that was carried out, but for events that are stuck and letters that are not kept yet."""
        held = {(record.topic, record.partition, record.offset) for record, _ in self._stuck}
        held.update(self._letters.places)
        self._open = [ticket for ticket in self._open if not ticket.acknowledge(held)]
        if self._flight.is_tight:
            self._committer.hurry()
