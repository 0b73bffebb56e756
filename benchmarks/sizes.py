"""What docs/capacity.md counts with: memory in Redis, and what a notification costs cells it is not for."""

import asyncio
import hashlib
import itertools
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from pydantic import SecretStr

from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.cell import Cell
from doorstep.actors.placement.homes import slots_at
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.runtime.logging import configure_logs
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Entry
from doorstep.benchmarks.redis_server import RedisServer, start_redis
from doorstep.config.settings import AuthSettings, RedisSettings, Settings

PAYLOAD = b'{"event":"%s"}' % (b"x" * 428)
"""As long as the notification of the scenarios: 440 bytes."""
_AT_ONCE = 64
_STEADY, _TOGETHER = 1000, 3
"""Notifications a second, and how many of them in one append: as consumers do it at that rate."""
_READY_S = 30.0


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    users: int = 1000
    depths: Sequence[int] = (1, 10, 100)
    """Notifications in each user's log."""
    batches: int = 20_000
    cells: Sequence[int] = (0, 1, 2, 4, 8)
    """How many of them listen to all feeds, with nobody connected."""
    homes: Sequence[int] = (2, 4, 8)
    """How many of them listen to the feeds of their homes only, likewise."""
    notifications: int = 20_000
    """At full speed; a quarter of that at a steady rate."""
    rest_s: float = 3.0
    """How long cells are looked at while nothing happens."""


def measure(sizes: Sizes) -> Iterator[str]:
    """One figure a line, as they come, each on an empty Valkey of its own."""
    for depth in sizes.depths:
        with _settings() as (settings, redis):
            size = asyncio.run(_log_bytes(settings, redis, sizes.users, depth))
        yield f"a user's log of {depth:,}: {size:,.0f} bytes in Redis"
    with _settings() as (settings, redis):
        size = asyncio.run(_context_bytes(settings, redis, sizes.batches))
    yield f"the user of a batch: {size:,.0f} bytes in Redis"
    for cells in sizes.cells:
        with _settings() as (settings, redis):
            cost = _foreign(settings, redis, [None] * cells, sizes)
        yield f"a notification that {cells} cells hear and nobody gets: {cost}"
    for cells in sizes.homes:
        names = [f"cell-{number}" for number in range(cells)]
        with _settings() as (settings, redis):
            cost = _foreign(settings, redis, [slots_at(name, names) for name in names], sizes)
        yield f"a notification that one of {cells} cells hears, its home, and nobody gets: {cost}"
        yield f"the fullest of {cells} homes: {_fullest(cells):.2f} times the mean"


@contextmanager
def _settings() -> Iterator[tuple[Settings, RedisServer]]:
    with tempfile.TemporaryDirectory() as directory:
        redis = start_redis(Path(directory))
        try:
            auth = AuthSettings(hs256_secret=SecretStr("a secret that nobody ever signs with"))
            yield Settings(redis=RedisSettings(url=SecretStr(redis.url)), auth=auth), redis
        finally:
            redis.close()


def _entries(users: int, depth: int, at_once: int = _AT_ONCE) -> Iterator[list[Entry]]:
    """`depth` notifications for each user, round the users, some at once."""
    entries: list[Entry] = []
    for number in range(users * depth):
        key = hashlib.sha256(str(number).encode()).digest()[:8]
        entries.append((f"0196c6a4-7c1e-7b5a-9d3f-{number % users:012x}", key, PAYLOAD))
        if len(entries) == at_once:
            yield entries
            entries = []
    if entries:
        yield entries


async def _log_bytes(settings: Settings, redis: RedisServer, users: int, depth: int) -> float:
    connection = connect(settings.redis)
    await Stamp(connection).ensure()
    log = Log(connection, settings.history)
    # The first one pays for what a server keeps of scripts and links.
    await log.append([("somebody else", b"the first", PAYLOAD)])
    before = redis.read().memory_bytes
    for entries in _entries(users, depth):
        await log.append(entries)
    after = redis.read().memory_bytes
    await connection.close()
    return (after - before) / users


async def _context_bytes(settings: Settings, redis: RedisServer, batches: int) -> float:
    connection = connect(settings.redis)
    contexts = Contexts(connection, settings.context)
    before = redis.read().memory_bytes
    for first in range(0, batches, _AT_ONCE):
        ids = [f"0196c6a4-7c1e-7b5a-9d3f-{number:012x}" for number in range(first, first + _AT_ONCE)]
        await asyncio.gather(*(contexts.register(id_, f"user-{id_}") for id_ in ids))
    after = redis.read().memory_bytes
    await connection.close()
    return (after - before) / batches


