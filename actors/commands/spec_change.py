"""A change of what is wanted of a running fleet: written, told, and waited for. No Ray is needed."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from doorstep.actors.commands.options import ExitStatus, fail
from doorstep.actors.control.fleet_status import spec_line, spec_told
from doorstep.actors.placement.spec import Spec, SpecError
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.spec_record import Beat, SpecRecord, open_record
from doorstep.config.settings import Settings

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for it.")]


SpecChange = Callable[[Spec, Beat | None], Spec]
"""What is to be wanted instead, by what the supervisor said last. Raises `SpecError` for what can't be."""


async def change_spec(settings: Settings, change: SpecChange, wait_s: float) -> ExitStatus:
    """Returns the exit status; ends with 2 for what can't be."""
    try:
        async with open_record(settings) as record:
            heard = await record.heard()

            def changed(found: Spec | None) -> Spec:
                if found is None:
                    raise SpecError(f"no fleet has this Redis and the prefix {settings.redis.prefix!r}")
                return change(found, heard)

            spec = await record.update(changed)
            typer.echo(spec_line(spec_told(spec)))
            return await _wait_for(record, spec, wait_s)
    except (SpecError, StoreError) as error:
        fail(str(error))


async def _wait_for(record: SpecRecord, spec: Spec, wait_s: float) -> ExitStatus:
    """Wait until a spec is carried out, and say whether it is."""
    try:
        async with asyncio.timeout(wait_s):
            await record.carried_out(spec.generation)
    except TimeoutError:
        heard = await record.heard()
        why = "see `doorstep status`" if heard else "no supervisor has been heard of for 15 s"
        typer.echo(f"not carried out within {wait_s:g} s: {why}", err=True)
        return ExitStatus.NOT_STARTED
    typer.echo("carried out")
    return ExitStatus.STOPPED
