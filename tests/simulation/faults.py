"""What may go wrong, and how it ends again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.slots import SLOTS
from tests.simulation.clients import Device
from tests.simulation.world import Actor, World

_STOP_S = 5.0


class Faults:
    """The faults of one run."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.loses_writes = False
        """Whether Redis has lost what it had acknowledged: then devices may be told to start over."""

    async def run(self, schedule: Sequence[tuple[float, str]]) -> None:
        """Let these happen at their times; returns when all is over."""
        await asyncio.gather(*(self._happen(at, kind) for at, kind in schedule))

    async def _happen(self, at: float, kind: str) -> None:
        await asyncio.sleep(at)
        self.note(kind)
        await FAULTS[kind](self)

    def note(self, what: str) -> None:
        """For the trace."""
        self.world.trace.note("FAULT", what)

    def one_of(self, kind: type[Consumer | Holder]) -> Actor | None:
        """An actor that lives."""
        living = [
            actor
            for _, actor in sorted(self.world.actors.items())
            if isinstance(actor.body, kind) and actor.process.is_alive and not actor.process.is_frozen
        ]
        return self.chance.choice(living) if living else None

    def a_node(self) -> str:
        """A node that is there."""
        return self.chance.choice(sorted(self.world.cells.cells))

    def a_while(self) -> float:
        """Seconds; mostly few."""
        return self.chance.choice(
            (self.chance.uniform(0, 0.5), self.chance.uniform(0, 3), self.chance.uniform(0, 12))
        )

    async def kill(self, kind: type[Consumer | Holder]) -> None:
        """SIGKILL, and a restart."""
        actor = self.one_of(kind)
        if actor is not None:
            self.note(f"kill {actor.name}")
            actor.process.kill()
            await self.replace(actor)

    async def replace(self, actor: Actor) -> None:
        """Start a successor after a while, if it has a node and nobody else has started one."""
        await asyncio.sleep(self.a_while())
        if actor.node in self.world.cells.cells and self.world.actors.get(actor.name) is actor:
            self.world.start(actor)
            self.note(f"started {actor.name}")

    async def freeze(self, kind: type[Consumer | Holder]) -> None:
        """SIGSTOP, and SIGCONT."""
        actor = self.one_of(kind)
        if actor is not None:
            self.note(f"freeze {actor.name}")
            actor.process.freeze()
            await asyncio.sleep(self.a_while())
            actor.process.thaw()
            self.note(f"thawed {actor.name}")

    async def stop(self, kind: type[Consumer | Holder]) -> None:
        """SIGTERM, and a new one."""
        actor = self.one_of(kind)
        if actor is not None:
            self.note(f"stop {actor.name}")
            stopping = actor.process.call(self.world.loop.create_task, actor.body.stop(_STOP_S))
            await asyncio.wait([stopping], timeout=2 * _STOP_S)
            if not stopping.done():
                self.note(f"{actor.name} did not stop")
            actor.process.kill()
            await self.replace(actor)

    async def part(self, one: str, *others: str) -> None:
        """One host does not hear others."""
        self.note(f"part {one} from {' '.join(others)}")
        for other in others:
            self.world.network.part(one, other)
        await asyncio.sleep(self.a_while())
        for other in others:
            self.world.network.heal(one, other)
        self.note(f"healed {one}")

    def a_device(self) -> Device:
        """One of the devices."""
        return self.chance.choice(self.world.devices)


async def _kill_consumer(faults: Faults) -> None:
    await faults.kill(Consumer)


async def _kill_holder(faults: Faults) -> None:
    await faults.kill(Holder)


async def _freeze_consumer(faults: Faults) -> None:
    await faults.freeze(Consumer)


async def _freeze_holder(faults: Faults) -> None:
    await faults.freeze(Holder)


async def _stop_consumer(faults: Faults) -> None:
    await faults.stop(Consumer)


async def _stop_holder(faults: Faults) -> None:
    await faults.stop(Holder)


async def _part_redis(faults: Faults) -> None:
    await faults.part(faults.a_node(), "redis")


async def _part_kafka(faults: Faults) -> None:
    await faults.part(faults.a_node(), "kafka")


