"""Kills at random in the middle of a stream: 20 in a test run, 500 in an hour of `make soak`.

Nothing is lost, doubled or out of order, and memory, descriptors and tasks do not grow.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from http.client import HTTPException
from typing import Any

import psutil
import pytest
import redis

from doorstep.benchmarks.ledger import Exactness, Ledger
from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.servers import ValkeyServer
from tests.support.service import Service

USERS = 20
PER_SECOND = 280
KINDS = ("Holder", "Holder", "Consumer", "Consumer", "Gateway", "Supervisor", "feed")
SOAK_S = float(os.environ.get("DOORSTEP_SOAK_S", "24"))
KILLS = round(SOAK_S / 7.2) if "DOORSTEP_SOAK_S" in os.environ else 20
SAMPLE_S = 2.0
MOST_GROWTH = 0.1
LONG_S = 300.0
"""Below that, sizes are those of actors that start."""


class Judged(Browser):
    """A device that judges what it gets at once, instead of keeping a million notifications."""

    def __init__(self, address: str, user_id: str, user: int) -> None:
        super().__init__(address, user_id)
        self.ledger = Ledger(user)
        self.gaps = 0
        """Notifications whose number in the log is not that of the event."""

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        for notification in self.journal.notifications:
            data = notification["data"]
            self.ledger.note(data["user"], data["number"])
            self.gaps += notification["seq"] != data["number"]
        self.journal.notifications.clear()
        self.journal.times.clear()


def growth(samples: Sequence[tuple[float, float]]) -> float:
    """How much larger it becomes from first to last by the line of least squares, as a part of the mean."""
    times, values = zip(*samples, strict=True)
    middle, mean = sum(times) / len(times), sum(values) / len(values)
    slope = sum((t - middle) * (v - mean) for t, v in samples) / sum((t - middle) ** 2 for t in times)
    return float(slope * (times[-1] - times[0]) / mean)


def size_of(service: Service) -> dict[str, float]:
    """What all its processes have of what must not grow."""
    sizes = {"memory": 0.0, "descriptors": 0.0, "tasks": 0.0}
    for process in service.family():
        with suppress(psutil.Error):
            sizes["memory"] += process.memory_info().rss
            sizes["descriptors"] += process.num_fds()
    for line in service.ask("/metrics").decode().splitlines():
        if line.startswith("doorstep_loop_tasks{"):
            sizes["tasks"] += float(line.split()[-1])
    return sizes


class Soak:
    """The stream, and what is done to the service meanwhile."""

    def __init__(self, service: Service, store: ValkeyServer, publisher: Publisher, names: Names) -> None:
        self.sent = [0] * USERS
        self.kept = 0
        """Events that Kafka has acknowledged."""
        self.samples: dict[str, list[tuple[float, float]]] = {}
        self._service = service
        self._store = store
        self._publisher = publisher
        self._names = names
        self._ends_at = time.monotonic() + SOAK_S

    async def publish(self) -> None:
        """Events at a steady rate, round the users."""
        start = time.monotonic()
        number = 0
        while time.monotonic() < self._ends_at:
            await asyncio.sleep(max(start + number / PER_SECOND - time.monotonic(), 0))
            user = number % USERS
            self.sent[user] += 1
            event = {"user": user, "number": self.sent[user]}
            self._publisher.send(teacher_notification(self._names.user(user), event))
            number += 1
            if number % PER_SECOND == 0:
                self._count()
        await asyncio.to_thread(self._publisher.flush)
        self._count()

    async def kill(self, chance: random.Random) -> None:
        """One after the other, whoever it is, whether the last one is back or not."""
        for which in range(KILLS):
            await asyncio.sleep(max(self._ends_at - SOAK_S + which * SOAK_S / KILLS - time.monotonic(), 0))
            await asyncio.to_thread(self._kill_one, chance.choice(KINDS), chance)

    async def measure(self) -> None:
        """How large everything is, now and then."""
        while time.monotonic() < self._ends_at:
            with suppress(OSError, HTTPException):  # the gateway was killed
                for name, size in (await asyncio.to_thread(size_of, self._service)).items():
                    self.samples.setdefault(name, []).append((time.monotonic(), size))
            await asyncio.sleep(SAMPLE_S)

    def _count(self) -> None:
        """Instead of keeping a million records."""
        self.kept += len(self._publisher.acknowledged)
        self._publisher.acknowledged.clear()

    def _kill_one(self, kind: str, chance: random.Random) -> None:
        if kind == "feed":
            with redis.Redis.from_url(self._store.url) as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        elif living := self._service.actors(kind):
            with suppress(psutil.NoSuchProcess):
                chance.choice(living).kill()


@pytest.mark.timeout(SOAK_S + 480)
async def test_nothing_is_lost_or_grows_whoever_is_killed(
    serve: ServiceFactory,
    store: ValkeyServer,
    publisher: Publisher,
    names: Names,
    record_figure: FigureRecorder,
) -> None:
    seed = int(os.environ.get("DOORSTEP_SOAK_SEED", str(random.randrange(2**32))))
    record_figure("soak: seed", str(seed))
    service = await asyncio.to_thread(serve, DOORSTEP_HOLDERS="2", DOORSTEP_CONSUMERS="2")
    async with AsyncExitStack() as stack:
        devices = [Judged(service.address, names.user(user), user) for user in range(USERS)]
        await asyncio.gather(*map(stack.enter_async_context, devices))
        soak = Soak(service, store, publisher, names)
        await asyncio.gather(soak.publish(), soak.kill(random.Random(seed)), soak.measure())
        deadline = time.monotonic() + 60
        while any(device.ledger.last < sent for device, sent in zip(devices, soak.sent, strict=True)):
            assert time.monotonic() < deadline, "events are missing"
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)  # a double would come now
        judged = [device.ledger.settle(sent) for device, sent in zip(devices, soak.sent, strict=True)]
        resets = [device.journal.resets for device in devices if device.journal.resets]
        connects = sum(device.journal.connects for device in devices)
    await asyncio.to_thread(service.wait_until_ready)
    assert (publisher.failed, soak.kept) == ([], sum(soak.sent))
    assert sum(judged, Exactness()) == Exactness(sum(soak.sent), sum(soak.sent))
    assert (resets, [device.gaps for device in devices]) == ([], [0] * USERS)
    record_figure("soak: kills, events, connections", f"{KILLS}, {sum(soak.sent):,}, {connects:,}")
    if SOAK_S >= LONG_S:
        for name, samples in soak.samples.items():
            grown = growth(samples[len(samples) // 4 :])
            record_figure(f"soak: growth of {name}", f"{grown:+.1%}")
            assert grown < MOST_GROWTH
