"""`doorstep down`: the end of the actors on a given Ray."""

import asyncio

import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.runtime.loading import loading


def down(*, config: ConfigFile = None) -> None:
    """Stop Doorstep on the Ray cluster at DOORSTEP_RAY__ADDRESS, in order, whoever has started it.

    The exit status is 0 once nothing is left, 1 where that could not be done, 2 for a wrong configuration.
    """
    settings = settings_or_exit(config)
    if settings.ray.address is None:
        fail("DOORSTEP_RAY__ADDRESS is not set: a Ray of its own ends with its `doorstep serve`")
    with loading():
        from doorstep.actors.commands.serving import take_down  # noqa: PLC0415 - Ray takes seconds

    raise typer.Exit(asyncio.run(take_down(settings)))