async def _part_node(faults: Faults) -> None:
    devices = [device.process.host for device in faults.world.devices]
    await faults.part(faults.a_node(), "redis", "kafka", *devices)


async def _part_device(faults: Faults) -> None:
    await faults.part(faults.a_node(), faults.a_device().process.host)


async def _cut_redis(faults: Faults) -> None:
    faults.world.network.cut(faults.a_node(), "redis")


async def _cut_device(faults: Faults) -> None:
    faults.world.network.cut(faults.a_node(), faults.a_device().process.host)


async def _cut_feeds(faults: Faults) -> None:
    faults.world.redis.cut_subscribers()


async def _restart_redis(faults: Faults) -> None:
    faults.world.redis.stop(loses=False)
    await asyncio.sleep(faults.a_while())
    faults.world.redis.start()


async def _lose_writes(faults: Faults) -> None:
    faults.loses_writes = True
    faults.world.redis.keep()
    await asyncio.sleep(faults.chance.uniform(0, 2))
    faults.note("Redis restarts with what it had")
    faults.world.redis.stop(loses=True)
    await asyncio.sleep(faults.a_while())
    faults.world.redis.start()


async def _flush_redis(faults: Faults) -> None:
    faults.loses_writes = True
    faults.world.redis.data.run(b"FLUSHALL")


async def _refuse_writes(faults: Faults) -> None:
    faults.world.redis.refuses = faults.chance.choice(
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
        )
    )
    await asyncio.sleep(faults.a_while())
    faults.world.redis.refuses = ""


async def _lose_answers(faults: Faults) -> None:
    faults.world.kafka.broker.loses_answers = True
    await asyncio.sleep(faults.a_while())
    faults.world.kafka.broker.loses_answers = False


async def _freeze_device(faults: Faults) -> None:
    device = faults.a_device()
    if not device.process.is_frozen:
        device.process.freeze()
        await asyncio.sleep(faults.a_while())
        device.process.thaw()


async def _mark_read(faults: Faults) -> None:
    faults.a_device().mark_read()


async def _add_node(faults: Faults) -> None:
    faults.world.add_node(f"node-{faults.world.loop.count()}", faults.chance.randint(1, 2))


async def _lose_node(faults: Faults) -> None:
    """A node dies with all its actors; consumers come back elsewhere."""
    nodes = sorted(faults.world.cells.cells)
    if len(nodes) < 2:
        return
    node = faults.chance.choice(nodes)
    faults.note(f"{node} dies")
    lost = faults.world.lose_node(node)
    await asyncio.sleep(faults.a_while())
    for name in lost:
        faults.world.start_consumer(name, faults.a_node())
        faults.note(f"started {name}")


async def _move_homes(faults: Faults) -> None:
    """A cell takes itself for the home of other slots, whatever anybody else thinks."""
    node = faults.a_node()
    slots = frozenset(faults.chance.sample(range(SLOTS), faults.chance.randint(0, SLOTS)))
    for _, actor in sorted(faults.world.actors.items()):
        if actor.node == node and isinstance(actor.body, Holder) and actor.process.is_alive:
            actor.process.call(actor.body.be_home_of, slots)


async def _add_consumer(faults: Faults) -> None:
    faults.world.start_consumer(f"consumer-{faults.world.loop.count()}", faults.a_node())


FAULTS: dict[str, Callable[[Faults], Awaitable[None]]] = {
    "kill consumer": _kill_consumer,
    "kill holder": _kill_holder,
    "freeze consumer": _freeze_consumer,
    "freeze holder": _freeze_holder,
    "stop consumer": _stop_consumer,
    "stop holder": _stop_holder,
    "part redis": _part_redis,
    "part kafka": _part_kafka,
    "part device": _part_device,
    "cut redis": _cut_redis,
    "cut device": _cut_device,
    "cut feeds": _cut_feeds,
    "restart redis": _restart_redis,
    "lose writes": _lose_writes,
    "flush redis": _flush_redis,
    "refuse writes": _refuse_writes,
    "lose answers": _lose_answers,
    "add consumer": _add_consumer,
    "part node": _part_node,
    "freeze device": _freeze_device,
    "mark read": _mark_read,
    "add node": _add_node,
    "lose node": _lose_node,
    "move homes": _move_homes,
}
"""By the name that a trace has."""
