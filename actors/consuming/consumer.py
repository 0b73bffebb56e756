"""The consumer: takes events from Kafka to the logs of the users they concern."""

import asyncio
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog
from prometheus_client import Metric

from doorstep.actors.consuming.assignment import Assignment
from doorstep.actors.consuming.delivery import Delivery
from doorstep.actors.consuming.faults import Faults, KafkaFault
from doorstep.actors.consuming.group_watch import GroupWatch, UnownedPartitionsError
from doorstep.actors.consuming.membership import Membership
from doorstep.actors.consuming.metrics import ConsumerMetrics
from doorstep.actors.consuming.rollback_guard import RollbackGuard
from doorstep.actors.consuming.start_point import StartPoint
from doorstep.actors.consuming.sweeper import Sweeper
from doorstep.actors.consuming.topic_watch import TopicWatch
from doorstep.actors.kafka.dead_letter_producer import DeadLetterProducer
from doorstep.actors.kafka.errors import FencedError, KafkaUnavailableError
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.kafka.offset_queries import OffsetQueries
from doorstep.actors.kafka.topic_queries import TopicQueries
from doorstep.actors.records import Partition
from doorstep.actors.runtime.breaker import Breaker, BreakerStatus
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.actors.runtime.tracing import tracer_of
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.rebuilding import Rebuilding
from doorstep.actors.store.redis.connection import check_server, connect
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.rights import check_rights
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings

_TO_FINISH = 0.6
"""The part of the time for a stop that is for records; the rest is for leaving the group."""
_AFTER_A_FAULT_S = 2.0
_FIGHT_S = 60.0

logger = structlog.get_logger(__name__)

State = Literal["connecting", "joining", "waiting", "settling", "running", "finishing", "stopped"]


@dataclass(frozen=True, slots=True)
class ConsumerStatus:
    """What a consumer says of itself."""

    name: str
    state: State
    """"connecting" to Redis and Kafka; "joining" the group; "waiting": it has no partition for this member;
    "settling": finds its place; "running"; "finishing" before they go to others; "stopped"."""
    breakers: tuple[BreakerStatus, ...]
    partitions: tuple[str, ...]
    """The assigned ones, as `topic/partition`."""
    paused: tuple[str, ...]
    """Those of them that are not fetched now."""
    faults: Mapping[str, KafkaFault]
    """By `topic` or `topic/partition`, what holds up this one alone; the dead-letter topic is among them."""
    lag: Mapping[str, int]
    """By `topic/partition`, how many of its offsets were still unprocessed one second ago."""
    parked: int
    """Events of all consumers that wait for their context, when that was looked at last."""
    dead_letters: Mapping[str, int]
    """By reason, the dead letters of this consumer since its start."""


