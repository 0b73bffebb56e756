"""The supervisor: keeps the wanted actors alive. It decides nothing about events."""

import asyncio
from typing import Any

import ray
import structlog
from ray.util import list_named_actors

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.control.actor_calls import Unreachable, ask, ask_all
from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Start, Topology, plan
from doorstep.actors.runtime.logging import configure_logs
from doorstep.actors.runtime.main_task import MainTask
from doorstep.config.settings import Settings

_RECONCILE_S = 10.0
_STOP_S = 3.5
_CALLS_AT_ONCE = 1000

logger = structlog.get_logger(__name__)


def create(name: str, settings: Settings, topology: Topology) -> None:
    """Create the named actor, unless it is there. It outlives its creator; Ray restarts it when it dies."""
    actor: Any
    arguments: tuple[object, ...]
    if name == SUPERVISOR:
        actor, arguments = Supervisor, (settings, topology)
    elif name == GATEWAY:
        actor, arguments = Gateway, (settings, topology)
    elif name in topology.holders:
        actor, arguments = Holder, (name, settings, topology)
    else:
        actor, arguments = Consumer, (name, settings)
    ray.remote(actor).options(
        name=name,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=_CALLS_AT_ONCE,
    ).remote(*arguments)


class Supervisor:
    """Compares the wanted actors with those there are, and starts or stops what differs.

    Every ten seconds is soon enough: Ray restarts an actor that dies, at once. This is for what Ray takes as
    wanted: an actor that was never created, or that somebody has removed or added by hand.
    """

    def __init__(self, settings: Settings, topology: Topology) -> None:
        """Begin at once; call within a running event loop."""
        configure_logs(settings, SUPERVISOR)
        self._settings = settings
        self._topology = topology
        self._main_task = MainTask(self._reconcile_forever())

    async def stop(self) -> None:
        """Let the consumers finish first, then the sockets, then the port. 3.7 s at most."""
        await self._main_task.stop()
        deadline = asyncio.get_running_loop().time() + _STOP_S
        for names in (self._topology.consumers, self._topology.holders, (GATEWAY,)):
            left = max(deadline - asyncio.get_running_loop().time(), 0.1)
            for answer in await ask_all(names, "stop", left):
                if isinstance(answer, Unreachable):
                    logger.warning("actor did not stop by itself", name=answer.name, reason=answer.reason)

    async def _reconcile_forever(self) -> None:
        while True:
            try:
                await self._reconcile()
            except Exception:
                logger.exception("could not reconcile the actors; trying again")
            await asyncio.sleep(_RECONCILE_S)

    async def _reconcile(self) -> None:
        observed = await asyncio.to_thread(list_named_actors)
        for action in plan(self._topology.actors, set(observed) - {SUPERVISOR}):
            logger.info("actors differ from what is wanted", action=type(action).__name__, name=action.name)
            if isinstance(action, Start):
                await asyncio.to_thread(create, action.name, self._settings, self._topology)
            else:
                await ask(action.name, "stop", _STOP_S)
                ray.kill(ray.get_actor(action.name))
