"""The service as one process sees it: what it says of its start, its end and Ray, and its exit status."""

import asyncio
import sys

import structlog

from doorstep.actors.commands.options import ExitStatus
from doorstep.actors.control.cluster import Cluster, OtherActorsError, StartError
from doorstep.actors.control.ray_errors import RayLostError
from doorstep.actors.runtime.logging import Output, configure_logs
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.settings import Settings
from doorstep.config.version import VERSION

logger = structlog.get_logger(__name__)


async def serve_until_stopped(settings: Settings, *, replace: bool) -> ExitStatus:
    """Run everything; returns the exit status, see `doorstep serve --help`."""
    _begin(settings, "serve")
    logger.info("starting", version=VERSION)
    try:
        async with Cluster(settings, replace=replace) as cluster:
            logger.info("serving", url=cluster.url)
            await _follow(cluster)
    except OtherActorsError as error:
        logger.error("other_actors", error=str(error))
        return ExitStatus.BAD_SETUP
    except StartError as error:
        logger.error("not_started", error=str(error))
        return ExitStatus.NOT_STARTED
    except RayLostError:
        return ExitStatus.RAY_LOST
    except asyncio.CancelledError:
        logger.info("stopped")
    return ExitStatus.STOPPED


async def take_down(settings: Settings) -> ExitStatus:
    """End the actors on a given Ray; returns the exit status, see `doorstep down --help`."""
    _begin(settings, "down")
    try:
        await Cluster(settings).take_down()
    except StartError as error:
        logger.error("not_joined", error=str(error))
    except TimeoutError:
        logger.error("not_stopped", error="actors are left that do not end")
    except asyncio.CancelledError:
        logger.warning("interrupted")
    else:
        logger.info("stopped")
        return ExitStatus.STOPPED
    return ExitStatus.NOT_STARTED


def _begin(settings: Settings, name: str) -> None:
    end_on_signals()
    configure_logs(settings, name)
    sys.stdout = Output("stdout")  # Ray's messages for people


async def _follow(cluster: Cluster) -> None:
    """Say what is wrong before the end of everything begins."""
    try:
        await cluster.watch()
    except RayLostError as error:
        logger.critical("ray_lost", error=str(error))
        raise
