"""The supervisor: keeps the wanted actors alive. It decides nothing about events."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ray
import structlog
from prometheus_client import Metric
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.report import Report, Unreachable
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Start, Topology, plan
from doorstep.actors.runtime.main_task import MainTask

_RECONCILE_S = 10.0
_STOP_S = 3.5
_LATE_S = 1.0
_LEAST_S = 0.5
_GRACE, _FOR_SOCKETS, _FOR_CONSUMERS = 0.1, 0.5, 0.7
"""Of the time that is left, how much the gateway, the holders and the consumers may take."""

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

    async def stop(self, within_s: float) -> None:
        """Stop everybody in order, within that many seconds: the gateway is ready no more, sockets are sent
        off in waves, consumers finish and leave, the gateway ends. Each has what those before left of it.
        """
        self._state = "stopping"
        await self._main_task.stop()
        deadline = asyncio.get_running_loop().time() + within_s
        for names, method, share in (
            ((GATEWAY,), "drain", _GRACE if await self._has_sockets() else 0.0),
            (self._topology.holders, "stop", _FOR_SOCKETS),
            (self._topology.consumers, "stop", _FOR_CONSUMERS),
            ((GATEWAY,), "stop", 1.0),
        ):
            left = max(deadline - asyncio.get_running_loop().time(), _LEAST_S)
            await self._have_done(names, method, left * share)

    async def _have_done(self, names: Sequence[str], method: str, within_s: float) -> None:
        for answer in await self._calls.ask_all(names, method, within_s, timeout_s=within_s + _LATE_S):
            if isinstance(answer, Unreachable):
                logger.warning("actor_did_not_stop", name=answer.name, reason=answer.reason)

    async def _has_sockets(self) -> bool:
        """Whether there is anybody for whose sake a balancer must notice first."""
        reports = await self._calls.ask_all(self._topology.holders, "report", timeout_s=_LATE_S)
        return any(getattr(each.status, "connections", 0) for each in reports if isinstance(each, Report))

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
