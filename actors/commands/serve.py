"""`doorstep serve`: the whole service, until it is told to stop."""

import asyncio
from typing import Annotated

import typer

from doorstep.actors.commands.check import problems_of
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.control.cluster import Cluster, StartError
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.settings import Settings


def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address of the public port.")] = None,
    port: Annotated[int | None, typer.Option(help="Number of the public port.")] = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors.")] = None,
    consumers: Annotated[int | None, typer.Option(help="Consumer actors.")] = None,
) -> None:
    """Run Doorstep against a Kafka and a Redis or Valkey, until SIGTERM or Ctrl-C."""
    gateway = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings_or_exit(config, gateway=gateway or None, holders=holders, consumers=consumers)
    problems = problems_of(settings)
    if problems:
        fail("\n".join(problems))
    raise typer.Exit(asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    end_on_signals()
    typer.echo("starting Ray and the actors ...", err=True)
    try:
        async with Cluster(settings) as cluster:
            typer.echo(f"Doorstep is at {cluster.url}", err=True)
            await asyncio.Event().wait()
    except StartError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        return 1
    except asyncio.CancelledError:
        typer.echo("stopped", err=True)
    return 0
