"""`doorstep up`: a fleet on a given Ray, as it is wanted; the command does not stay with it."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from doorstep.actors.commands.check import problems_of
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.commands.spec_change import Wait
from doorstep.actors.placement.spec import SpecError, differences
from doorstep.actors.runtime.loading import loading
from doorstep.actors.store.redis.errors import StoreError
from doorstep.actors.store.spec_record import open_record, wanted_by
from doorstep.config.settings import Settings


def up(
    *,
    config: ConfigFile = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors of each node.")] = None,
    consumers: Annotated[int | None, typer.Option(help="Consumer actors of all nodes together.")] = None,
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Change what is in force; the actors of others are replaced."),
    ] = False,
    wait: Wait = 120,
) -> None:
    """Bring Doorstep up on the Ray at DOORSTEP_RAY__ADDRESS, wait until it serves, and leave it.

    What is in force already and differs is shown, and changed only with --apply. The exit status is 0 once
    all is as it is wanted, 1 where it is not within --wait seconds, 2 for a wrong configuration or a
    difference.
    """
    settings = settings_or_exit(config, holders=holders, consumers=consumers)
    if settings.ray.address is None:
        fail("DOORSTEP_RAY__ADDRESS is not set: a Ray of its own ends with its `doorstep serve`")
    if problems := problems_of(settings):
        fail("\n".join(problems))
    differing = asyncio.run(_differences(settings, settings.ray.address))
    if differing and not apply:
        fail("\n".join([*differing, "this is in force, and is changed with --apply"]))
    with loading():
        from doorstep.actors.commands.serving import bring_up  # noqa: PLC0415 - Ray takes seconds

    raise typer.Exit(asyncio.run(bring_up(settings, replace=apply, wait_s=wait)))


async def _differences(settings: Settings, address: str) -> Sequence[str]:
    """What is in force and not as it is wanted; ends the command where that can't be known."""
    wanted = wanted_by(settings, address)
    try:
        async with open_record(settings) as record:
            found = await record.read()
    except (SpecError, StoreError) as error:
        fail(str(error))
    return list(differences(found, wanted)) if found and found.fleet == wanted.fleet else []
