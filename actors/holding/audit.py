"""Compares where subscribers stand with the heads of their logs: after a doubt, and all the time."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from doorstep.actors.holding.inbox import Inbox
from doorstep.actors.placement.slots import slot_of
from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.runtime.main_task import endless
from doorstep.actors.store.feed import Feed
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.gateway.cursor import Cursor

_HEADS_AT_ONCE = 500
_PAUSE_S = 1.0

logger = structlog.get_logger(__name__)


class Watched(Protocol):
    """A subscriber, as far as the audit goes."""

    user_id: str
    inbox: Inbox

    def see_head(self, head: Cursor) -> bool:
        """Catch up if the head is elsewhere; says whether that was needed."""


class Users(Protocol):
    """Who is connected."""

    def __iter__(self) -> Iterator[str]:
        """The ids of the users."""

    def of(self, user_id: str) -> Sequence[Watched]:
        """The subscribers of one of them."""


class Suspect(NamedTuple):
    """A live subscriber that stood elsewhere than at its log's head, and both."""

    subscriber: Watched
    cursor: Cursor | None
    head: Cursor


class Audit:
    """Two looks at heads, one that repairs and one that accuses.

    `doubt` is for what the feed may have missed. Besides, users are looked at in turn, all the time: there is
    nothing to be found, ever, so what is found is an alarm.
    """

    def __init__(self, log: Log, feed: Feed, redis: Breaker, users: Users) -> None:
        self.repairs = 0
        """Pushes that never came, and were found here."""
        self._log = log
        self._feed = feed
        self._redis = redis
        self._users = users
        self._doubted: set[int] = set()
        self._looked_at: set[int] = set()
        """Slots whose doubts are being settled."""
        self._doubts = asyncio.Event()

    def doubt(self, slots: Iterable[int]) -> None:
        """Something may be missing of these slots: let whoever is behind catch up, soon."""
        self._doubted.update(slots)
        self._doubts.set()

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(endless(self._settle_doubts()))
            tasks.create_task(endless(self._look_around()))

    async def _settle_doubts(self) -> None:
        while True:
            await self._doubts.wait()
            self._doubts.clear()
            self._looked_at, self._doubted = self._doubted, set()
            for some in _chunks([user_id for user_id in self._users if slot_of(user_id) in self._looked_at]):
                heads = await self._heads(some)
                for suspect in self._elsewhere(heads):
                    suspect.subscriber.see_head(suspect.head)
                if len(heads) < len(some):  # Redis can't tell yet
                    await asyncio.sleep(_PAUSE_S)
                    self.doubt({slot_of(user_id) for user_id in some if user_id not in heads})
            self._looked_at = set()

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_S)
            for some in _chunks(list(self._users)):
                suspects = await self._suspects(some)
                await asyncio.sleep(_PAUSE_S)
                if suspects:
                    await self._judge(suspects)

    async def _judge(self, suspects: Sequence[Suspect]) -> None:
        """A second, later look. Who has not moved since the first, and after all that was published before
        the second has come, was not pushed what is there; but for whom a doubt is yet to be settled."""
        again = await self._suspects({suspect.subscriber.user_id for suspect in suspects})
        try:
            await self._feed.fence()
        except StoreUnavailable:
            return  # the feed is in doubt: everybody's head will be looked at
        before = {(suspect.subscriber, suspect.cursor) for suspect in suspects}
        doubted = self._doubted | self._looked_at
        for suspect in again:
            stands_still = (suspect.subscriber, suspect.subscriber.inbox.cursor) in before
            if stands_still and slot_of(suspect.subscriber.user_id) not in doubted:
                self._repair(suspect)

    def _repair(self, suspect: Suspect) -> None:
        """A log that is behind its subscriber has lost writes: that is no push that was lost."""
        stood = suspect.cursor.seq if suspect.cursor else 0
        if suspect.subscriber.see_head(suspect.head) and suspect.head.seq > stood:
            self.repairs += 1
            logger.error(
                "push_lost",
                user_id=suspect.subscriber.user_id,
                cursor=str(suspect.cursor),
                head=str(suspect.head),
            )

    async def _suspects(self, user_ids: Iterable[str]) -> list[Suspect]:
        return self._elsewhere(await self._heads(list(user_ids)))

    async def _heads(self, user_ids: Sequence[str]) -> Mapping[str, Cursor]:
        """The heads of those users of whom it can be said."""
        heads = await self._redis.retry("compare heads", partial(self._log.heads, user_ids), StoreError)
        return {user_id: head for user_id, head in zip(user_ids, heads, strict=True) if head is not None}

    def _elsewhere(self, heads: Mapping[str, Cursor]) -> list[Suspect]:
        return [
            Suspect(subscriber, subscriber.inbox.cursor, head)
            for user_id, head in heads.items()
            for subscriber in self._users.of(user_id)
            if subscriber.inbox.is_elsewhere(head)
        ]


def _chunks(everything: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(everything), _HEADS_AT_ONCE):
        yield everything[start : start + _HEADS_AT_ONCE]
