"""The feeds of a set of slots: what was appended, in order, as it was appended.

While a feed lives nothing is missing from it. What was appended while it was broken is not made up for: its
owner is told after every new subscription, and reads the log.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgpack
import structlog

from doorstep.actors.runtime.main_task import endless
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.errors import StoreError, StoreMisconfigured, StoreUnavailable
from doorstep.actors.store.redis.link import Link, OnLost, pack
from doorstep.actors.store.redis.server import Server
from doorstep.actors.store.values import Pushed

OnPush = Callable[[int, Iterable[Pushed]], None]
OnGarbled = Callable[[int, Exception], None]

_FORMAT = 1
"""Of the messages; `append.lua` writes it."""
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0
_PING_INTERVAL_S = 2.0
_PING_TIMEOUT_S = 5.0
_CONFIRM_TIMEOUT_S = 5.0

logger = structlog.get_logger(__name__)


def read_message(message: bytes) -> Iterator[Pushed]:
    """What one append published: a msgpack array of its format and all notifications' parts, flat.

    Raises `StoreMisconfigured` for a message in another format.
    """
    parts = iter(msgpack.unpackb(message, raw=True))
    if (found := next(parts, None)) != _FORMAT:
        raise StoreMisconfigured(
            f"the feed has format {found!r}, this Doorstep knows {_FORMAT}: run the same version everywhere"
        )
    return zip(parts, parts, parts, parts, parts, strict=True)


class _Subscription:
    """One link to one master, and the channels that are subscribed on it."""

    def __init__(
        self, server: Server, sharded: bool, on_push: OnPush, on_garbled: OnGarbled, on_broken: OnLost
    ) -> None:
        self._slots: Mapping[bytes, int] = {}
        self._server = server
        self._prefix = "S" if sharded else ""
        self._on_push = on_push
        self._on_garbled = on_garbled
        self._on_broken = on_broken
        self._link: Link | None = None
        self._confirmed: set[bytes] = set()
        self._changed = asyncio.Event()

    @property
    def is_complete(self) -> bool:
        """The link lives, and all its channels are subscribed."""
        return self._link is not None and self._confirmed == self._slots.keys()

    async def subscribe(self, slots: Mapping[bytes, int]) -> None:
        """Make these channels (with their slots) the subscribed ones; returns when the server has confirmed.

        Raises `StoreUnavailable`.
        """
        self._slots = slots
        if self._link is None:
            self._confirmed = set()
            self._link = await self._server.open(self._take, self._broke)
        self._say(self._link, "UNSUBSCRIBE", self._confirmed - slots.keys())
        self._say(self._link, "SUBSCRIBE", slots.keys() - self._confirmed)
        try:
            async with asyncio.timeout(_CONFIRM_TIMEOUT_S):
                await self._completed()
        except TimeoutError as error:
            raise StoreUnavailable(f"no confirmation of a subscription in {_CONFIRM_TIMEOUT_S} s") from error

    async def _completed(self) -> None:
        while not self.is_complete:
            if self._link is None:
                raise StoreUnavailable("the link of a subscription broke")
            self._changed.clear()
            await self._changed.wait()

    async def fence(self) -> None:
        """Returns when all that the server has published by now was pushed. Raises `StoreUnavailable`."""
        if self._link is None:
            raise StoreUnavailable("the link of a subscription broke")
        await self._link.exchange(pack(("PING",)), 1)

    async def ping(self) -> None:
        """Break a link that is dead, if it has been silent since the last time."""
        link = self._link
        if link is None:
            return
        if not link.heard:
            try:
                async with asyncio.timeout(_PING_TIMEOUT_S):
                    await link.exchange(pack(("PING",)), 1)
            except StoreUnavailable:
                return  # `on_broken` was called
            except TimeoutError as error:
                link.abort(error)
        link.heard = False

    def close(self) -> None:
        """End it quietly."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _say(self, link: Link, verb: str, channels: Collection[bytes]) -> None:
        # One channel a command: in a Cluster the channels of one command must be of one hash slot.
        link.send(b"".join(pack((self._prefix + verb, channel)) for channel in sorted(channels)))

    def _take(self, push: list[Any]) -> None:
        kind, channel = push[0], push[1]
        if kind in (b"message", b"smessage"):
            slot = self._slots.get(channel)
            if slot is not None:
                self._pass_on(slot, push[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            self._confirmed.add(channel)
            self._changed.set()
        elif kind in (b"unsubscribe", b"sunsubscribe"):
            self._unsubscribed(channel)

    def _pass_on(self, slot: int, message: bytes) -> None:
        try:
            self._on_push(slot, read_message(message))
        except Exception as error:  # it costs what it holds, not the feed
            self._on_garbled(slot, error)

    def _unsubscribed(self, channel: bytes) -> None:
        self._confirmed.discard(channel)
        self._changed.set()
        if channel in self._slots:  # the server did it: another master hosts this slot now
            raise StoreUnavailable(f"{channel.decode()} has moved to another server")

    def _broke(self, error: StoreUnavailable) -> None:
        self._link = None
        self._changed.set()
        self._on_broken(error)


class Feed:
    """Subscribes to slots, and again by itself, with backoff, whenever a connection is lost."""

    def __init__(
        self,
        connection: Connection,
        on_push: OnPush,
        on_garbled: OnGarbled,
        on_subscribed: Callable[[Collection[int]], None],
        on_lost: Callable[[], None],
    ) -> None:
        """All callbacks are called in the event loop and must not block.

        `on_push(slot, notifications)` gets what one append added to a slot, in order.
        `on_garbled(slot, error)`: a message could not be read, or `on_push` raised: what it held is missing.
        `on_subscribed(slots)` comes whenever all wanted slots have become subscribed: with all of them after
        the start and after a loss, else with those that were not until then. From then on nothing is missing.
        `on_lost()`: something may be, until the next `on_subscribed`.
        """
        self._connection = connection
        self._on_push = on_push
        self._on_garbled = on_garbled
        self._on_subscribed = on_subscribed
        self._on_lost = on_lost
        self._wanted: set[int] = set()
        self._subscribed: Mapping[int, Server] = {}
        """By slot, the master on which it is."""
        self._subscriptions: dict[Server, _Subscription] = {}
        self._waiting: list[tuple[frozenset[int], asyncio.Future[None]]] = []
        self._changed = asyncio.Event()
        self._live = False
        self._stopped = False

    @property
    def live(self) -> bool:
        """Nothing is missing of the slots that are subscribed."""
        return self._live

    async def run(self) -> None:
        """Connect, subscribe, and do both again whenever that is needed, until cancelled.

        No callback comes after that; who waits in `subscribe` gets `StoreUnavailable`.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(endless(self._keep_subscribed()))
                tasks.create_task(endless(self._keep_alive()))
        finally:
            self._stop()

    def _stop(self) -> None:
        self._stopped = True
        self._close_all()
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(StoreUnavailable("the feed was stopped"))

    async def fence(self) -> None:
        """Returns when all that was published before the call has been pushed.

        Raises `StoreUnavailable` where nobody can tell: `on_subscribed` comes after that.
        """
        if not (self._live and self._wanted <= self._subscribed.keys()):
            raise StoreUnavailable("not all slots are subscribed")
        await asyncio.gather(*(each.fence() for each in self._subscriptions.values()))

    def want(self, slots: Iterable[int]) -> None:
        """Add slots, without waiting for them."""
        self._wanted.update(slots)
        self._changed.set()

    async def subscribe(self, slots: Iterable[int]) -> None:
        """Add slots. Returns when the server has confirmed them: what is appended from now on comes.

        Waits as long as Redis is away; a caller that gives up leaves the slots wanted. Raises
        `StoreUnavailable` when the feed is stopped.
        """
        if self._stopped:
            raise StoreUnavailable("the feed was stopped")
        added = frozenset(slots)
        self.want(added)
        if self._live and added <= self._subscribed.keys():
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((added, future))
        await future

    def unsubscribe(self, slots: Iterable[int]) -> None:
        """Remove slots. What is already on its way may still come."""
        self._wanted.difference_update(slots)
        self._changed.set()

    async def _keep_subscribed(self) -> None:
        delay = _FIRST_RETRY_S
        while True:
            self._changed.clear()
            try:
                await self._settle(frozenset(self._wanted))
            except Exception as error:  # also of `on_subscribed`: whatever it is, only a new start may help
                self._broken(error)
                self._close_all()
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 -- only spreads the retries
                delay = min(2 * delay, _LONGEST_RETRY_S)
            else:
                delay = _FIRST_RETRY_S
                await self._changed.wait()

    async def _settle(self, wanted: frozenset[int]) -> None:
        """Subscribe to exactly the wanted slots, each on the master that hosts it. Raises `StoreError`."""
        # Who wants one of the others from now on has to wait again.
        self._subscribed = {slot: at for slot, at in self._subscribed.items() if slot in wanted}
        channels = {self._connection.keys.feed(slot): slot for slot in wanted}
        placed = await self._connection.place(list(channels))
        self._close_all(but=placed.keys())
        for server, hosted in placed.items():
            await self._subscription(server).subscribe({name.encode(): channels[name] for name in hosted})
        if not all(each.is_complete for each in self._subscriptions.values()):
            raise StoreUnavailable("a subscription broke while others were made")
        self._settled({channels[name]: server for server, hosted in placed.items() for name in hosted})

    def _settled(self, subscribed: Mapping[int, Server]) -> None:
        before = self._subscribed if self._live else {}
        news = [slot for slot, server in subscribed.items() if before.get(slot) is not server]
        is_news = bool(news) or not self._live
        self._subscribed, self._live = subscribed, True
        if is_news:
            self._on_subscribed(news)
        for waiting in [each for each in self._waiting if each[0] <= subscribed.keys()]:
            self._waiting.remove(waiting)
            if not waiting[1].done():
                waiting[1].set_result(None)

    def _subscription(self, server: Server) -> _Subscription:
        if server not in self._subscriptions:
            self._subscriptions[server] = _Subscription(
                server, self._connection.sharded, self._on_push, self._on_garbled, self._broken
            )
        return self._subscriptions[server]

    def _broken(self, error: Exception) -> None:
        is_expected = isinstance(error, StoreError) and isinstance(error.__cause__, OSError | None)
        logger.warning("feed_broken", error=str(error), exc_info=None if is_expected else error)
        self._changed.set()
        if self._live:
            self._live = False
            self._on_lost()

    def _close_all(self, but: Collection[Server] = ()) -> None:
        for server in self._subscriptions.keys() - set(but):
            self._subscriptions.pop(server).close()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_PING_INTERVAL_S)
            await asyncio.gather(*(each.ping() for each in self._subscriptions.values()))
