"""An assignment of partitions: from when they are given to when they are revoked, or Redis loses writes.

What was read in an assignment and is not committed ends with it: the next one begins at what is committed and
marked. So every way to lose one's place (a rebalance, a frozen process, a Redis that forgot) has the same way
back.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from doorstep.actors.consuming.classify import Classified
from doorstep.actors.consuming.delivery import Delivery, Located
from doorstep.actors.consuming.in_flight import NO_ROOM, InFlight, Room, Ticket
from doorstep.actors.consuming.recovery import Commit, Known, plan
from doorstep.actors.kafka.group_consumer import GroupConsumer, KafkaUnavailableError, read_whole
from doorstep.actors.records import Partition, Record
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.redis.errors import StoreError, StoreLost, StoreUnavailable
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary
from doorstep.config.settings import Settings

_BATCHES_AHEAD = 2
"""One is on its way to Redis; the next is read and decoded meanwhile."""
_DECODED_AT_ONCE = 100
"""About a millisecond's work."""
_OFFER_AGAIN_S = 0.5
_FRESH_S = 0.05

logger = structlog.get_logger(__name__)

AssignmentState = Literal["settling", "running", "finishing"]


@dataclass(frozen=True, slots=True)
class Tools:
    """What an assignment works with; it outlives the assignment."""

    settings: Settings
    event_topics: frozenset[str]
    context_topics: frozenset[str]
    name: str
    """The consumer's; no other one has it, here or in another Doorstep of the same group."""
    group_consumer: GroupConsumer
    delivery: Delivery
    checkpoints: Checkpoints
    stamp: Stamp
    redis: Breaker
    kafka: Breaker


@dataclass(frozen=True, slots=True)
class _Batch:
    """The records of one poll."""

    classified: Classified
    tickets: Sequence[Ticket]


