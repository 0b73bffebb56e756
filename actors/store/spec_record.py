"""The spec of a fleet in Redis, and what its supervisor says there: that it lives, how far it has come."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import orjson

from doorstep.actors.placement.spec import OtherFleetError, Spec, agreed
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.connection import connect
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of
from doorstep.config.version import VERSION

_SWAP = Script("swap.lua")
_HEARD_MS = 15_000
_LOOK_S = 0.2

Change = Callable[[Spec | None], Spec]
"""What the record is to hold in place of what it holds. Raises to leave it as it is."""


class Beat(NamedTuple):
    """What a supervisor said last, not more than 15 s ago."""

    fleet: str
    generation: int
    """The last one that was carried out to the end; 0: none yet."""
    nodes: tuple[str, ...] = ()
    """Those that live, by their names."""


class SpecRecord:
    """One record for a given Ray, so that there is one fleet on it; for each Ray of our own another one.

    Every method raises `StoreUnavailable`, and `StoreError` for a value that is not ours.
    """

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._is_shared = settings.ray.address is not None
        name = _name_of(settings)
        self._spec, self._beat = connection.keys.spec(name), connection.keys.supervisor(name)

    async def read(self) -> Spec | None:
        """The spec; None where there is none. Raises `SpecError` too."""
        held = await self._held()
        return Spec.decode(held) if held else None

    async def update(self, change: Change) -> Spec:
        """Compare and set: apply `change` to what is there, again where somebody was faster; what there is
        then. Raises `SpecError` too, and what `change` raises.
        """
        while True:
            held = await self._held()
            found = Spec.decode(held) if held else None
            wanted = change(found)
            if wanted == found or await self._swap(held, wanted.encode()):
                return wanted

    async def agree(self, ours: Spec, *, with_numbers: bool) -> Spec:
        """Have a spec written for a fleet of ours that starts or is gone on with; see `agreed`.

        Raises `OtherFleetError` where another one lives. A Ray of our own ends whatever it was started after.
        """
        heard = await self.heard() if self._is_shared else None
        if heard is not None and heard.fleet != ours.fleet:
            raise OtherFleetError(
                f"a fleet on {heard.fleet} has this Redis and prefix: end it (doorstep down), or use another "
                "prefix (DOORSTEP_REDIS__PREFIX)"
            )
        spec = await self.update(lambda found: agreed(found, ours, with_numbers=with_numbers))
        await self.beat(Beat(spec.fleet, 0))
        return spec

    async def carried_out(self, generation: int) -> None:
        """Returns once the supervisor says that this generation was, or a later one."""
        while True:
            heard = await self.heard()
            if heard is not None and heard.generation >= generation:
                return
            await asyncio.sleep(_LOOK_S)

    async def beat(self, beat: Beat) -> None:
        """Say that the supervisor lives."""
        await self._connection.run_one(command("SET", self._beat, orjson.dumps(list(beat)), "PX", _HEARD_MS))

    async def heard(self) -> Beat | None:
        """What the supervisor said last; None where there is none."""
        said = await self._connection.run_one(command("GET", self._beat))
        if not isinstance(said, bytes):
            return None
        fleet, generation, nodes = orjson.loads(said)
        return Beat(fleet, generation, tuple(nodes))

    async def forget(self) -> None:
        """The fleet is no more."""
        await self._connection.run([command("DEL", self._spec), command("DEL", self._beat)])

    async def _held(self) -> bytes:
        held = await self._connection.run_one(command("GET", self._spec))
        return held if isinstance(held, bytes) else b""

    async def _swap(self, held: bytes, wanted: bytes) -> bool:
        return bool(await self._connection.run_one(_SWAP.call([self._spec], [held, wanted])))


@contextlib.asynccontextmanager
async def open_record(settings: Settings) -> AsyncIterator[SpecRecord]:
    """The record of the fleet of these settings, on a connection of its own. Raises `StoreMisconfigured`."""
    connection = connect(settings.redis)
    try:
        yield SpecRecord(connection, settings)
    finally:
        await connection.close()


def wanted_by(settings: Settings, ray: str) -> Spec:
    """What the settings want of a fleet on the Ray at this place."""
    fleet = f"{ray} ({settings.ray.namespace})"
    return Spec(fleet, settings.holders, settings.consumers, digest_of(settings, VERSION), VERSION)


def _name_of(settings: Settings) -> str:
    """Whoever has the settings of a fleet finds its record; on its own machine, where the Ray is our own."""
    if settings.ray.address is not None:
        return "cluster"
    return f"{socket.gethostname()}:{settings.gateway.port}"
