"""The spec in force, as a process knows it: what Redis has; while that is away or flushed, what it had."""

import asyncio
import os
from collections.abc import Callable

import structlog

from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import OtherFleetError, Spec, SpecError, restored
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.spec_record import Beat, SpecRecord
from doorstep.config.settings import Settings

_LOOK_S = 1.0

logger = structlog.get_logger(__name__)


def write_spec(run: RunDirectory, spec: Spec) -> None:
    """Leave it for the actors of this node that start. Raises `OSError`."""
    new = run.spec_file.with_name(f"{run.spec_file.name}.{os.getpid()}")
    new.write_bytes(spec.encode())
    new.replace(run.spec_file)


class SpecWatch:
    """Knows from the start what somebody on this node knew last, and looks every second."""

    def __init__(self, settings: Settings, run: RunDirectory, on_change: Callable[[Spec], None]) -> None:
        """Raises `OSError` and `SpecError` where nobody has left a spec."""
        self.spec = Spec.decode(run.spec_file.read_bytes())
        self._run = run
        self._on_change = on_change
        self._connection = connect(settings.redis)
        self.record = SpecRecord(self._connection, settings)

    async def run(self) -> None:
        """Look until cancelled. Redis may be away, or have lost the spec: it stays as it is known then."""
        try:
            while True:
                try:
                    self._take(await self.look())
                except (StoreError, SpecError) as error:
                    logger.warning("spec_not_read", reason=str(error))
                await asyncio.sleep(_LOOK_S)
        finally:
            await self._connection.close()

    async def look(self) -> Spec | None:
        """What Redis has."""
        return await self.record.read()

    def _take(self, found: Spec | None) -> None:
        """A newer generation of our fleet's spec is in force from now on. One of another edition concerns
        other actors: what we were goes on until we are stopped."""
        if found is None or (found.fleet, found.edition) != (self.spec.fleet, self.spec.edition):
            return
        if found.generation <= self.spec.generation:
            return
        logger.info(
            "spec_changed", generation=found.generation, holders=found.holders, consumers=found.consumers
        )
        self.spec = found
        write_spec(self._run, found)
        self._on_change(found)


class SpecKeeper(SpecWatch):
    """The supervisor's: writes again what Redis has lost, and says that it lives, and how far it has come."""

    def __init__(self, settings: Settings, run: RunDirectory, tell: Callable[[str], Beat]) -> None:
        """`tell` has what the supervisor says of the fleet of this name."""
        super().__init__(settings, run, lambda _: None)
        self._tell = tell

    async def look(self) -> Spec | None:
        """What Redis has from now on. Raises `OtherFleetError` too while another fleet has the record."""
        heard = await self.record.heard()
        if heard is not None and heard.fleet != self.spec.fleet:
            raise OtherFleetError(f"the record is that of another fleet: {heard.fleet}")
        await self.record.beat(self._tell(self.spec.fleet))
        return await self.record.update(lambda found: restored(found, self.spec))
