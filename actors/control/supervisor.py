"""The supervisor: keeps the wanted actors alive. It decides nothing about events."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray
import structlog
from prometheus_client import Metric
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.report import Unreachable
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Start, Topology, plan
from doorstep.actors.runtime.main_task import MainTask

_RECONCILE_S = 10.0
_STOP_S = 3.5

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorStatus:
    """What a supervisor says of itself."""

    name: str
    state: str
    topology: Topology
    """The actors that it keeps alive."""


class Supervisor:
    """Compares the wanted actors with those there are, and starts or stops what differs.

    Every ten seconds is soon enough: Ray restarts an actor that dies, at once. This is for what Ray takes as
    wanted: an actor that was never created, or that somebody has removed or added by hand.
    """

    def __init__(self, topology: Topology, create: Callable[[str, Topology], None]) -> None:
        """Begin at once; call within a running event loop."""
        self._topology = topology
        self._create = create
        self._calls = ActorCalls()
        self._state = "serving"
        self._main_task = MainTask(self._reconcile_forever())

    async def status(self) -> SupervisorStatus:
        """How it is."""
        return SupervisorStatus(SUPERVISOR, self._state, self._topology)

    async def metrics(self) -> Sequence[Metric]:
        """It counts nothing."""
        return []

    async def stop(self) -> None:
        """Let the consumers finish first, then the sockets, then the port. 3.7 s at most."""
        self._state = "stopping"
        await self._main_task.stop()
        deadline = asyncio.get_running_loop().time() + _STOP_S
        for names in (self._topology.consumers, self._topology.holders, (GATEWAY,)):
            left = max(deadline - asyncio.get_running_loop().time(), 0.1)
            for answer in await self._calls.ask_all(names, "stop", left, timeout_s=left):
                if isinstance(answer, Unreachable):
                    logger.warning("actor_did_not_stop", name=answer.name, reason=answer.reason)

    async def _reconcile_forever(self) -> None:
        while True:
            try:
                await self._reconcile()
            except Exception:
                logger.exception("not_reconciled")
            await asyncio.sleep(_RECONCILE_S)

    async def _reconcile(self) -> None:
        observed = await asyncio.to_thread(list_named_actors)
        for action in plan(self._topology.actors, set(observed) - {SUPERVISOR}):
            logger.info("actors_differ", action=type(action).__name__.lower(), name=action.name)
            if isinstance(action, Start):
                await asyncio.to_thread(self._create, action.name, self._topology)
            else:
                await self._calls.ask(action.name, "stop", _STOP_S, timeout_s=_STOP_S)
                ray.kill(ray.get_actor(action.name))
