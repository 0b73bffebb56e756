"""`doorstep serve`: the whole service, until it is told to stop."""

import asyncio
import sys
from typing import Annotated

import structlog
import typer

from doorstep.actors.commands.check import problems_of
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.control.cluster import Cluster, OtherActorsError, StartError
from doorstep.actors.control.ray_errors import RayLostError
from doorstep.actors.runtime.logging import Output, configure_logs
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.settings import Settings
from doorstep.config.version import VERSION

_NOT_STARTED, _BAD_SETUP, _RAY_LOST = 1, 2, 3

logger = structlog.get_logger(__name__)


def serve(
    *,
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address of the public port.")] = None,
    port: Annotated[int | None, typer.Option(help="Number of the public port.")] = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors.")] = None,
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
    problems = problems_of(settings)
    if problems:
        fail("\n".join(problems))
    raise typer.Exit(asyncio.run(_serve(settings, replace=replace)))


async def _serve(settings: Settings, *, replace: bool) -> int:
    end_on_signals()
    configure_logs(settings, "serve")
    sys.stdout = Output("stdout")  # Ray's messages for people
    logger.info("starting", version=VERSION)
    try:
        async with Cluster(settings, replace=replace) as cluster:
            logger.info("serving", url=cluster.url)
            await _follow(cluster)
    except OtherActorsError as error:
        logger.error("other_actors", error=str(error))
        return _BAD_SETUP
    except StartError as error:
        logger.error("not_started", error=str(error))
        return _NOT_STARTED
    except RayLostError:
        return _RAY_LOST
    except asyncio.CancelledError:
        logger.info("stopped")
    return 0


async def _follow(cluster: Cluster) -> None:
    """Say what is wrong before the end of everything begins."""
    try:
        await cluster.watch()
    except RayLostError as error:
        logger.critical("ray_lost", error=str(error))
        raise
