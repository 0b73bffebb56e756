"""The owner of a feed, for tests."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from doorstep.actors.store.feed import Feed
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.values import Pushed
from tests.support.waiting import PATIENCE_S


class Owner:
    """Writes down what a feed tells it."""

    def __init__(self, connection: Connection) -> None:
        self.pushes: list[tuple[int, Sequence[Pushed]]] = []
        self.events: list[str] = []
        self.subscribed: list[set[int]] = []
        """The slots of each `on_subscribed`."""
        self.fault: Exception | None = None
        """To be raised by the next push, once."""
        self.late_fault: Exception | None = None
        """To be raised by the next `on_subscribed`, once."""
        self._changed = asyncio.Event()
        self.feed = Feed(connection, self._push, self._garbled, self._subscribed, self._lost)
        self.garbled: list[tuple[int, Exception]] = []
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run the feed."""
        self._running = asyncio.create_task(self.feed.run())

    async def stop(self) -> None:
        """End it."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])

    def seen(self) -> list[tuple[str, int]]:
        """User and number of all notifications, in the order they came."""
        return [(user.decode(), seq) for _, push in self.pushes for user, seq, *_ in push]

    async def until(self, *, pushes: int = 0, events: Sequence[str] | None = None) -> None:
        """Wait for so many pushes, or until exactly these events have happened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while len(self.pushes) < pushes or self.events != (events or self.events):
                    self._changed.clear()
                    await self._changed.wait()
        assert len(self.pushes) >= pushes
        assert self.events == (events or self.events)

    def _push(self, slot: int, pushed: Iterable[Pushed]) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self.pushes.append((slot, list(pushed)))
        self._changed.set()

    def _garbled(self, slot: int, error: Exception) -> None:
        self.garbled.append((slot, error))
        self._changed.set()

    def _subscribed(self, slots: Collection[int]) -> None:
        fault, self.late_fault = self.late_fault, None
        if fault is not None:
            raise fault
        self.events.append("subscribed")
        self.subscribed.append({*slots})
        self._changed.set()

    def _lost(self) -> None:
        self.events.append("lost")
        self._changed.set()
