"""`doorstep serve`: the whole service, until it is told to stop."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer

from doorstep.actors.commands.check import problems_of
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.commands.ports import port_faults
from doorstep.actors.runtime.loading import loading
from doorstep.config.settings import Settings


def serve(
    *,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address of the public port.")] = None,
    port: Annotated[int | None, typer.Option(help="Number of the public port.")] = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors of each node.")] = None,
    consumers: Annotated[int | None, typer.Option(help="Consumer actors.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace actors of another version or with other settings.")
    ] = False,
) -> None:
    """Run Doorstep against a Kafka and a Redis or Valkey, until SIGTERM or Ctrl-C.

    The exit status is 0 after a stop, 1 where the actors do not come up, 2 for a wrong configuration, 3 where
    Ray was lost.
    """
    gateway = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings_or_exit(config, gateway=gateway or None, holders=holders, consumers=consumers)
    problems = [*problems_of(settings), *ports_in_use(settings)]
    if problems:
        fail("\n".join(problems))
    with loading():
        from doorstep.actors.commands.serving import serve_until_stopped  # noqa: PLC0415 - Ray takes seconds

    raise typer.Exit(asyncio.run(serve_until_stopped(settings, replace=replace)))


def ports_in_use(settings: Settings) -> Iterator[str]:
    """Which of our ports others have. With a given Ray they may be those of actors that are to be adopted."""
    if settings.ray.address is None:
        yield from (f"{what}: {fault}" for what, fault in port_faults(settings) if fault is not None)
