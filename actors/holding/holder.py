"""The holder: owns the sockets of the users in its slots, and brings them what their logs get."""

import asyncio
import random
import time
from collections.abc import Awaitable, Collection, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Metric

from doorstep.actors.holding.admission import Admission
from doorstep.actors.holding.audit import Audit
from doorstep.actors.holding.catch_up import CatchUp
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.holding.read_marks import ReadMarks
from doorstep.actors.holding.receipt_stream import ReceiptStream
from doorstep.actors.holding.receipts import Receipts
from doorstep.actors.holding.registry import Registry
from doorstep.actors.holding.subscriber import Subscriber, news_of
from doorstep.actors.holding.waves import spread, waves
from doorstep.actors.placement.cell import Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.placement.spec import grace_of
from doorstep.actors.runtime.breaker import Breaker, BreakerStatus
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.actors.runtime.side_tasks import SideTasks
from doorstep.actors.runtime.tracing import tracer_of
from doorstep.actors.store.feed import Feed
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Pushed
from doorstep.config.routes import EventRoute, RoutesError, load_routes
from doorstep.config.settings import Settings
from doorstep.gateway import messages
from doorstep.gateway.auth import Authenticator, Claims
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.handover import Receiver
from doorstep.gateway.poll import Lingering
from doorstep.gateway.problem import Problem
from doorstep.gateway.traffic import Traffic
from doorstep.gateway.websocket import SocketLimits

_LAST_WORDS_S = 0.2
_WAVE_S = 0.1
_WRITE_BYTES = 64 * 1024

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HolderStatus:
    """What a holder says of itself."""

    name: str
    state: str
    connections: int
    users: int
    slots: int
    breakers: tuple[BreakerStatus, ...]


