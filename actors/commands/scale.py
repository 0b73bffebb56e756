"""`doorstep scale`: other numbers of holders and consumers, while the fleet runs."""

import asyncio
from typing import Annotated

import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.commands.spec_change import Wait, change_spec


def scale(
    *,
    config: ConfigFile = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors of each node.")] = None,
    consumers: Annotated[int | None, typer.Option(help="Consumer actors of all nodes together.")] = None,
    wait: Wait = 120,
) -> None:
    """Change how many holders and consumers a running fleet has, and wait until it has them.

    Whoever needs not move stays as it is. The exit status is 0 once it is so, 1 where it is not within --wait
    seconds (it is still wanted then), 2 for what can't be.
    """
    numbers = {"holders": holders, "consumers": consumers}
    wanted = {name: number for name, number in numbers.items() if number is not None}
    if not wanted:
        fail("nothing to change: say --holders N, --consumers N, or both")
    settings = settings_or_exit(config)
    raise typer.Exit(asyncio.run(change_spec(settings, lambda spec, _: spec.changed(**wanted), wait)))