class Consumer:
    """Begins by itself, and goes on through whatever happens to Kafka and Redis until it is stopped."""

    def __init__(self, name: str, settings: Settings, instance_id: str) -> None:
        """`instance_id`: who it is in the consumer group, the same in every process of the same actor.

        Call within a running event loop. Raises `RoutesError`, `StoreMisconfigured`.
        """
        collect_rarely()
        self._name = name
        self._instance_id = instance_id
        self._settings = settings
        self._routes = load_routes(settings.routes)
        self._metrics = ConsumerMetrics()
        self._redis = Breaker("redis", partial(self._on_breaker, "redis"))
        self._kafka = Breaker("kafka", partial(self._on_breaker, "kafka"))
        self._faults = Faults()
        self._topics = TopicWatch(
            TopicQueries(settings.kafka),
            self._faults,
            read=frozenset(self._routes.by_topic),
            written=frozenset({settings.kafka.dead_letter_topic}),
        )
        self._group = GroupWatch(settings.kafka.session_timeout_ms / 1000)
        self._connection = connect(settings.redis, self._metrics.redis_seconds.observe)
        checkpoints = Checkpoints(self._connection, self._topics.ids)
        self._stamp = Stamp(self._connection)
        self._guard = RollbackGuard(
            checkpoints,
            self._stamp,
            Rebuilding(self._connection, settings.kafka.group_id),
            self._topics.ids,
            group=settings.kafka.group_id,
            name=f"{name}.{secrets.token_hex(4)}",
            on_lost=self._on_lost_writes,
        )
        self._log = Log(self._connection, settings.history)
        self._dead_letters = DeadLetterProducer(settings.kafka)
        self._contexts = Contexts(self._connection, settings.context)
        self._tracer = tracer_of(settings, name)
        self._delivery = Delivery(
            settings=settings,
            routes=self._routes,
            log=self._log,
            contexts=self._contexts,
            dead_letters=self._dead_letters,
            redis=self._redis,
            metrics=self._metrics,
            trust=self._trust,
            verify=self._guard.verify,
            topic_ids=self._topics.ids,
            tracer=self._tracer,
        )
        self._queries = OffsetQueries(settings.kafka)
        self._start_point = StartPoint(
            settings=settings.kafka,
            window=settings.history.dedupe_window,
            event_topics=self._routes.event_topics,
            context_topics=self._routes.context_topics,
            topic_ids=self._topics.ids,
            sound=self._topics.sound,
            guard=self._guard,
            checkpoints=checkpoints,
            queries=self._queries,
            delivery=self._delivery,
            redis=self._redis,
            kafka=self._kafka,
        )
        self._sweeper = Sweeper(self._contexts, self._delivery, settings.context.sweep_interval_s)
        self._membership: Membership | None = None
        self._fenced_at = float("-inf")
        self._stopped = False
        self._main_task = MainTask(self._run())

    async def status(self) -> ConsumerStatus:
        """A snapshot."""
        assignment = self._membership.assignment if self._membership else None
        return ConsumerStatus(
            name=self._name,
            state=self._state(),
            breakers=(self._redis.status, self._kafka.status),
            partitions=_named(assignment.assigned if assignment else ()),
            paused=_named(assignment.paused if assignment else ()),
            faults={**self._group.faults, **self._faults.all},
            lag=_lag_named(self._membership.lag if self._membership else {}),
            parked=self._sweeper.parked,
            dead_letters=dict(self._metrics.dead_letters),
        )

    async def metrics(self) -> Sequence[Metric]:
        """Everything it counts."""
        membership = self._membership
        self._metrics.set_lag(membership.lag if membership else {}, membership.unstable if membership else {})
        self._metrics.log_repairs.inc(self._log.repairs)
        self._log.repairs = 0
        self._metrics.log_repairs.inc(self._contexts.repairs)
        self._contexts.repairs = 0
        self._metrics.oldest_parked.set(self._sweeper.oldest_parked_s)
        self._metrics.unowned.set(len(self._group.faults))
        self._metrics.in_flight.set(membership.assignment.in_flight if membership else 0)
        return self._metrics.collect()

    async def stop(self, within_s: float = 5.0) -> None:
        """Finish and commit what is under way, leave the group, and end, within that many seconds."""
        self._stopped = True
        if self._membership is not None:
            await self._membership.assignment.finish(within_s * _TO_FINISH)
        await self._main_task.stop()
        await self._queries.close()
        await self._dead_letters.stop()
        await self._connection.close()
        if self._tracer is not None:
            await self._tracer.stop()

    def _state(self) -> State:
        if self._stopped:
            return "stopped"
        if self._membership is None:
            return "connecting"
        if self._membership.assignment.assigned:
            return self._membership.assignment.state
        # librdkafka joins no group for topics that do not exist yet
        return "waiting" if self._membership.joined or not self._topics.ids else "joining"

    async def _run(self) -> None:
        await self._redis.retry("check", partial(check_server, self._connection), StoreError)
        await self._redis.retry("check rights", partial(check_rights, self._connection), StoreError)
        ensure = partial(self._stamp.ensure, self._start_point.find_store_id)
        await self._redis.retry("stamp", ensure, StoreError)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(endless(self._sweeper.run()))
            tasks.create_task(self._consume())

    async def _consume(self) -> None:
        """One membership after the other."""
        await self._kafka.retry("look at the topics", self._topics.look, KafkaUnavailableError)
        while not self._stopped:  # a fault while it is being cancelled must not keep it alive
            try:
                await self._consume_once()
            except* KafkaUnavailableError as errors:
                delay_s = self._kafka.failure(errors.exceptions[0], "connect")
            except* FencedError as errors:
                logger.warning("fenced", reason=str(errors.exceptions[0]))
                if self._was_fenced_lately():
                    raise
                delay_s = 0.0
            except* UnownedPartitionsError as errors:
                logger.warning("joining_anew", reason=str(errors.exceptions[0]))
                self._metrics.restarts.labels("unowned").inc()
                delay_s = 0.0
            except* Exception:
                logger.exception("membership_failed")
                delay_s = _AFTER_A_FAULT_S
            await asyncio.sleep(delay_s)

    def _was_fenced_lately(self) -> bool:
        """Whether that is the second time: then another process is this consumer, not a membership of ours.
        It began after us, so it is fenced once when we are fenced twice, and stays."""
        before, self._fenced_at = self._fenced_at, time.monotonic()
        return self._fenced_at - before < _FIGHT_S

    async def _consume_once(self) -> None:
        topics = frozenset(self._routes.by_topic)
        group_consumer = GroupConsumer(
            self._settings.kafka, self._name, self._instance_id, topics, self._topics.ids
        )
        assignment = Assignment(
            settings=self._settings,
            event_topics=self._routes.event_topics,
            context_topics=self._routes.context_topics,
            group_consumer=group_consumer,
            start_point=self._start_point,
            delivery=self._delivery,
            faults=self._faults,
            redis=self._redis,
            kafka=self._kafka,
        )
        self._membership = Membership(
            group_consumer=group_consumer,
            assignment=assignment,
            start_point=self._start_point,
            queries=self._queries,
            topics=self._topics,
            group=self._group,
            settings=self._settings.kafka,
            redis=self._redis,
            kafka=self._kafka,
            metrics=self._metrics,
        )
        self._kafka.success("connect")
        try:
            await self._membership.run()
        finally:
            self._membership = None

    async def _trust(self) -> Canary:
        if self._membership is None:
            return await self._guard.trust()
        return await self._membership.trust()

    def _on_lost_writes(self) -> None:
        logger.warning("redis_lost_writes")
        self._metrics.restarts.labels("lost_writes").inc()
        if self._membership is not None:
            self._membership.assignment.restart()

    def _on_breaker(self, name: str, is_open: bool) -> None:
        breaker = self._redis if name == "redis" else self._kafka
        logger.warning("breaker", server=name, state=breaker.status.state, reason=breaker.status.reason)
        self._metrics.set_breaker(name, is_open=is_open)
        if self._membership is not None:
            self._membership.assignment.apply_pauses()


def _named(partitions: Iterable[tuple[str, int]]) -> tuple[str, ...]:
    return tuple(f"{topic}/{number}" for topic, number in sorted(partitions))


def _lag_named(lag: Mapping[Partition, int]) -> dict[str, int]:
    return {f"{topic}/{number}": records for (topic, number), records in sorted(lag.items())}