def _fullest(cells: int) -> float:
    """How many times as many slots it has as the mean, as a mean over different names."""
    sets = [[f"{number}-{cell}" for cell in range(cells)] for number in range(30)]
    return sum(max(len(slots_at(name, names)) for name in names) for names in sets) / 30 / (SLOTS / cells)


def _foreign(
    settings: Settings, redis: RedisServer, cells: Sequence[frozenset[int] | None], sizes: Sizes
) -> str:
    """CPU of a notification, at full speed and at the steady rate, with cells that are the homes of these
    slots; None: of all."""
    with ExitStack() as running:
        pipes = [running.enter_context(_cell(settings, slots)) for slots in cells]
        meter = _Meter(settings, redis, pipes, sizes.rest_s)
        users = sizes.notifications // 10
        fast = meter.cost(_entries(users, 10), 0.0)
        few = itertools.islice(_entries(users, 10, _TOGETHER), sizes.notifications // 4 // _TOGETHER)
        return f"{fast}; at {_STEADY:,}/s {meter.cost(few, _TOGETHER / _STEADY)}"


class _Meter:
    """What Redis and cells use for notifications, beyond what they use at rest."""

    def __init__(self, settings: Settings, redis: RedisServer, cells: Sequence[Pipe], rest_s: float) -> None:
        """Looks for a while at what they use at rest."""
        self._settings = settings
        self._redis = redis
        self._cells = cells
        before = self._used()
        time.sleep(rest_s)
        self._at_rest = [
            (later - sooner) / rest_s for later, sooner in zip(self._used(), before, strict=True)
        ]

    def cost(self, appends: Iterable[Sequence[Entry]], pause_s: float) -> str:
        """Of each notification, with a pause after each append."""
        before = self._used()
        began = time.monotonic()
        number = asyncio.run(_append_to_strangers(self._settings, appends, pause_s))
        seconds = time.monotonic() - began
        used = zip(self._used(), before, self._at_rest, strict=True)
        redis, *cells = [(later - sooner - seconds * rest) / number * 1e6 for later, sooner, rest in used]
        return f"Redis {redis:.1f}" + (f", each cell {sum(cells) / len(cells):.1f}" if cells else "") + " us"

    def _used(self) -> list[float]:
        """CPU seconds of Redis, and of each cell."""
        for pipe in self._cells:
            pipe.send("how much?")
        return [self._redis.read().cpu_s, *(pipe.recv() for pipe in self._cells)]


async def _append_to_strangers(settings: Settings, appends: Iterable[Sequence[Entry]], pause_s: float) -> int:
    """How many there were."""
    connection = connect(settings.redis)
    await Stamp(connection).ensure()
    # Under keys of their own, so that none is a repeat.
    key = itertools.count(secrets.randbits(60))
    log, number = Log(connection, settings.history), 0
    for entries in appends:
        new = [(user, next(key).to_bytes(8), payload) for user, _, payload in entries]
        number += await log.append(new)
        await asyncio.sleep(pause_s)
    await connection.close()
    return number


@contextmanager
def _cell(settings: Settings, slots: frozenset[int] | None) -> Iterator[Pipe]:
    """A holder, in a process, that is the home of these slots; None: of all.

    Its pipe answers with its CPU once it has heard what there was.
    """
    here, there = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        process = context.Process(target=_hold, args=(settings, directory, there, slots), daemon=True)
        process.start()
        try:
            assert here.poll(_READY_S)
            here.recv()
            yield here
        finally:
            process.kill()
            process.join()


def _hold(settings: Settings, directory: str, pipe: Pipe, slots: frozenset[int] | None) -> None:
    configure_logs(settings.model_copy(update={"log_level": "warning"}), "holder-0")
    asyncio.run(_hold_until_killed(settings, directory, pipe, slots))


async def _hold_until_killed(
    settings: Settings, directory: str, pipe: Pipe, slots: frozenset[int] | None
) -> None:
    holder = Holder("holder-0", settings, Cell.of("", 1), RunDirectory(Path(directory)))
    if slots is not None:
        holder.be_home_of(slots)
    await asyncio.sleep(1)  # what a start costs
    pipe.send((await holder.status()).state)
    while True:
        await asyncio.to_thread(pipe.recv)
        await asyncio.sleep(0.5)  # what is still on its way
        pipe.send(time.process_time())
