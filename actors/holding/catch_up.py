"""Reads the log for every subscriber that is behind: many users in one pipeline, one page each."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog

from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Page, Want

_BATCH = 200
_ASK_AGAIN_S = 0.5
_PATIENCE_S = 30.0
"""So long a subscriber waits for writes that Redis has lost. A consumer that is dead, or has very much to
read again, must not keep everybody from a reset that would help.
"""

logger = structlog.get_logger(__name__)


class Reader(Protocol):
    """A subscriber, as far as reading goes."""

    def want(self) -> Want | None:
        """What to read for it; None when it is gone."""

    def take(self, page: Page) -> None:
        """Take the page that was read."""

    def fail(self, error: Exception) -> None:
        """It could not take its page: end it."""


class CatchUp:
    """The queue of subscribers that are behind, and the task that reads for them.

    While Redis is away the queue keeps: every reader gets its page when Redis is back. And where Redis has
    lost writes, a reader that would be reset, or told where its log ends, waits until they are back.
    """

    def __init__(self, log: Log, stamp: Stamp, redis: Breaker, *, patience_s: float = _PATIENCE_S) -> None:
        self.waiting = 0
        """Readers that wait for lost writes."""
        self._log = log
        self._stamp = stamp
        self._redis = redis
        self._patience_s = patience_s
        self._waiting_since: float | None = None
        self._has_read = False
        """Whether there was ever a store to read from: a new one has lost nothing."""
        self._queue: deque[Reader] = deque()
        self._filled = asyncio.Event()

    def add(self, reader: Reader) -> None:
        """Read a page for `reader`, soon. It must not be in the queue already."""
        self._queue.append(reader)
        self._filled.set()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            await self._filled.wait()
            batch = self._next_batch()
            if batch:
                await self._read(batch)

    def _next_batch(self) -> list[tuple[Reader, Want]]:
        batch: list[tuple[Reader, Want]] = []
        while self._queue and len(batch) < _BATCH:
            reader = self._queue.popleft()
            if (want := reader.want()) is not None:
                batch.append((reader, want))
        if not self._queue:
            self._filled.clear()
        return batch

    async def _read(self, batch: Sequence[tuple[Reader, Want]]) -> None:
        wants = [want for _, want in batch]
        pages = await self._redis.retry("read logs", partial(self._log.read, wants), StoreError)
        unsaid = [each for each, page in zip(batch, pages, strict=True) if page is None]
        self._has_read = self._has_read or len(unsaid) < len(pages)
        if any(page and _is_verdict(want, page) for want, page in zip(wants, pages, strict=True)):
            self._waiting_since = None
        for (reader, _), page in zip(batch, pages, strict=True):
            _give(reader, page)
        if unsaid:
            await self._put_off(unsaid)

    async def _put_off(self, batch: Sequence[tuple[Reader, Want]]) -> None:
        """Ask again soon; when patience has ended, go by what there is."""
        now = asyncio.get_running_loop().time()
        if self._waiting_since is None:
            self._waiting_since = now
            self._tell_of_waiting()
        if now - self._waiting_since < self._patience_s:
            self.waiting += len(batch)
            asyncio.get_running_loop().call_later(_ASK_AGAIN_S, self._again, [reader for reader, _ in batch])
            return
        wants = [want for _, want in batch]
        pages = await self._redis.retry("read logs", partial(self._read_now, wants), StoreError)
        for (reader, _), page in zip(batch, pages, strict=True):
            if page is None:  # flushed in between
                self.add(reader)
            _give(reader, page)

    def _tell_of_waiting(self) -> None:
        if self._has_read:
            logger.warning("waiting_for_lost_writes", patience_s=self._patience_s)
        else:
            logger.info("waiting_for_consumers", patience_s=self._patience_s)

    async def _read_now(self, wants: Sequence[Want]) -> Sequence[Page | None]:
        await self._stamp.ensure()
        return await self._log.read(wants, now=True)

    def _again(self, readers: Sequence[Reader]) -> None:
        self.waiting -= len(readers)
        for reader in readers:
            self.add(reader)


def _is_verdict(want: Want, page: Page) -> bool:
    """Whether this could only be said because nothing is missing in Redis."""
    return want.after is None or page.reset is not None


def _give(reader: Reader, page: Page | None) -> None:
    try:
        if page is not None:
            reader.take(page)
    except Exception as error:  # it is not to cost the others their pages
        reader.fail(error)
