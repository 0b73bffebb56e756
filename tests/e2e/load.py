"""A steady stream to many users while something happens, and what came of it."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.service import Service, token_for

USERS = 60
PER_SECOND = 300
VISITS_PER_SECOND = 50


@dataclass
class Load:
    """A steady stream to all users, each with one device."""

    publisher: Publisher
    users: Sequence[str]
    browsers: Sequence[Browser]
    sent: int = 0

    async def publish(self) -> None:
        """Until cancelled; every event says when it was sent."""
        start = time.monotonic()
        while True:
            await asyncio.sleep(max(start + self.sent / PER_SECOND - time.monotonic(), 0))
            data = {"number": self.sent, "sent": time.monotonic()}
            self.publisher.send(teacher_notification(self.users[self.sent % USERS], data))
            self.sent += 1

    async def check(self) -> None:
        """Every device has its share, in order, once."""
        await asyncio.to_thread(self.publisher.flush)
        assert self.publisher.failed == []
        for which, browser in enumerate(self.browsers):
            numbers = list(range(which, self.sent, USERS))
            await browser.wait_for(len(numbers))
            assert [n["data"]["number"] for n in browser.journal.notifications] == numbers
            assert browser.journal.seqs == list(range(1, len(numbers) + 1))
            assert browser.journal.resets == []

    def connects(self) -> list[int]:
        """How often each device has connected so far."""
        return [browser.journal.connects for browser in self.browsers]

    def latencies(self, which: Iterable[int], begin: float, end: float) -> list[float]:
        """Seconds from the sending of each event to its arrival at these devices, sorted; of events that were
        sent between these monotonic times."""
        journals = [self.browsers[number].journal for number in which]
        return sorted(
            at - notification["data"]["sent"]
            for journal in journals
            for at, notification in zip(journal.times, journal.notifications, strict=True)
            if begin <= notification["data"]["sent"] < end
        )


@contextlib.asynccontextmanager
async def load_on(service: Service, publisher: Publisher, names: Names) -> AsyncIterator[Load]:
    """Publishes while the block runs; checks what came at its end."""
    users = [names.user(number) for number in range(USERS)]
    async with contextlib.AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(Browser(service.address, user)) for user in users]
        load = Load(publisher, users, browsers)
        publishing = asyncio.create_task(load.publish())
        try:
            await asyncio.sleep(1)
            yield load
            await asyncio.sleep(1)
        finally:
            publishing.cancel()
        await load.check()


@dataclass
class Visitors:
    """Clients that connect, are welcomed, and leave again."""

    address: str
    welcomed: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    """Of each that was not welcomed, when it came, in monotonic seconds, and why not."""

    async def come(self) -> None:
        """Until cancelled, at a steady rate."""
        async with asyncio.TaskGroup() as visits:
            for number in itertools.count():
                visits.create_task(self._visit(f"visitor-{number}"))
                await asyncio.sleep(1 / VISITS_PER_SECOND)

    async def _visit(self, user: str) -> None:
        protocols: Any = ["doorstep.v1", f"bearer.{token_for(user)}"]
        url, came = f"ws://{self.address}/v1/ws", time.monotonic()
        try:
            async with connect(url, subprotocols=protocols, open_timeout=60) as socket:
                assert json.loads(await socket.recv())["event"] == "doorstep.welcome"
        except (OSError, WebSocketException, TimeoutError) as error:
            self.failed.append((came, repr(error)))
        else:
            self.welcomed += 1


@contextlib.asynccontextmanager
async def visitors_of(service: Service) -> AsyncIterator[Visitors]:
    """They come while the block runs."""
    visitors = Visitors(service.address)
    coming = asyncio.create_task(visitors.come())
    try:
        yield visitors
    finally:
        coming.cancel()
        await asyncio.wait([coming])
