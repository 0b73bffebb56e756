"""Asks an autoscaling Ray for as many nodes as there are to be cells."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import structlog
from ray.autoscaler.sdk import request_resources

from doorstep.actors.consuming.consumer import ConsumerStatus
from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.nodes import cell_nodes
from doorstep.actors.control.report import Report
from doorstep.actors.holding.holder import HolderStatus
from doorstep.actors.placement.autoscale import Asked, Limits, Load, begin, decide
from doorstep.actors.placement.cell import kind_of
from doorstep.actors.placement.hosts import CELL
from doorstep.config.settings import Settings

_LOOK_S = 5.0
_ASK_S = 2.0

logger = structlog.get_logger(__name__)


class Autoscaler:
    """Looks every five seconds. What it asks for holds until it asks for something else."""

    def __init__(self, settings: Settings, names: Callable[[], Sequence[str]]) -> None:
        """`names`: the actors that there are now."""
        self._settings = settings
        self._names = names
        self._limits = Limits(**settings.autoscale.model_dump())
        self._calls = ActorCalls()
        self._cpu: Mapping[tuple[str, int], float] = {}
        """By name and process, the CPU that a holder had used at the last look."""
        self._looked_at = time.monotonic()

    async def run(self) -> None:
        """Ask, and ask again whenever the number changes; returns at once where that is not wished."""
        if not self._limits.max_cells or self._settings.ray.address is None:
            return
        asked: Asked | None = None
        while True:
            try:
                asked = await self._ask_again(asked)
            except Exception:
                logger.exception("no_cells_asked_for")
            await asyncio.sleep(_LOOK_S)

    async def _ask_again(self, asked: Asked | None) -> Asked:
        """What is asked for from now on, after `asked`, which is None at first."""
        load = await self._look()
        if asked is None:
            nodes = await asyncio.to_thread(cell_nodes, self._settings)
            wanted = begin(len(nodes), time.monotonic(), self._limits)
        else:
            wanted = asked if load is None else decide(asked, load, time.monotonic(), self._limits)
        if asked is None or asked.cells != wanted.cells:
            logger.info("cells_asked_for", cells=wanted.cells, load=asdict(load) if load else None)
            await asyncio.to_thread(request_resources, bundles=[{CELL: 1}] * wanted.cells)
        return wanted

    async def _look(self) -> Load | None:
        """What there is to bear; None where somebody does not say: he may bear the most."""
        names = [name for name in self._names() if kind_of(name) in ("holder", "consumer")]
        reports = await self._calls.ask_all(names, "report", timeout_s=_ASK_S)
        known = [report for report in reports if isinstance(report, Report)]
        return self._load_of(known) if len(known) == len(reports) else None

    def _load_of(self, reports: Sequence[Report]) -> Load:
        now = time.monotonic()
        cpu = {(r.status.name, r.pid): r.cpu_s for r in reports if isinstance(r.status, HolderStatus)}
        used = sum(seconds - self._cpu.get(process, seconds) for process, seconds in cpu.items())
        cores = used / (now - self._looked_at)
        self._cpu, self._looked_at = cpu, now
        statuses = [report.status for report in reports]
        return Load(
            sum(each.connections for each in statuses if isinstance(each, HolderStatus)),
            cores,
            sum(sum(each.lag.values()) for each in statuses if isinstance(each, ConsumerStatus)),
        )
