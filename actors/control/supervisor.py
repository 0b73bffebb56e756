"""The supervisor: keeps the wanted actors alive. It decides nothing about events."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Metric

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.autoscaler import Autoscaler
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.report import Report, Unreachable
from doorstep.actors.control.spec_watch import SpecKeeper
from doorstep.actors.placement.cell import SUPERVISOR, kind_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec, grace_of
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.actors.store.spec_record import Beat
from doorstep.config.settings import Settings

_RECONCILE_S = 2.0
_LATE_S = 1.0
_LEAST_S = 0.5
_FOR_SOCKETS, _FOR_CONSUMERS = 0.5, 0.7
"""Of the time that is left, how much the holders and the consumers may take."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SupervisorStatus:
    """What a supervisor says of itself."""

    name: str
    state: str
    actors: tuple[str, ...]
    """The actors that it keeps alive, by name."""
    generation: int
    """Of the spec in force."""
    carried_out: int
    """The last generation whose actors all served."""


class Supervisor:
    """Has the fleet look every two seconds: for another spec, for nodes that have joined or died, and actors
    that somebody has removed or added by hand. Ray restarts an actor that dies, at once.
    """

    def __init__(self, settings: Settings, run: RunDirectory, fleet: Fleet, autoscaler: Autoscaler) -> None:
        """Begin at once; call within a running event loop. Raises `OSError`, `SpecError` without a spec."""
        self._fleet = fleet
        self._autoscaler = autoscaler
        self._calls = ActorCalls()
        self._state = "serving"
        self._carried_out = 0
        self._keeper = SpecKeeper(
            settings, run, lambda name: Beat(name, self._carried_out, self._fleet.nodes)
        )
        self._main_task = MainTask(self._run())

    async def status(self) -> SupervisorStatus:
        """How it is."""
        generation = self._keeper.spec.generation
        return SupervisorStatus(SUPERVISOR, self._state, self._fleet.names, generation, self._carried_out)

    async def metrics(self) -> Sequence[Metric]:
        """It counts nothing."""
        return []

    async def stop(self, within_s: float) -> None:
        """Look after nobody any more, and leave them alone: Ray starts another supervisor elsewhere."""
        self._state = "stopping"
        await self._main_task.stop()

    async def stop_fleet(self, within_s: float) -> None:
        """Stop everybody in order, within that many seconds: gateways are ready no more, sockets are sent off
        in waves, consumers finish and leave, gateways end. Each has what those before left of it.
        """
        self._state = "stopping"
        await self._main_task.stop()
        deadline = asyncio.get_running_loop().time() + within_s
        grace_s = grace_of(within_s) if await self._has_sockets() else 0.0
        await self._have_done(self._all("gateway"), "drain", grace_s)
        for kind, method, share in (
            ("holder", "stop", _FOR_SOCKETS),
            ("consumer", "stop", _FOR_CONSUMERS),
            ("gateway", "stop", 1.0),
        ):
            left = max(deadline - asyncio.get_running_loop().time(), _LEAST_S)
            await self._have_done(self._all(kind), method, left * share)

    def _all(self, kind: str) -> list[str]:
        return [name for name in self._fleet.names if kind_of(name) == kind]

    async def _have_done(self, names: Sequence[str], method: str, within_s: float) -> None:
        for answer in await self._calls.ask_all(names, method, within_s, timeout_s=within_s + _LATE_S):
            if isinstance(answer, Unreachable):
                logger.warning("actor_did_not_stop", name=answer.name, reason=answer.reason)

    async def _has_sockets(self) -> bool:
        """Whether there is anybody for whose sake a balancer must notice first."""
        reports = await self._calls.ask_all(self._all("holder"), "report", timeout_s=_LATE_S)
        return any(getattr(each.status, "connections", 0) for each in reports if isinstance(each, Report))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(endless(self._keeper.run()))
            tasks.create_task(endless(self._reconcile_forever()))
            tasks.create_task(self._autoscaler.run())

    async def _reconcile_forever(self) -> None:
        while True:
            try:
                await self._reconcile(self._keeper.spec)
            except Exception:
                logger.exception("not_reconciled")
            await asyncio.sleep(_RECONCILE_S)

    async def _reconcile(self, spec: Spec) -> None:
        """One look. A generation is carried out once nothing differs, and everybody serves."""
        nothing_differs = await self._fleet.reconcile(spec)
        if nothing_differs and self._carried_out != spec.generation and await self._all_serve():
            self._carried_out = spec.generation
            logger.info("spec_carried_out", generation=spec.generation)

    async def _all_serve(self) -> bool:
        return set(self._fleet.names).issubset((await self._fleet.look()).serving)
