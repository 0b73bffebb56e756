"""One run: a world, its traffic and its faults, all of one seed; and the judgement of it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from tests.simulation.checker import complaints_of_device, complaints_of_log, resets
from tests.simulation.clients import Browser, Poller, mark_of
from tests.simulation.faults import FAULTS, Faults
from tests.simulation.plan import Plan
from tests.simulation.traffic import Traffic
from tests.simulation.world import DEAD, World

_PATIENCE_S = 90.0
_LOOK_S = 0.5
_AFTERWARDS_S = 2.5
_TOO_LATE = "is shutting down"
"""Said by a membership that is ending already, and is told of partitions: they are the next one's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed."""

    seed: int
    complaints: list[str]
    lines: list[str]
    seconds: float
    calls: int


def run(seed: int) -> Outcome:
    """Run a seed."""
    return run_plan(Plan.of(seed, FAULTS))


def run_plan(plan: Plan) -> Outcome:
    """Run what a seed stands for."""
    world = World(plan)
    world.trace.note("PLAN", str(world.plan))
    with world.in_place():
        complaints = world.loop.run(_Run(world).judge())
        lines = [*world.trace.lines]
        world.close()
    return Outcome(plan.seed, complaints, lines, world.loop.time(), world.loop.calls)


class _Run:
    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._users = len(world.plan.devices)
        self._traffic = Traffic(world, self._users, world.plan.chance("traffic"))
        self._faults = Faults(world, world.plan.chance("faults"))

    async def judge(self) -> list[str]:
        """Everything; returns what was wrong."""
        self._populate()
        producing = asyncio.ensure_future(self._traffic.run(self._plan.events, self._plan.length_s))
        await self._faults.run(self._plan.faults)
        await producing
        await self._settle()
        return [*self._complaints()]

    def _populate(self) -> None:
        world, plan = self._world, self._plan
        for number, holders in enumerate(plan.holders):
            world.add_node(f"node-{number}", holders)
        for number in range(plan.consumers):
            world.start_consumer(f"consumer-{number}", f"node-{number % len(plan.holders)}")
        for user, devices in enumerate(plan.devices):
            for number, kind in enumerate(devices):
                way = Browser if kind == "socket" else Poller
                world.add_device(f"user-{user}", f"device-{user}{number}", way)

    async def _settle(self) -> None:
        """Everything is well again: wait until all has come, and for a while has stayed so."""
        deadline = self._world.loop.time() + _PATIENCE_S
        since = self._world.loop.time()
        while self._world.loop.time() < min(deadline, since + _AFTERWARDS_S):
            await asyncio.sleep(_LOOK_S)
            if any(self._open()):
                since = self._world.loop.time()

    def _open(self) -> Iterator[str]:
        """What may be right yet."""
        yield from self._of_devices()
        for user in range(self._users):
            marks = [mark_of(orjson.loads(payload)["data"]) for payload in self._world.log_of(f"user-{user}")]
            yield from complaints_of_log(user, marks, self._traffic.produced, self._world.loop.time())
        if "freeze consumer" not in [kind for _, kind in self._plan.faults]:
            yield from self._uncommitted()
        yield from self._of_dead_letters()

    def _uncommitted(self) -> Iterator[str]:
        """Partitions whose commits are not at their ends. A consumer that was frozen may set one back when it
        wakes: what is read again by that is a repeat, and the next record's commit is right again."""
        for partition, log in self._world.kafka.broker.logs.items():
            commit = self._world.kafka.broker.commits.get(partition)
            if partition[0] != DEAD and log and (commit is None or commit.offset != len(log)):
                yield f"{partition}: committed {commit} of {len(log)}"

    def _of_devices(self) -> Iterator[str]:
        for device in self._world.devices:
            yield from complaints_of_device(device.journal, self._traffic.produced, self._world.loop.time())

    def _complaints(self) -> Iterator[str]:
        world = self._world
        yield from self._open()
        if not self._faults.loses_writes:
            yield from resets([device.journal for device in world.devices])
        yield from (error for error in world.loop.errors if _TOO_LATE not in error)
        yield from world.trace.alarms

    def _of_dead_letters(self) -> Iterator[str]:
        kept = self._world.kafka.broker.logs[DEAD, 0]
        letters = {dict(letter.headers)["doorstep-source"] for letter in kept}
        sources = {(source or b"").decode() for source in letters}
        if sources != set(self._traffic.refused):
            yield f"dead letters of {sources} instead of {self._traffic.refused}"
