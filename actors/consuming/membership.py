"""One membership in the consumer group, and all that goes on while it lasts."""

import asyncio

import structlog

from doorstep.actors.consuming.assignment import Assignment, Tools
from doorstep.actors.consuming.in_flight import NO_ROOM
from doorstep.actors.consuming.metrics import ConsumerMetrics
from doorstep.actors.kafka.group_consumer import KafkaUnavailableError, UnreadableError
from doorstep.actors.records import Partition
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.actors.store.values import Canary

_POLL_S = 0.5
_SOON_S = 0.002
_WATCH_S = 1.0
_BEAT_S = 0.25
_DRAIN_S = 5.0
_HOPELESS = 20

logger = structlog.get_logger(__name__)


class Membership:
    """Reads the partitions that it is assigned, and has their records carried out."""

    def __init__(self, tools: Tools, topics: frozenset[str], metrics: ConsumerMetrics) -> None:
        """`topics` are all that are routed."""
        self.assignment: Assignment | None = None
        """The present one; None while no partition is assigned."""
        self.joined = False
        """Whether the group has given it its part, even if that is no partition."""
        self.lag: dict[str, int] = {}
        """By topic, how many offsets of the assigned partitions were not done with a second ago."""
        self._tools = tools
        self._topics = topics
        self._metrics = metrics
        self._group_consumer = tools.group_consumer
        self._loop = asyncio.get_running_loop()
        self._tasks = asyncio.TaskGroup()
        self._beat_at = self._loop.time()

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that are this consumer's."""
        return self._group_consumer.assigned

    @property
    def paused(self) -> frozenset[Partition]:
        """Those of them that are not fetched now."""
        return self._group_consumer.paused

    async def run(self) -> None:
        """Join the group and work until cancelled. Raises when only a new membership can help."""
        try:
            async with self._tasks:
                await self._group_consumer.start(self._topics, self._begin, self._revoked)
                self._tools.kafka.success("connect")
                for work in (self._beat, self._read, self._watch_redis, self._watch_kafka):
                    self._tasks.create_task(work())
        finally:
            await self._group_consumer.stop()

    async def finish(self, timeout_s: float) -> None:
        """End the assignment; finish and commit what was taken, as far as time allows."""
        assignment = self.assignment
        if assignment is not None:
            await assignment.finish(timeout_s)
            self._replace_assignment(None)

    async def trust(self) -> Canary | None:
        """See `Assignment.trust`; raises `StoreUnavailable` too where `_awake` says no."""
        if not self._awake():
            raise StoreUnavailable("this process was frozen; others may have done its work")
        return None if self.assignment is None else await self.assignment.trust()

    async def verify(self) -> None:
        """See `Assignment.verify`."""
        if self.assignment is not None:
            await self.assignment.verify()

    def apply_pauses(self) -> None:
        """Pause what is not to be fetched now, and resume the rest; to be called when that changes."""
        tools, assignment = self._tools, self.assignment
        if assignment is None or assignment.state != "running" or tools.redis.is_open or tools.kafka.is_open:
            self._group_consumer.set_paused(self._group_consumer.assigned)
        elif assignment.events_wait:
            self._group_consumer.set_paused(
                {each for each in assignment.assigned if each[0] in tools.event_topics}
            )
        else:
            self._group_consumer.set_paused(())

    # Assignments

    def _begin(self, assigned: frozenset[Partition]) -> None:
        """These partitions are ours; again, where they are the same as before."""
        self.joined = True
        self._metrics.partitions.set(len(assigned))
        self._replace_assignment(
            Assignment(assigned, self._tools, self.apply_pauses, self._lost) if assigned else None
        )

    def _lost(self, assignment: Assignment) -> None:
        """Redis has lost what it acknowledged in this assignment: begin again at its checkpoints."""
        if assignment is self.assignment:
            self._metrics.restarts.labels("lost_writes").inc()
            self._begin(assignment.assigned)

    async def _revoked(self) -> None:
        """All partitions go to others, or come back."""
        await self.finish(_DRAIN_S)

    def _replace_assignment(self, assignment: Assignment | None) -> None:
        if self.assignment is not None:
            self.assignment.cancel()
        self.assignment = assignment
        if assignment is not None:
            assignment.start(self._tasks)
        self.apply_pauses()

    # Reading

    async def _read(self) -> None:
        failures = 0
        while True:
            try:
                await self._read_once()
            except KafkaUnavailableError as error:
                failures += 1
                if failures > _HOPELESS:
                    raise
                await asyncio.sleep(self._tools.kafka.failure(error, "poll"))
                self._rewind()
            else:
                failures = 0
                self._tools.kafka.success("poll")

    async def _read_once(self) -> None:
        assignment = self.assignment
        room = NO_ROOM if assignment is None else assignment.room()
        if assignment is not None and assignment.state == "running" and not room.of:
            await assignment.wait_for_room(_POLL_S)
            return
        limit = min(self._tools.settings.kafka.max_poll_records, room.total) if room.of else 1
        whole = assignment is None or not room.of or len(room.of) == len(assignment.assigned)
        try:
            polled = await self._group_consumer.poll(room.of, limit, _POLL_S if whole else _SOON_S)
        except UnreadableError:
            self._rewind()
            polled = await self._group_consumer.poll_each(room.of, limit)
        if (
            polled
            and assignment is self.assignment
            and assignment is not None
            and assignment.state == "running"
        ):
            await assignment.take(polled)
        elif polled:
            self._rewind()  # read for an assignment that is over

    def _rewind(self) -> None:
        if self.assignment is not None:
            self.assignment.rewind()

    # Watching

    async def _beat(self) -> None:
        while True:
            self._awake()
            await asyncio.sleep(_BEAT_S)

    def _awake(self) -> bool:
        """Whether this process was not frozen for so long that others may have done its work.

        If it was, it has now lost its place, and begins again at what is committed.
        """
        since, self._beat_at = self._beat_at, self._loop.time()
        if self._beat_at - since <= self._tools.settings.kafka.session_timeout_ms / 1000:
            return True
        logger.warning("process_was_frozen", seconds=self._beat_at - since)
        self._metrics.restarts.labels("frozen").inc()
        self._begin(self._group_consumer.assigned)
        return False

    async def _watch_redis(self) -> None:
        while True:
            try:
                await (
                    self._tools.checkpoints.server_identity()
                    if self.assignment is None
                    else self.assignment.verify()
                )
                await self._tools.stamp.ensure()
            except StoreError as error:
                self._tools.redis.failure(error, "watch")
            else:
                self._tools.redis.success("watch")
            await asyncio.sleep(_WATCH_S)

    async def _watch_kafka(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                ends = await self._group_consumer.ends(self._group_consumer.assigned or self._any_partition())
            except KafkaUnavailableError as error:
                self._tools.kafka.failure(error, "watch")
            else:
                self._tools.kafka.success("watch")
                self.lag = {} if self.assignment is None else self.assignment.lag(ends)

    def _any_partition(self) -> list[Partition]:
        return self._group_consumer.partitions_of(self._topics)[:1]