class Holder:
    """Serves sockets and long polls. Stateless: whatever it knows, a client's cursor and the log know too."""

    def __init__(self, name: str, settings: Settings, cell: Cell, run: RunDirectory) -> None:
        """Begin at once; call within a running event loop."""
        collect_rarely()
        self.settings = settings
        self.terms = _terms(settings)
        self._name = name
        self._run = run
        self._dealt = cell.slots_of(name)
        """The slots that are ours among the holders of the cell."""
        self._at_home = frozenset(range(SLOTS))
        """Those whose home is the cell."""
        self._registry = Registry[Subscriber](
            self._dealt,
            {"socket": settings.gateway.max_sockets_per_user, "poll": settings.gateway.max_polls_per_user},
        )
        self._authenticator = Authenticator(settings.auth)
        self._redis = Breaker("redis")
        self.lingering = Lingering(settings.gateway.max_polls_per_user)
        self.counters = HolderMetrics()
        self.traffic = Traffic()
        self._receipt_stream = ReceiptStream(settings)
        self._tracer = tracer_of(settings, name)
        self.receipts = Receipts(_events_of(settings), self.counters, self._receipt_stream, self._tracer)
        self._pushes = 0
        """Notifications that came since the metrics were asked for: a Counter takes a lock for each step."""
        self._connection = connect(settings.redis, self.counters.redis_seconds.observe)
        log = Log(self._connection, settings.history)
        self.read_marks = ReadMarks(log, self._redis)
        self._catch_up = CatchUp(log, Stamp(self._connection), self._redis)
        push = self._push if self._tracer is None else self._push_traced
        self._feed = Feed(self._connection, push, self._on_garbled, self._on_subscribed, self._on_lost)
        self._audit = Audit(log, self._feed, self._redis, self._registry)
        self._side = SideTasks(lambda error: self.fault("task", error))
        self._admission = Admission(self, self._registry, _socket_limits(settings), self._want)
        self._receiver = Receiver(run.socket_of(name), self._admission.take)
        self._until: float | None = None
        self._state = "starting"
        self._main_task = MainTask(self._serve())

    async def status(self) -> HolderStatus:
        """How it is."""
        return HolderStatus(
            name=self._name,
            state=self._state,
            connections=self._registry.connections,
            users=len(self._registry),
            slots=self._registry.slots,
            breakers=(self._redis.status,),
        )

    async def metrics(self) -> Sequence[Metric]:
        """What Prometheus is told."""
        self.counters.connections.set(self._registry.connections)
        self.counters.users.set(len(self._registry))
        self.counters.waiting.set(self._catch_up.waiting)
        self.counters.pushes.inc(self._pushes)
        self.counters.audit_repairs.inc(self._audit.repairs)
        self._pushes = self._audit.repairs = 0
        self.receipts.count()
        self.counters.receipts_dropped.inc(self._receipt_stream.take_dropped())
        return [*self.counters.collect(), *self.traffic.collect()]

    async def stop(self, within_s: float = 5.0) -> None:
        """Take nobody in any more, and send everybody off to reconnect, over that many seconds at most."""
        self._state = "stopping"
        self._admission.close()
        await self._receiver.stop()
        await _send_off(self._registry.everyone(), max(within_s - _LAST_WORDS_S, 0))
        await asyncio.sleep(_LAST_WORDS_S)
        await self._main_task.stop()
        self._receipt_stream.stop()
        await self._connection.close()
        if self._tracer is not None:
            await self._tracer.stop()

    def belong_to(self, cell: Cell) -> None:
        """Own the slots that are ours in this cell. Users of others are served until their new holders are
        there, and sent off to them. Who is left out goes on until it is stopped."""
        if self._name not in cell.holders:
            return
        before, self._dealt = self._dealt, cell.slots_of(self._name)
        self._own()
        lost = before - self._dealt
        logger.info("slots_moved", slots=len(self._registry.owned), lost=len(lost))
        self.spawn(self._move(lost, cell))

    def be_home_of(self, slots: frozenset[int]) -> None:
        """These are the slots whose home is the cell: of no others are the feeds of ours listened to, but for
        guests. Everybody stays."""
        self._at_home = slots
        self._own()
        logger.info("homes_moved", slots=len(self._registry.owned))

    def _own(self) -> None:
        unneeded = self._registry.own(self._dealt & self._at_home)
        self._feed.want(self._registry.owned)
        self._feed.unsubscribe(unneeded)

    def drain(self, until: float | None) -> None:
        """Have everybody gone by this unix second, evenly after a grace; None: nobody must go."""
        if until != self._until:
            self._until = until
            if until is not None:
                self.spawn(self._leave_by(until))

    # What its subscribers need of it

    def read_for(self, subscriber: Subscriber) -> None:
        """Queue a read of the log."""
        self.counters.reads.inc()
        self._catch_up.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber, and the feed of a slot that is not ours once nobody needs it."""
        slot = self._registry.remove(subscriber)
        if slot is not None:
            self._feed.unsubscribe([slot])

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work for a subscriber."""
        self._side.spawn(work)

    def fault(self, where: str, error: Exception, correlation_id: str | None = None) -> None:
        """An error of ours that was kept to one user, connection or message; `correlation_id`: of the
        notification that it is about, if it is about one."""
        self.counters.faults.labels(where).inc()
        logger.error("fault_contained", where=where, correlation_id=correlation_id, exc_info=error)

    def refused(self, user_id: str, problem: Problem) -> None:
        """One of this user's connections gets this instead of notifications."""
        self.counters.refusals.labels(problem.code).inc()
        logger.warning("request_refused", code=problem.code, status=problem.status, user_id=user_id)

    def authenticate(self, token: str) -> Awaitable[Claims]:
        """Verify a token that a socket sent."""
        return self._authenticator.authenticate(token)

    # Its life

    async def _serve(self) -> None:
        """Take sockets from the start, also while Redis is away: they get their pages when it is there."""
        await self._receiver.start()
        self._state = "serving"
        logger.info("serving", slots=self._registry.slots)
        self._feed.want(self._registry.owned)
        parts = (self._feed, self._catch_up, self._audit, self.receipts, self.read_marks)
        async with asyncio.TaskGroup() as tasks:
            for part in parts:
                tasks.create_task(endless(part.run()))

    async def _move(self, lost: frozenset[int], cell: Cell) -> None:
        """Send the users of these slots off to their new holders, once those listen."""
        awaited = {self._run.socket_of(cell.owner_of(slot)) for slot in lost}
        while not all(map(Path.exists, awaited)):  # noqa: ASYNC110 - nobody tells of a socket
            await asyncio.sleep(_WAVE_S)
        lost = lost - self._dealt  # the cell may have changed once more
        movers = [each for each in self._registry.everyone() if slot_of(each.user_id) in lost]
        await _send_off(movers, self.settings.drain_s)

    async def _leave_by(self, until: float) -> None:
        """Send off who is there, and who comes then, until the drain is another one or none."""
        await asyncio.sleep(grace_of(until - time.time()))
        while self._until == until:
            groups, pause_s = spread(self._registry.everyone(), max(until - time.time(), 0))
            for group in groups:
                if self._until == until:
                    _say_goodbye(group, pause_s)
                    await asyncio.sleep(pause_s)

    # The feed

    def _want(self, slot: int) -> None:
        self._feed.want([slot])

    def _push(self, slot: int, pushed: Iterable[Pushed]) -> None:
        """What there is for a user together goes out together: a write costs more than all else."""
        for user_id, of_user in groupby(pushed, itemgetter(0)):
            run = list(of_user)
            self._pushes += len(run)
            subscribers = self._registry.of(user_id.decode())
            if subscribers:
                for together in _writes(run):
                    self._deliver(subscribers, together)

    def _deliver(self, subscribers: Iterable[Subscriber], run: Sequence[Pushed]) -> None:
        receipts = self.receipts
        news = [news_of(push) for push in run]  # once, for all devices
        sent = []
        for subscriber in subscribers:
            try:
                sent.append(subscriber.push(news))
            except Exception as error:  # it is not to cost the others their notifications
                correlation_id = messages.correlation_id_in(run[0][4]) if len(run) == 1 else None
                subscriber.fail(error, correlation_id)
        for place, push in enumerate(run):
            sockets = sum(place < count for count in sent)
            if sockets:
                receipts.aside.append((push, sockets))
                if receipts.samples_due:
                    receipts.sample(push[4])

    def _push_traced(self, slot: int, pushed: Iterable[Pushed]) -> None:
        began_ns, first = time.time_ns(), len(self.receipts.aside)
        self._push(slot, pushed)
        self.receipts.trace(first, began_ns)

    def _on_garbled(self, slot: int, error: Exception) -> None:
        """What a message of the feed held is read from the logs of its slot."""
        self.fault("feed", error)
        self._audit.doubt([slot])

    def _on_subscribed(self, slots: Collection[int]) -> None:
        """These feeds were silent until now: whoever is behind catches up, connected or connecting."""
        self._redis.success("feed")
        self._audit.doubt(slots)

    def _on_lost(self) -> None:
        self.counters.feed_losses.inc()
        self._redis.failure(StoreUnavailable("the feed was lost"), "feed")
        logger.warning("feed_lost")


