"""What producers do: events of several streams, registrations early and late, repetitions, and some
nonsense.
"""

import asyncio
import random
from dataclasses import dataclass
from zlib import crc32

from tests.simulation.checker import Mark, Produced
from tests.simulation.kafka import Kept
from tests.simulation.world import TOPICS, World
from tests.support.records import (
    TEACHER_TOPIC,
    Wire,
    batch_registered,
    slot_assigned,
    stable_uuid,
    teacher_notification,
)

_REPEATED_SHARE = 0.06
_NONSENSE_SHARE = 0.02
_CONTRADICTED_SHARE = 0.3
_LATEST_REGISTRATION_S = 4.0


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of one key of one topic; all of a batch where it has one."""

    user: int
    name: str
    is_batch: bool

    def event(self, number: int) -> Wire:
        """The `number`th event."""
        mark = str(Mark(self.user, self.name, number))
        if self.is_batch:
            batch = f"batch-{self.user}-{self.name}"
            wire = slot_assigned(batch, stable_uuid(mark), file_name=mark)
            return wire._replace(key=batch.encode())
        return teacher_notification(f"user-{self.user}", {"mark": mark})

    def registration(self, by: str = "") -> Wire:
        """Whose batch it is; or somebody else says that it is his."""
        return batch_registered(f"batch-{self.user}-{self.name}", by or f"user-{self.user}")


class Traffic:
    """All producers."""

    def __init__(self, world: World, users: int, chance: random.Random) -> None:
        self.produced = Produced()
        self.refused: list[str] = []
        """Where records stand that are to be dead-lettered."""
        self._world = world
        self._chance = chance
        self._streams = [
            Stream(user, name, name != "t")
            for user in range(users)
            for name in ("t", *"ab"[: chance.randint(0, 2)])
        ]
        self._counts = dict.fromkeys(self._streams, 0)

    async def run(self, events: int, length_s: float) -> None:
        """Produce so many events in so many seconds."""
        registering = [
            asyncio.ensure_future(self._register(stream)) for stream in self._streams if stream.is_batch
        ]
        times = sorted(self._chance.uniform(0, length_s) for _ in range(events))
        start = self._world.loop.time()
        for at in times:
            if self._chance.random() < 0.7:  # else it comes together with the one before
                await asyncio.sleep(max(start + at - self._world.loop.time(), 0))
            self._produce()
        await asyncio.gather(*registering)

    async def _register(self, stream: Stream) -> None:
        await asyncio.sleep(self._chance.choice((0.0, self._chance.uniform(0, _LATEST_REGISTRATION_S))))
        self._append(stream.registration())
        if self._chance.random() < _CONTRADICTED_SHARE:
            await asyncio.sleep(self._chance.uniform(0, _LATEST_REGISTRATION_S))
            self.refused.append(self._append(stream.registration(by=f"user-{1 - min(stream.user, 1)}")))

    def _produce(self) -> None:
        stream = self._chance.choice(self._streams)
        self._counts[stream] += 1
        number = self._counts[stream]
        wire = stream.event(number)
        self.produced.at[Mark(stream.user, stream.name, number)] = self._world.loop.time()
        self._append(wire)
        if self._chance.random() < _REPEATED_SHARE:
            self._append(wire)
        if self._chance.random() < _NONSENSE_SHARE:
            self.refused.append(self._append(Wire(TEACHER_TOPIC, b"?", b"{no json")))

    def _append(self, wire: Wire) -> str:
        partition = wire.topic, crc32(wire.key) % TOPICS[wire.topic]
        broker = self._world.kafka.broker
        broker.append(partition, Kept(wire.key, wire.value))
        return f"{partition[0]}/{partition[1]}/{len(broker.logs[partition]) - 1}"
