"""A steady stream of events while something happens to the machines, and what came of it."""

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from doorstep.benchmarks.ledger import Exactness, Ledger
from tests.cells.devices import DEVICES, USERS, Balancer, Device
from tests.cells.site import Site
from tests.support.names import Names
from tests.support.owners import Owners, watched_owners
from tests.support.publisher import Publisher
from tests.support.records import TEACHER_TOPIC, teacher_notification

PER_SECOND = 300


@dataclass(frozen=True, slots=True)
class Received:
    """What one device wrote down."""

    user: int
    events: Sequence[tuple[int, int]]
    """Of each notification, whose it was and the number of it among the events of that user, from 1."""
    times: Sequence[float]
    """When it came."""


def exactness(events: Sequence[int], devices: Iterable[Received]) -> Exactness:
    """What the producer was told is kept, `events` of each user, against what each device wrote down."""
    judged = Exactness()
    for device in devices:
        ledger = Ledger(device.user)
        for user, number in device.events:
            ledger.note(user, number)
        judged += ledger.settle(events[device.user])
    return judged


def lateness(sent: Sequence[Sequence[float]], device: Received, since: float, now: float) -> Iterator[float]:
    """Of each notification of its user that was sent since then, how late it came first, in seconds; or is
    now, where it has not come."""
    came: dict[int, float] = {}
    for (user, number), time in zip(device.events, device.times, strict=True):
        if user == device.user:
            came.setdefault(number, time)
    for number, at in enumerate(sent[device.user], start=1):
        if at >= since:
            yield came.get(number, now) - at


def p99(values: Collection[float]) -> float:
    """Of so many, one in a hundred is larger; 0 of none."""
    ordered = sorted(values)
    return ordered[math.ceil(len(ordered) * 0.99) - 1] if ordered else 0.0


class Trial:
    """Devices that are connected, and events that are sent to them."""

    def __init__(self, site: Site, names: Names, devices: Sequence[Device], owners: Owners) -> None:
        self.devices = devices
        self.owners = owners
        self._keys = [names.user(number) for number in range(USERS)]
        self._publisher = Publisher(site.kafka)
        self._sent: list[list[float]] = [[] for _ in range(USERS)]
        self._enough = asyncio.Event()
        self._publishing = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        """At a steady rate, round the users, until there are enough."""
        start = monotonic()
        for number in itertools.count():
            if self._enough.is_set():
                break
            await asyncio.sleep(max(start + number / PER_SECOND - monotonic(), 0))
            user = number % USERS
            times = self._sent[user]
            times.append(monotonic())
            event = {"user": user, "number": len(times)}
            self._publisher.send(teacher_notification(self._keys[user], event))
        await asyncio.to_thread(self._publisher.flush)
        self._publisher.close()

    async def stop(self) -> None:
        """End the stream, and wait until Kafka has all of it."""
        self._enough.set()
        await self._publishing

    @property
    def events(self) -> int:
        """How many were sent."""
        return sum(map(len, self._sent))

    async def check(self) -> None:
        """End the stream: every device has got every event of its user once, in order, without a reset, and
        nobody else's."""
        await self.stop()
        assert self._publisher.failed == []
        kept = Counter(wire.key.decode() for wire in self._publisher.acknowledged)
        events = [kept[key] for key in self._keys]
        for device, user in self._each_device():
            await device.wait_for(events[user])
        assert exactness(events, self.received()) == Exactness(sum(events) * DEVICES, sum(events) * DEVICES)
        assert [device.journal.resets for device in self.devices if device.journal.resets] == []

    def received(self) -> Iterator[Received]:
        """By device, what it wrote down."""
        for device, user in self._each_device():
            data = [each["data"] for each in device.journal.notifications]
            yield Received(user, [(each["user"], each["number"]) for each in data], device.journal.times)

    def lateness(self, since: float, devices: Collection[Device], partitions: Collection[int]) -> list[float]:
        """Of what was sent since then to these devices by way of these partitions, in seconds."""
        now = monotonic()
        return [
            late
            for device, received in zip(self.devices, self.received(), strict=True)
            if device in devices and self.partition_of(received.user) in partitions
            for late in lateness(self._sent, received, since, now)
        ]

    def partition_of(self, user: int) -> int:
        """The partition that has the events of a user."""
        return self._publisher.partitions[self._keys[user].encode()]

    def absences(self, since: float) -> list[float]:
        """How long devices were away that lost their connections since then, in seconds."""
        return [each.seconds for device in self.devices for each in device.absences if each.began >= since]

    def stayed(self, since: float) -> list[Device]:
        """The devices that kept their connections since then."""
        return [device for device in self.devices if not any(each.began >= since for each in device.absences)]

    def _each_device(self) -> Iterator[tuple[Device, int]]:
        for which, device in enumerate(self.devices):
            yield device, which % USERS


@contextlib.asynccontextmanager
async def trial(site: Site, names: Names) -> AsyncIterator[Trial]:
    """All devices connected, and events on their way to them, as long as the block runs."""
    balancer = Balancer(site.machines)
    probing = asyncio.create_task(balancer.probe())
    devices = [Device(balancer, names.user(which % USERS), site.clients) for which in range(USERS * DEVICES)]
    try:
        async with contextlib.AsyncExitStack() as stack:
            await asyncio.gather(*map(stack.enter_async_context, devices))
            watched = await stack.enter_async_context(watched_owners(site.kafka, site.group, TEACHER_TOPIC))
            running = Trial(site, names, devices, watched)
            try:
                for device in devices:
                    await device.wait_for(1)
                yield running
            finally:
                await running.stop()
    finally:
        probing.cancel()