class Assignment:
    """The work on the partitions that are assigned, from `start` to `cancel`."""

    def __init__(
        self,
        assigned: frozenset[Partition],
        tools: Tools,
        on_change: Callable[[], None],
        on_lost: Callable[["Assignment"], None],
    ) -> None:
        """`on_change` is called when `state` or `events_wait` changes, `on_lost` when Redis lost writes."""
        self.assigned = assigned
        self.state: AssignmentState = "settling"
        self._tools = tools
        self._group = tools.settings.kafka.group_id
        self._witness = Canary(self._group, (f"!{tools.name}", 0), int(time.time() * 1000))
        self._has_signed = False
        self._on_change = on_change
        self._on_lost = on_lost
        self._in_flight = InFlight({}, cap=1, window=1)
        self._task: asyncio.Task[None] | None = None
        self._progress = asyncio.Event()
        self._queue: asyncio.Queue[_Batch] = asyncio.Queue()
        self._ahead = 0
        self._stuck: list[Located] = []
        self._open: list[Ticket] = []
        self._identity = ""
        self._verified_at = float("-inf")
        self._taking = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._urgent = asyncio.Event()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Find the place, then carry out what `take` is given, and commit it. Faults of ours end `tasks`."""
        self._task = tasks.create_task(self._run())

    def cancel(self) -> None:
        """End it at once."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        await self._settle()
        self._turn("running")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work())
            tasks.create_task(self._commit_regularly())

    @property
    def events_wait(self) -> bool:
        """Whether events are held back because no more of them may be parked."""
        return bool(self._stuck)

    @property
    def in_flight(self) -> int:
        """Offsets that were read and are not committed."""
        return self._in_flight.size

    def room(self) -> Room:
        """How many records of which partitions may be read now; none while enough work is ahead."""
        if self.state != "running" or self._ahead >= _BATCHES_AHEAD:
            return NO_ROOM
        return self._in_flight.room()

    async def wait_for_room(self, timeout_s: float) -> None:
        """Returns when `room` may say something else, or after `timeout_s`."""
        self._progress.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._progress.wait()

    def lag(self, ends: dict[Partition, int]) -> dict[str, int]:
        """By topic, how many offsets before these ends are not done with."""
        by_topic: dict[str, int] = {}
        for partition, done in self._in_flight.positions().items():
            behind = max(ends.get(partition, done) - done, 0)
            by_topic[partition[0]] = by_topic.get(partition[0], 0) + behind
        return by_topic

    async def take(self, polled: Sequence[tuple[Partition, Sequence[Record]]]) -> None:
        """Records were read; they are carried out in the order in which they are taken.

        Between pieces others have their turn: what was taken before is to go out, and commits to go on.
        """
        tickets = [
            self._in_flight.read(partition, [record.offset for record in records])
            for partition, records in polled
        ]
        records = [record for _, of_partition in polled for record in of_partition]
        batch = Classified()
        async with self._taking:
            for first in range(0, len(records), _DECODED_AT_ONCE):
                if first:
                    await asyncio.sleep(0)
                self._tools.delivery.classify(records[first : first + _DECODED_AT_ONCE], batch)
            self._queue.put_nowait(_Batch(batch, tickets))
            self._ahead += 1

    def rewind(self) -> None:
        """Read on after what was taken: a failed poll may have passed over records."""
        if self.state == "running":
            self._tools.group_consumer.seek(self._in_flight.reading())

    async def finish(self, timeout_s: float) -> None:
        """Finish what was taken and commit it, as far as that takes no longer than `timeout_s`."""
        if self.state != "running" or self._task is None:
            return
        self._turn("finishing")
        try:
            async with asyncio.timeout(timeout_s):
                async with self._taking:  # what is being decoded is taken too
                    await self._until_done(self._task)
                await self._commit()
        except (StoreError, KafkaUnavailableError, TimeoutError) as error:
            logger.warning("assignment_unfinished", reason=str(error) or "timeout")

    async def _until_done(self, task: asyncio.Task[None]) -> None:
        joining = asyncio.ensure_future(self._queue.join())
        try:
            await asyncio.wait((joining, task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            joining.cancel()

    async def trust(self) -> Canary:
        """Like `verify`, unless that was done a moment ago; what an append is to look for in addition.

        Raises `StoreUnavailable` too while the assignment has not signed.
        """
        if not self._has_signed:
            raise StoreUnavailable("this consumer is still finding its place")
        if asyncio.get_running_loop().time() - self._verified_at > _FRESH_S:
            await self.verify()
        return self._witness

    async def verify(self) -> None:
        """Check that Redis still has what it acknowledged in this assignment.

        Raises `StoreUnavailable`: as `StoreLost` when it has not, and the assignment is over.
        """
        canary = self._witness if self._has_signed else None
        identity, found = await asyncio.gather(
            self._tools.checkpoints.server_identity(), self._tools.checkpoints.read(self._group)
        )
        gone = canary is not None and not canary.is_among(found)
        if gone or self._identity not in ("", identity):
            self._on_lost(self)
            raise StoreLost("Redis was restarted or has lost writes: reading them again from Kafka")
        self._identity = identity
        self._verified_at = asyncio.get_running_loop().time()

    def _turn(self, state: AssignmentState) -> None:
        self.state = state
        self._on_change()

    # Finding the place

    async def _settle(self) -> None:
        """Find out where to read from, and have the consumer read from there."""
        tools = self._tools
        await tools.redis.retry("verify", self.verify, StoreError)
        await tools.redis.retry("sign", self._sign, StoreError, self.verify)
        await tools.redis.retry("stamp", tools.stamp.ensure, StoreError, self.verify)
        place = plan(await self._find_known(), tools.settings.kafka.start)
        tools.delivery.cache.forget_all()
        if place.contexts_lost:
            await tools.kafka.retry("read contexts", self._read_contexts, KafkaUnavailableError)
        starts = await tools.kafka.retry(
            "find offsets", partial(tools.group_consumer.offsets_of, place.starts), KafkaUnavailableError
        )
        window = tools.settings.history.dedupe_window
        self._in_flight = InFlight(
            starts,
            cap=tools.settings.kafka.max_in_flight or window,
            window=window,
            apart=tools.context_topics,
        )
        keep = partial(self._keep, starts)
        keep_in_kafka = partial(tools.kafka.retry, "keep the place", keep, KafkaUnavailableError)
        await tools.redis.retry("keep the place", keep_in_kafka, StoreError, self.verify)
        tools.group_consumer.seek(starts)

    async def _sign(self) -> None:
        """Leave a checkpoint that grows with every later one, and is greater than in any assignment before.

        It comes before the other checkpoints are looked for: what is lost later is missed here, what was lost
        before is missed there.
        """
        await self._tools.checkpoints.write(self._group, {self._witness.partition: self._witness.checkpoint})
        self._has_signed = True

    async def _find_known(self) -> dict[Partition, Known]:
        tools = self._tools
        find_commits = partial(tools.group_consumer.committed, self.assigned)
        commits = await tools.kafka.retry("find commits", find_commits, KafkaUnavailableError)
        find_marks = partial(tools.checkpoints.read, self._group)
        checkpoints = await tools.redis.retry("find checkpoints", find_marks, StoreError)
        has_begun = any(commit is not None for commit in commits.values()) or any(
            topic in tools.event_topics for topic, _ in checkpoints
        )
        if tools.settings.kafka.start == "latest" and not has_begun:
            await tools.kafka.retry("checkpoint the ends", self._checkpoint_ends, KafkaUnavailableError)
            checkpoints = await tools.redis.retry("find checkpoints", find_marks, StoreError)
        return {
            each: Known(
                None if (offset := commits[each]) is None else Commit(offset),
                checkpoints.get(each),
                context=each[0] in tools.context_topics,
            )
            for each in self.assigned
        }

    async def _checkpoint_ends(self) -> None:
        """The group begins now: what the event topics have already is not for it."""
        tools = self._tools
        ends = await tools.group_consumer.ends(tools.group_consumer.partitions_of(tools.event_topics))
        await tools.redis.retry(
            "checkpoint the ends", partial(tools.checkpoints.write, self._group, ends), StoreError
        )

    async def _read_contexts(self) -> None:
        """Register every context there is: Redis has lost them. Those that contradict were refused before."""
        logger.warning("contexts_lost")
        partitions = self._tools.group_consumer.partitions_of(self._tools.context_topics)
        async for records in read_whole(self._tools.settings.kafka, partitions):
            batch = self._tools.delivery.classify(records)
            await self._tools.delivery.register(Classified(), batch.registrations)

    # Working

    async def _work(self) -> None:
        while True:
            batch = await self._next()
            await self._carry_out(batch or _Batch(Classified(), ()))
            if batch is not None:
                self._ahead -= 1
                self._queue.task_done()
                self._progress.set()

    async def _next(self) -> _Batch | None:
        """The next batch; None after a moment without one while events are stuck."""
        try:
            async with asyncio.timeout(_OFFER_AGAIN_S if self._stuck else None):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def _carry_out(self, batch: _Batch) -> None:
        waited = self.events_wait
        self._stuck = await self._tools.delivery.deliver(batch.classified, self._stuck)
        held = {(record.topic, record.partition, record.offset) for record, _ in self._stuck}
        self._open = [ticket for ticket in (*self._open, *batch.tickets) if not ticket.acknowledge(held)]
        if self._in_flight.is_tight:
            self._urgent.set()
        if self.events_wait != waited:
            self._on_change()

    # Committing

    async def _commit_regularly(self) -> None:
        interval_s = self._tools.settings.kafka.commit_interval_ms / 1000
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._urgent.wait()
            self._urgent.clear()
            await self._try_to_commit()

    async def _try_to_commit(self) -> None:
        redis, kafka = self._tools.redis, self._tools.kafka
        try:
            await self._commit()
        except StoreError as error:
            await asyncio.sleep(redis.failure(error, "commit"))
        except KafkaUnavailableError as error:
            redis.success("commit")
            await asyncio.sleep(kafka.failure(error, "commit"))
        else:
            redis.success("commit")
            kafka.success("commit")

    async def _commit(self) -> None:
        """Commit what is done. Raises `StoreError`, `KafkaUnavailableError`."""
        async with self._committing:
            offsets = self._in_flight.to_commit()
            if offsets and await self._keep(offsets):
                self._in_flight.committed(offsets)
                self._progress.set()

    async def _keep(self, offsets: dict[Partition, int]) -> bool:
        """Write the checkpoints, then commit; False if a rebalance is on.

        The checkpoints are written only where Redis is verified, in the same step: they would hide that older
        ones are lost, and what was appended by then must have been appended to the same server.
        Raises `StoreError`, `KafkaUnavailableError`.
        """
        try:
            self._witness = await self._tools.checkpoints.advance(offsets, self._identity, self._witness)
        except StoreLost:
            self._on_lost(self)
            raise
        self._verified_at = asyncio.get_running_loop().time()
        return await self._tools.group_consumer.commit(offsets)
