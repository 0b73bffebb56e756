"""The service as one process sees it: what it says of its start, its end and Ray, and its exit status."""

import asyncio
import os
import sys

import structlog

from doorstep.actors.commands.options import ExitStatus
from doorstep.actors.control.ray_errors import RayLostError
from doorstep.actors.control.service import OtherActorsError, Service, StartError
from doorstep.actors.runtime.logging import Output, configure_logs
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.settings import Settings, nearest_variable, unknown_environment
from doorstep.config.version import VERSION

_DOWN_S = 15.0
"""As long as a Ray may take to begin to listen: `down` ends what is there."""

logger = structlog.get_logger(__name__)


async def serve_until_stopped(settings: Settings, *, replace: bool) -> ExitStatus:
    """Run everything; returns the exit status, see `doorstep serve --help`."""
    _begin(settings, "serve")
    logger.info("starting", version=VERSION)
    try:
        async with Service(settings, replace=replace) as service:
            logger.info("serving", url=service.url)
            await _follow(service)
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


async def bring_up(settings: Settings, *, replace: bool, wait_s: float) -> ExitStatus:
    """Have a fleet serve on a given Ray, and leave it; returns the exit status, see `doorstep up --help`."""
    _begin(settings, "up")
    service = Service(settings, replace=replace, ray_within_s=wait_s)
    try:
        spec = await service.start()
        try:
            await service.wait_until_carried_out(spec, wait_s)
        finally:
            await service.leave()
    except OtherActorsError as error:
        logger.error("other_actors", error=str(error))
        return ExitStatus.BAD_SETUP
    except StartError as error:
        logger.error("not_up", error=str(error))
    except asyncio.CancelledError:
        logger.warning("interrupted")
    else:
        logger.info("up", generation=spec.generation, url=service.url)
        return ExitStatus.STOPPED
    return ExitStatus.NOT_STARTED


async def take_down(settings: Settings) -> ExitStatus:
    """End the actors on a given Ray; returns the exit status, see `doorstep down --help`."""
    _begin(settings, "down")
    try:
        await Service(settings, ray_within_s=_DOWN_S).take_down()
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
    for unknown in unknown_environment(os.environ):  # which may be of other software
        if (near := nearest_variable(unknown)) is not None:
            logger.warning("unknown_setting", name=unknown, did_you_mean=near)


async def _follow(service: Service) -> None:
    """Say what is wrong before the end of everything begins."""
    try:
        await service.watch()
    except RayLostError as error:
        logger.critical("ray_lost", error=str(error))
        raise
