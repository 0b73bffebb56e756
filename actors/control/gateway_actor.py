"""The gateway actor: the public port of a node, and the port for operators, which tells of all the actors."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import Metric

from doorstep.actors.consuming.faults import KafkaFault
from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.canary import Canary
from doorstep.actors.control.control_plane import ControlPlane, is_well_without
from doorstep.actors.control.fleet_metrics import FleetMetrics
from doorstep.actors.control.fleet_status import Answers, Since, can_take_sockets, fleet_status
from doorstep.actors.control.report import Report, Status, Unreachable
from doorstep.actors.control.supervisor import SupervisorStatus
from doorstep.actors.placement.cell import SUPERVISOR, Cell, consumers
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of
from doorstep.config.version import VERSION
from doorstep.gateway.admin_port import AdminPort
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.http import make_admin_pages, make_pages
from doorstep.gateway.port import PublicPort
from doorstep.gateway.public_contract import public_contract

_ASK_S = 1.0
_LOOK_S = 5.0
_SEE_S = 3.0
_RETRY_S = 1.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What a gateway says of itself; the ports are 0 until it listens."""

    name: str
    state: str
    port: int
    admin_port: int
    faults: Mapping[str, KafkaFault] = field(default_factory=dict)
    """What its canary found, and `ray` while that is away."""


class Gateway:
    """Owns both ports of a node. It asks the other actors when a person or a probe asks it, and every five
    seconds those of its cell, the consumers and the supervisor."""

    def __init__(self, settings: Settings, node: str, run: RunDirectory) -> None:
        """Begin at once; call within a running event loop."""
        collect_rarely()
        self._settings = settings
        self._node = node
        self._cell = Cell.of(node, settings.holders)
        self._run = run
        self._near = (SUPERVISOR, *self._cell.actors, *consumers(settings.consumers))
        self._far: tuple[str, ...] = ()
        """The cells of other nodes, as far as the supervisor was heard of them."""
        self._digest = digest_of(settings, VERSION)
        self._calls = ActorCalls()
        self._since = Since()
        self._fleet_metrics = FleetMetrics()
        self._control_plane = ControlPlane()
        self._state = "starting"
        self._port_number = self._admin_port_number = 0
        public = make_pages(self._is_well, self._asyncapi)
        self._port = PublicPort(settings.gateway, Authenticator(settings.auth), self._holders_of, public)
        admin = make_admin_pages(self._is_well, self._is_ready, self._tell_status, self._tell_metrics)
        self._admin_port = AdminPort(settings.admin, admin)
        canary = Canary(settings, node, lambda: self._port_number) if settings.canary.interval_s else None
        self._canary = canary
        self._main_task = MainTask(self._serve())

    async def status(self) -> GatewayStatus:
        """How it is."""
        faults = {**self._control_plane.faults, **(self._canary.faults if self._canary else {})}
        return GatewayStatus(
            self._cell.gateway, self._state, self._port_number, self._admin_port_number, faults
        )

    async def metrics(self) -> Sequence[Metric]:
        """What its port and its canary count."""
        return [*self._port.metrics.collect(), *(self._canary.metrics() if self._canary else ())]

    async def drain(self, grace_s: float) -> None:
        """Be ready no more, so that balancers look elsewhere; and take nobody in after that many seconds."""
        self._state = "draining"
        await asyncio.sleep(grace_s)
        self._port_number = 0
        await self._port.stop()

    async def stop(self, within_s: float = 5.0) -> None:
        """Listen no more."""
        await self._main_task.stop()

    async def _serve(self) -> None:
        try:
            await self._listen()
            self._state = "serving"
            logger.info(
                "listening",
                host=self._settings.gateway.host,
                port=self._port_number,
                admin_host=self._settings.admin.host,
                admin_port=self._admin_port_number,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(endless(self._look_regularly()))
                if self._canary:
                    tasks.create_task(endless(self._canary.run()))
        finally:
            self._state = "stopping"
            self._port_number = 0
            await self._port.stop()
            await self._admin_port.stop()

    async def _listen(self) -> None:
        """The ports may still be held by a predecessor that is just dying."""
        while True:
            try:
                self._admin_port_number = self._admin_port_number or self._admin_port.start()
                self._port_number = await self._port.start()
            except OSError as error:
                logger.error("cannot_listen", error=str(error), retry_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _holders_of(self, user_id: str) -> list[Path]:
        return [self._run.socket_of(name) for name in self._cell.holders_of(user_id)]

    # The others

    async def _look_regularly(self) -> None:
        """So that it is known since when something is so, and whether Ray still finds anybody."""
        while True:
            await self._look(self._near)
            found = await self._control_plane.look(_SEE_S)
            if found:
                self._hear_of_others(found.status)
            await asyncio.sleep(_LOOK_S if found else _RETRY_S)

    def _hear_of_others(self, status: Status) -> None:
        if isinstance(status, SupervisorStatus):
            self._far = tuple(name for name in status.actors if name not in self._near)

    async def _look(self, names: Sequence[str]) -> tuple[Answers, Mapping[str, float]]:
        """What each of them says of itself, and since when; of ourselves our process has it."""
        said = await self._calls.ask_all(names, "report", timeout_s=_ASK_S)
        answers: Answers = dict(zip(names, said, strict=True))
        return answers, self._since.see(answers, time.time())

    # What its pages say

    def _is_well(self) -> bool:
        return is_well_without(self._settings.ray.address, self._control_plane.unseen_s)

    async def _is_ready(self) -> bool:
        answers, _ = await self._look(self._cell.holders)
        return self._state == "serving" and can_take_sockets(answers, self._cell.holders)

    async def _tell_status(self) -> Mapping[str, object]:
        answers, since = await self._look((*self._near, *self._far))
        return fleet_status(answers, since, self._digest)

    async def _tell_metrics(self) -> bytes:
        """Of this node's actors: what is on another one is told there."""
        answers, _ = await self._look(self._near)
        ours = {name: answer for name, answer in answers.items() if self._is_near(answer)}
        said = await self._calls.ask_all(ours, "metrics", timeout_s=_ASK_S)
        return self._fleet_metrics.page(ours, dict(zip(ours, said, strict=True)))

    def _is_near(self, answer: Report | Unreachable) -> bool:
        """Who does not answer may be anywhere."""
        return isinstance(answer, Unreachable) or answer.node == self._node

    async def _asyncapi(self) -> bytes:
        """Read when it is asked for: the routes are the consumers' business, and none of a socket's."""
        return await asyncio.to_thread(_contract_in_force, self._settings)


def _contract_in_force(settings: Settings) -> bytes:
    return asyncapi(public_contract(load_routes(settings.routes), settings))
