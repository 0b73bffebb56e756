"""The holder: owns the sockets of the users in its slots, and brings them what their logs get."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import Metric

from doorstep.actors.holding.catch_up import CatchUp
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.holding.poll_subscriber import PollSubscriber
from doorstep.actors.holding.socket_subscriber import SocketSubscriber
from doorstep.actors.holding.subscriber import Subscriber
from doorstep.actors.placement.slots import SLOTS, owner_of, slot_of
from doorstep.actors.placement.topology import Topology
from doorstep.actors.runtime.breaker import Breaker, BreakerStatus
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.logging import configure_logs
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.actors.store.feed import Feed
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.actors.store.values import Pushed
from doorstep.config.settings import Settings
from doorstep.gateway import messages
from doorstep.gateway.auth import Authenticator, Claims
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor
from doorstep.gateway.frames import text_frame
from doorstep.gateway.handover import Parcel, Receiver
from doorstep.gateway.head import HeadError
from doorstep.gateway.poll import PollConnection
from doorstep.gateway.problem import Problem
from doorstep.gateway.websocket import SocketLimits

_HEADS_AT_ONCE = 500
_AUDIT_PAUSE_S = 1.0
_RECONNECTS_PER_S = 1000
_LAST_WORDS_S = 0.2
_STOPPING = Problem(503, "stopping", "this server is stopping, try again")
_TOO_MANY = Problem(429, "too_many_connections", "the user has as many connections as are allowed")

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


class Users:
    """Who is connected: the subscribers of each user."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Subscriber, ...]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def of(self, user_id: str) -> Sequence[Subscriber]:
        """The subscribers of a user, oldest first: those of now, whoever comes or leaves meanwhile."""
        return self._of.get(user_id, ())

    def everyone(self) -> list[Subscriber]:
        """All subscribers, as they are now."""
        return [subscriber for of_one in self._of.values() for subscriber in of_one]

    def add(self, subscriber: Subscriber) -> None:
        """One more device of a user."""
        self._of[subscriber.user_id] = (*self.of(subscriber.user_id), subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """One device less."""
        others = tuple(each for each in self._of.pop(subscriber.user_id) if each is not subscriber)
        if others:
            self._of[subscriber.user_id] = others


class Holder:
    """Serves sockets and long polls. Stateless: whatever it knows, a client's cursor and the log know too."""

    def __init__(self, name: str, settings: Settings, topology: Topology) -> None:
        """Begin at once; call within a running event loop."""
        configure_logs(settings, name)
        collect_rarely()
        self.settings = settings
        self._name = name
        self._owned = frozenset(slot for slot in range(SLOTS) if owner_of(slot, topology.holders) == name)
        self._users = Users()
        self._guests: Counter[int] = Counter()
        self._authenticator = Authenticator(settings.auth)
        self._limits = SocketLimits(
            ping_interval_s=settings.gateway.ping_interval_s,
            ping_timeout_s=settings.gateway.ping_timeout_s,
            write_buffer_bytes=settings.gateway.write_buffer_bytes,
            max_frame_bytes=settings.gateway.max_frame_bytes,
            max_frames_per_s=settings.gateway.max_frames_per_s,
        )
        self._redis = Breaker("redis")
        self.counters = HolderMetrics()
        self._pushes = 0
        """Notifications that came since the metrics were asked for: a Counter takes a lock for each step."""
        self._receiver = Receiver(topology.socket_of(name), self._take_over)
        self._connection = connect(settings.redis)
        self._log = Log(self._connection, settings.history)
        self._catch_up = CatchUp(self._log, self._redis)
        self._feed = Feed(self._connection, self._push, self._on_subscribed, self._on_lost)
        self._state = "starting"
        self._opening: set[asyncio.Task[None]] = set()
        self._main_task = MainTask(self._serve())

    async def status(self) -> HolderStatus:
        """How it is."""
        return HolderStatus(
            name=self._name,
            state=self._state,
            connections=len(self._users.everyone()),
            users=len(self._users),
            slots=len(self._owned) + len(self._guests),
            breakers=(self._redis.status,),
        )

    async def metrics(self) -> Sequence[Metric]:
        """What Prometheus is told."""
        self.counters.connections.set(len(self._users.everyone()))
        self.counters.users.set(len(self._users))
        self.counters.pushes.inc(self._pushes)
        self._pushes = 0
        return self.counters.collect()

    async def stop(self) -> None:
        """Take nobody in any more, and send everybody off to reconnect, spread over time."""
        self._state = "stopping"
        await self._receiver.stop()
        subscribers = self._users.everyone()
        spread_ms = 1 + 1000 * len(subscribers) // _RECONNECTS_PER_S
        for subscriber in subscribers:
            after_ms = random.randint(1, spread_ms)  # noqa: S311 - only spreads the reconnects
            subscriber.close(CloseCode.SERVICE_RESTART, after_ms)
        await asyncio.sleep(_LAST_WORDS_S)
        await self._main_task.stop()
        await self._feed.stop()
        await self._connection.close()

    # What its subscribers need of it

    def read_for(self, subscriber: Subscriber) -> None:
        """Queue a read of the log."""
        self.counters.reads.inc()
        self._catch_up.add(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber, and the feed of a slot that is not ours once nobody needs it."""
        self._users.remove(subscriber)
        slot = slot_of(subscriber.user_id)
        if slot not in self._owned:
            self._guests[slot] -= 1
            if not self._guests[slot]:
                del self._guests[slot]
                self._spawn(self._feed.unsubscribe([slot]))

    def authenticate(self, token: str) -> Awaitable[Claims]:
        """Verify a token that a socket sent."""
        return self._authenticator.authenticate(token)

    # Its life

    async def _serve(self) -> None:
        """Take sockets from the start, also while Redis is away: they get their pages when it is there."""
        await self._receiver.start()
        self._state = "serving"
        logger.info("serving", slots=len(self._owned))
        await self._feed.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed.subscribe(self._owned))
            tasks.create_task(endless(self._catch_up.run()))
            tasks.create_task(endless(self._audit()))

    # A new connection

    def _take_over(self, sock: socket.socket, parcel: Parcel) -> None:
        """A socket came from the gateway. It is counted at once, so that no two slip in together."""
        try:
            subscriber = self._subscriber_for(parcel)
        except HeadError as error:
            self._spawn(self._refuse(sock, parcel, Problem(error.status, error.code, str(error))))
            return
        if self._state != "serving":
            self._spawn(self._refuse(sock, parcel, _STOPPING))
        elif len(self._users.of(parcel.user_id)) >= self.settings.gateway.max_sockets_per_user:
            self._spawn(self._refuse(sock, parcel, _TOO_MANY))
        else:
            self._join(subscriber)
            self._spawn(self._open(sock, subscriber, parcel))

    def _subscriber_for(self, parcel: Parcel) -> Subscriber:
        if parcel.kind == "poll":
            return PollSubscriber(self, parcel)
        return SocketSubscriber(self, parcel, self._limits)

    async def _open(self, sock: socket.socket, subscriber: Subscriber, parcel: Parcel) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: subscriber.protocol, sock)
        except OSError as error:
            sock.close()
            subscriber.finish()
            logger.warning("a connection was gone before it was open", error=str(error))
        else:
            subscriber.begin(parcel)

    async def _refuse(self, sock: socket.socket, parcel: Parcel, problem: Problem) -> None:
        answering = PollConnection(lambda: None, parcel.origin)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: answering, sock)
        except OSError:
            sock.close()
        else:
            answering.refuse(problem)
            self.counters.refusals.labels(problem.code).inc()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        self._opening.add(task := asyncio.get_running_loop().create_task(work))
        task.add_done_callback(self._opening.discard)

    def _join(self, subscriber: Subscriber) -> None:
        self._users.add(subscriber)
        slot = slot_of(subscriber.user_id)
        if slot not in self._owned:
            self._guests[slot] += 1
            self._spawn(self._feed.subscribe([slot]))

    # The feed

    def _push(self, slot: int, pushed: Iterable[Pushed]) -> None:
        for user_id, seq, previous, digest, payload in pushed:
            self._pushes += 1
            subscribers = self._users.of(user_id.decode())
            if subscribers:
                message = messages.notification(seq, digest, payload)
                frame = text_frame(message)  # once, for all devices
                for subscriber in subscribers:
                    subscriber.push(seq, previous, digest, message, frame)

    def _on_subscribed(self) -> None:
        """The feed was silent for a while: whoever is behind catches up, connected or connecting."""
        self._redis.success("feed")
        self._spawn(self._compare_heads(list(self._users)))

    def _on_lost(self) -> None:
        self.counters.feed_losses.inc()
        self._redis.failure(StoreUnavailable("the feed was lost"), "feed")
        logger.warning("the feed was lost; subscribing again")

    async def _compare_heads(self, user_ids: Sequence[str]) -> None:
        """Catch up every subscriber that does not stand at its log's head."""
        for some in _chunks(user_ids, _HEADS_AT_ONCE):
            for subscriber, _, head in await self._behind(some):
                subscriber.see_head(head)

    async def _audit(self) -> None:
        """Watch for pushes that never came: nothing is to be found here, ever, so what is found is an alarm.

        A head that a live subscriber has not reached a second later, without having moved, was not pushed.
        """
        while True:
            await asyncio.sleep(_AUDIT_PAUSE_S)
            for some in _chunks(list(self._users), _HEADS_AT_ONCE):
                suspects = await self._behind(some)
                await asyncio.sleep(_AUDIT_PAUSE_S)
                for subscriber, cursor, head in suspects:
                    if subscriber.inbox.cursor == cursor and subscriber.see_head(head):
                        self.counters.audit_repairs.inc()
                        logger.error(
                            "a push was lost; caught up from the log",
                            user_id=subscriber.user_id,
                            cursor=str(cursor),
                            head=str(head),
                        )

    async def _behind(self, user_ids: Sequence[str]) -> list[tuple[Subscriber, Cursor | None, Cursor | None]]:
        """The live subscribers that stand elsewhere than at the head: with their cursor, and the head."""
        heads = await self._redis.retry("compare heads", partial(self._log.heads, user_ids), StoreError)
        return [
            (subscriber, subscriber.inbox.cursor, head)
            for user_id, head in zip(user_ids, heads, strict=True)
            for subscriber in self._users.of(user_id)
            if subscriber.inbox.is_elsewhere(head)
        ]


def _chunks(everything: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(everything), size):
        yield everything[start : start + size]
