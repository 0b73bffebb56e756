"""Carries classified records out: registers contexts, appends or parks events, sends dead letters.

Nothing here gives up. What Redis does not take now is tried again, the same in the same order, until it does;
whoever calls may be cancelled at any point and begin again with the same records.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import structlog

from doorstep.actors.consuming.classify import Classified, Refused, classify
from doorstep.actors.consuming.context_cache import ContextCache
from doorstep.actors.consuming.decode import Event, Registration
from doorstep.actors.consuming.metrics import ConsumerMetrics
from doorstep.actors.consuming.traces import appending, trace_consumed
from doorstep.actors.kafka.dead_letter_producer import DeadLetterProducer
from doorstep.actors.kafka.dead_letters import Fault
from doorstep.actors.records import Record, StoredRecord, TopicIds, source_of, topic_id_of
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.runtime.tracing import Tracer
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.values import Canary, Entry, Parked, Parking, Registered
from doorstep.config.routes import RouteTable
from doorstep.config.settings import Settings

_RELEASE_AT_ONCE = 500

Located = tuple[Record, Event]
"""An event and the record it came in."""

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class Delivery:
    """The way of records into the logs, for one consumer."""

    def __init__(
        self,
        *,
        settings: Settings,
        routes: RouteTable,
        log: Log,
        contexts: Contexts,
        dead_letters: DeadLetterProducer,
        redis: Breaker,
        metrics: ConsumerMetrics,
        trust: Callable[[], Awaitable[Canary]],
        verify: Callable[[], Awaitable[None]],
        topic_ids: TopicIds = MappingProxyType({}),
        tracer: Tracer | None = None,
    ) -> None:
        """`verify` returns only while Redis has what it acknowledged, and raises `StoreError` otherwise: it
        is awaited before each retry. `trust`, awaited before each append, and before contexts are registered
        or asked for, may have looked a moment ago. `topic_ids` are looked up whenever a record comes, so they
        may become known later."""
        self.cache = ContextCache()
        self._settings = settings
        self._routes = routes
        self._log = log
        self._contexts = contexts
        self._dead_letters = dead_letters
        self._redis = redis
        self._metrics = metrics
        self._trust = trust
        self._verify = verify
        self._topic_ids = topic_ids
        self._tracer = tracer
        self._appending = asyncio.Lock()

    def classify(self, records: Iterable[Record], into: Classified | None = None) -> Classified:
        """Decode records by the routes; see `classify`."""
        longest, now = self._settings.kafka.max_record_bytes, time.time()
        start = len(into.events) if into else 0
        classified = classify(records, self._routes, longest, now, into, topic_ids=self._topic_ids)
        if self._tracer is not None:
            trace_consumed(self._tracer, classified.events, start, round(now * 1e9))
        return classified

    async def deliver(self, batch: Classified, stuck: Sequence[Located] = ()) -> list[Located]:
        """Do everything that is to be done with the records of a batch, contexts first.

        Returns the events that can neither be appended nor parked now, because the parking space is full:
        give them as `stuck` to the next call. Everything else is done with, but for those that are `refused`
        in the batch by then, which have to be dead-lettered.
        """
        if batch.registrations:
            await self.register(batch, batch.registrations)
        events = [*stuck, *batch.events]
        known = self.cache.get
        users = [event.user_id or known(event.batch_id or "") for _, event in events]
        stuck = [] if all(users) else await self._resolve(batch, events, users)
        await self._append(users, events)
        self._metrics.count("skipped", batch.skipped)
        return stuck

    async def register(self, into: Classified, registrations: Sequence[tuple[Record, Registration]]) -> None:
        """Make known whose batches these are, and append what was parked for them.

        A registration that contradicts an earlier one is refused `into`. Batches go side by side, the
        registrations of one batch in their order.
        """
        by_batch: dict[str, list[tuple[Record, Registration]]] = {}
        for record, registration in registrations:
            by_batch.setdefault(registration.batch_id, []).append((record, registration))
        await asyncio.gather(*(self._register_in_order(into, of_batch) for of_batch in by_batch.values()))

    async def release(self, batch_id: str, user_id: str) -> None:
        """Append what is parked of a batch, in order, and unpark exactly that, until nothing is left."""
        parked_now = partial(self._contexts.parked, batch_id, _RELEASE_AT_ONCE)
        while parked := await self._ask("look for parked events", parked_now):
            released = self.classify(waiting.record for waiting in parked)
            await self._append([event.user_id or user_id for _, event in released.events], released.events)
            for record, event in released.events:
                _trace("released", record, event)
            unkept = [each.record for each in await self.dead_letter(released.refused)]
            await self._unpark([waiting for waiting in parked if waiting.record not in unkept])
            if unkept:
                return  # the sweeper comes back to them
        self.cache.learn(batch_id, user_id)

    async def give_up(self, expired: Sequence[Parked]) -> bool:
        """Dead-letter events whose context has not come in time; release them if it has come by now.

        Says whether none of them is parked any more.
        """
        batches = list({waiting.batch_id for waiting in expired})
        users = await self._ask("look up contexts", partial(self._contexts.lookup, batches))
        for batch_id, user_id in users.items():
            await self.release(batch_id, user_id)
        late = [waiting for waiting in expired if waiting.batch_id not in users]
        refused = Classified()
        for waiting in late:
            refused.refuse(waiting.record, self._timeout(waiting), time.time())
        unkept = [each.record for each in await self.dead_letter(refused.refused)]
        await self._unpark([waiting for waiting in late if waiting.record not in unkept])
        return not unkept

    async def dead_letter(self, refused: Collection[Refused]) -> Mapping[Refused, str]:
        """Send dead letters; returns those that Kafka does not take now, each with the reason."""
        if not refused:
            return {}
        faults = await self._dead_letters.send([each.letter for each in refused])
        unkept = {each: fault for each, fault in zip(refused, faults, strict=True) if fault is not None}
        kept = [each for each in refused if each not in unkept]
        for each in kept:
            source, fault = source_of(each.record), each.fault
            logger.warning(
                "dead_lettered", reason=fault.reason, source=source, correlation_id=fault.correlation_id
            )
        self._metrics.count("dead_lettered", Counter(each.fault.reason for each in kept))
        return unkept

    async def _register_in_order(
        self, into: Classified, registrations: Sequence[tuple[Record, Registration]]
    ) -> None:
        for record, registration in registrations:
            register = partial(self._register_verified, registration)
            outcome = await self._ask("register a context", register)
            if outcome == "conflict":
                into.refuse(record, _conflict(registration), time.time())
            else:
                _trace("registered", record, registration)
                await self.release(registration.batch_id, registration.user_id)
                self._metrics.count("registered", {outcome: 1})

    async def _resolve(
        self, batch: Classified, events: Sequence[Located], users: list[str | None]
    ) -> list[Located]:
        """Put those `users` of `events` in that were unknown, or park the events.

        Returns the events that there is no space to park for.
        """
        unknown = [position for position, user in enumerate(users) if not user]
        waiting = [
            (events[position][1].batch_id or "", self._stored(events[position][0])) for position in unknown
        ]
        answers = await self._ask("resolve contexts", partial(self._resolve_verified, waiting))
        stuck: list[Located] = []
        for position, (batch_id, _), answer in zip(unknown, waiting, answers, strict=True):
            match answer:
                case str():
                    users[position] = answer
                    self.cache.learn(batch_id, answer)
                case Parking.PARKED:
                    _trace("parked", *events[position])
                case Parking.FULL:
                    stuck.append(events[position])
                case Parking.BATCH_FULL:
                    batch.refuse(events[position][0], self._park_full(events[position][1]), time.time())
        self._metrics.count("parked", {"": sum(answer is Parking.PARKED for answer in answers)})
        return stuck

    async def _append(self, users: Iterable[str | None], events: Iterable[Located]) -> None:
        """Append the events that have a user, one micro-batch at a time.

        So a slot never has two appends in flight.
        """
        entries = [
            (user, event.dedupe_key, event.payload)
            for user, (_, event) in zip(users, events, strict=True)
            if user
        ]
        if not entries:
            return
        async with self._appending:
            with self._metrics.append_seconds.time():
                new = await self._write(entries)
        self._metrics.count("appended", {"": new})
        self._metrics.count("repeated", {"": len(entries) - new})

    async def _write(self, entries: Sequence[Entry]) -> int:
        if self._tracer is not None:
            with appending(self._tracer, entries) as traced:
                return await self._ask("append", partial(self._append_verified, traced))
        return await self._ask("append", partial(self._append_verified, entries))

    async def _register_verified(self, registration: Registration) -> Registered:
        return await self._contexts.register(registration.batch_id, registration.user_id, await self._trust())

    async def _resolve_verified(self, waiting: Sequence[tuple[str, StoredRecord]]) -> Sequence[str | Parking]:
        return await self._contexts.resolve_or_park(waiting, await self._trust())

    async def _append_verified(self, entries: Sequence[Entry]) -> int:
        return await self._log.append(entries, await self._trust())

    async def _unpark(self, parked: Sequence[Parked]) -> None:
        sources: dict[str, list[str]] = {}
        for waiting in parked:
            sources.setdefault(waiting.batch_id, []).append(waiting.record.identity)
        for batch_id, of_batch in sources.items():
            await self._ask("unpark events", partial(self._contexts.unpark, batch_id, of_batch))

    async def _ask(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._redis.retry(operation, call, StoreError, self._verify)

    def _stored(self, record: Record) -> StoredRecord:
        return StoredRecord(
            record.topic,
            record.partition,
            record.offset,
            record.key,
            record.value,
            tuple(record.headers),
            topic_id_of(record, self._topic_ids),
        )

    def _park_full(self, event: Event) -> Fault:
        limit = self._settings.context.max_parked_per_batch
        message = f"{limit} events of batch {event.batch_id} wait for its registration already"
        return Fault(
            "park_full", "resolve_context", message, event.correlation_id, {"batch_id": event.batch_id}
        )

    def _timeout(self, waiting: Parked) -> Fault:
        events = self.classify([waiting.record]).events
        waited = self._settings.context.park_ttl_s
        message = f"nobody has registered batch {waiting.batch_id} for {waited} s"
        correlation_id = events[0][1].correlation_id if events else None
        return Fault(
            "context_timeout", "resolve_context", message, correlation_id, {"batch_id": waiting.batch_id}
        )


def _trace(what: str, record: Record, found: Event | Registration) -> None:
    """Tell what became of one record, for who follows it by its correlation id."""
    source = source_of(record)
    logger.debug(what, source=source, batch_id=found.batch_id, correlation_id=found.correlation_id)


def _conflict(registration: Registration) -> Fault:
    message = f"batch {registration.batch_id} is registered for another user already; the first one counts"
    details = {"batch_id": registration.batch_id, "user_id": registration.user_id}
    return Fault("context_conflict", "register_context", message, registration.correlation_id, details)