def _writes(run: Sequence[Pushed]) -> Iterator[Sequence[Pushed]]:
    """What goes out in one write each, so that nobody gets much more at once than he has room for."""
    first = size = 0
    for place, push in enumerate(run):
        size += len(push[4])
        if size > _WRITE_BYTES and place > first:
            yield run[first:place]
            first, size = place, len(push[4])
    yield run[first:]


async def _send_off(subscribers: Sequence[Subscriber], within_s: float) -> None:
    """Tell them in waves to come back, each of a wave at another moment."""
    for wave in waves(subscribers, within_s):
        _say_goodbye(wave, _WAVE_S)
        await asyncio.sleep(_WAVE_S)


def _say_goodbye(subscribers: Sequence[Subscriber], over_s: float) -> None:
    """Each is to come back at another moment of that time."""
    for subscriber in subscribers:
        after_ms = random.randint(1, round(over_s * 1000))  # noqa: S311 - only spreads the reconnects
        subscriber.close(CloseCode.SERVICE_RESTART, after_ms)


def _events_of(settings: Settings) -> Iterable[str]:
    """The events that routes name. Routes are the consumers' business: without them no event has a label."""
    try:
        routes = load_routes(settings.routes).routes
    except RoutesError as error:
        logger.warning("routes_unreadable", reason=str(error))
        return ()
    return [each.event for each in routes if isinstance(each, EventRoute) and isinstance(each.event, str)]


def _terms(settings: Settings) -> messages.Terms:
    gateway, history = settings.gateway, settings.history
    return messages.Terms(
        ping_interval_ms=round(gateway.ping_interval_s * 1000),
        history_max_count=history.max_count,
        history_ttl_s=history.ttl_s,
        max_frame_bytes=gateway.max_frame_bytes,
        max_frames_per_s=gateway.max_frames_per_s,
        max_sockets_per_user=gateway.max_sockets_per_user,
        max_polls_per_user=gateway.max_polls_per_user,
    )


def _socket_limits(settings: Settings) -> SocketLimits:
    gateway = settings.gateway
    return SocketLimits(
        ping_interval_s=gateway.ping_interval_s,
        ping_timeout_s=gateway.ping_timeout_s,
        write_buffer_bytes=gateway.write_buffer_bytes,
        max_frame_bytes=gateway.max_frame_bytes,
        max_frames_per_s=gateway.max_frames_per_s,
    )
