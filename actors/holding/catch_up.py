"""Reads the log for every subscriber that is behind: many users in one pipeline, one page each."""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.values import Page, Want

_BATCH = 200


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

    While Redis is away the queue keeps: every reader gets its page when Redis is back.
    """

    def __init__(self, log: Log, redis: Breaker) -> None:
        self._log = log
        self._redis = redis
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
        for (reader, _), page in zip(batch, pages, strict=True):
            try:
                reader.take(page)
            except Exception as error:  # it is not to cost the others their pages
                reader.fail(error)
