"""The gateway actor: the public port of a node, and the port for operators, which tells of all the actors."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import Metric

from doorstep.actors.consuming.faults import KafkaFault
from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.canary import Canary
from doorstep.actors.control.control_plane import ControlPlane, is_well_without
from doorstep.actors.control.fleet_metrics import FleetMetrics
from doorstep.actors.control.fleet_status import (
    Answers,
    Newcomers,
    Since,
    can_take_sockets,
    fleet_status,
)
from doorstep.actors.control.homes import Homes, Word
from doorstep.actors.control.nodes import public_name_here
from doorstep.actors.control.report import Report, Status, Unreachable
from doorstep.actors.control.spec_watch import SpecWatch
from doorstep.actors.control.supervisor import SupervisorStatus
from doorstep.actors.placement.cell import SUPERVISOR, Cell, consumers, is_far
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec, grace_of
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.main_task import MainTask, endless
from doorstep.actors.runtime.port_remedies import remedy_of
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of
from doorstep.config.version import VERSION
from doorstep.gateway.admin_port import AdminPort
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.http import make_admin_pages, make_pages
from doorstep.gateway.http_port import Inherited
from doorstep.gateway.port import PublicPort
from doorstep.gateway.public_contract import public_contract
from doorstep.gateway.succession import Bequest, Inheritance, inheritance_at

_ASK_S = 1.0
_LOOK_S = 5.0
_SEE_S = 2.0
_PAUSE_S = 0.5
_RETRY_S = 1.0
_HEED_S = 0.2

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
        """Begin at once; call within a running event loop. Raises `OSError`, `SpecError` without a spec."""
        collect_rarely()
        self._settings = settings
        self._node = node
        self._run = run
        self._newcomers = Newcomers()
        self._watch = SpecWatch(settings, run, self._follow)
        self._follow(self._watch.spec)
        self._digest = digest_of(settings, VERSION)
        self._calls = ActorCalls()
        self._since = Since()
        self._fleet_metrics = FleetMetrics()
        self._control_plane = ControlPlane()
        self._state = "starting"
        self._port_number = self._admin_port_number = 0
        name = partial(public_name_here, settings)
        self._homes = Homes(settings, name, word=self._word) if settings.gateway.has_homes else None
        public = make_pages(self._is_well, self._asyncapi)
        self._port = PublicPort(
            settings.gateway,
            Authenticator(settings.auth),
            self._holders_of,
            public,
            self._homes.home_of if self._homes else None,
        )
        admin = make_admin_pages(self._is_well, self._is_ready, self._tell_status, self._tell_metrics)
        self._admin_port = AdminPort(settings.admin, admin)
        self._bequest = Bequest(run.ports_socket, run.edition, self._listening, self._on_taken)
        self._leaving: asyncio.Task[None] | None = None
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
        """Be ready no more, so that balancers look elsewhere; and take nobody in after that many seconds, for
        good."""
        self._state = "stopping"
        await asyncio.sleep(grace_s)
        await self._close_port()

    async def stop(self, within_s: float = 5.0) -> None:
        """Listen no more; after a successor has taken the ports, once everybody who came before is passed on,
        or after that many seconds."""
        if self._leaving is not None:
            await asyncio.wait({self._leaving}, timeout=within_s)
        await self._main_task.stop()

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(endless(self._watch.run()))
                if self._homes:
                    tasks.create_task(endless(self._homes.run()))
                await self._listen()
                self._state = "serving"
                logger.info(
                    "listening",
                    host=self._settings.gateway.host,
                    port=self._port_number,
                    admin_host=self._settings.admin.host,
                    admin_port=self._admin_port_number,
                )
                tasks.create_task(endless(self._heed_draining()))
                tasks.create_task(endless(self._look_regularly()))
                tasks.create_task(endless(self._watch_control_plane()))
                if self._canary:
                    tasks.create_task(endless(self._canary.run()))
        finally:
            self._state = "stopping"
            self._bequest.close()
            await self._close_port()
            await self._admin_port.stop()

    async def _listen(self) -> None:
        """One that serves leaves its ports to us. Others may still be held by one that is just dying."""
        while True:
            try:
                with await self._inheritance() as left:
                    self._admin_port_number = self._admin_port_number or self._admin_port.start(left.sockets)
                    self._port_number = self._port_number or await self._port.start(left.sockets)
                    self._bequest.start()
                    self._bequest.renew()
                    left.take()
                    return
            except OSError as error:
                logger.error("cannot_listen", error=str(error), hint=remedy_of(error), retry_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    async def _inheritance(self) -> Inheritance:
        """What a predecessor has, once our own holders serve; nothing where we have had it already. Raises
        `OSError` where a later edition has it."""
        if self._bequest.is_open:
            return Inheritance(None, {})
        while True:
            with ExitStack() as ours:
                left = ours.enter_context(await inheritance_at(self._run.ports_socket, self._run.edition))
                if not left.is_there or await self._holders_serve():
                    ours.pop_all()
                    return left
            await asyncio.sleep(_HEED_S)

    async def _holders_serve(self) -> bool:
        """Whether those do that have ever come: they take the users of one that has yet to."""
        holders = [name for name in self._cell.holders if name not in self._newcomers.names]
        answers, _ = await self._look(holders)
        return can_take_sockets(answers, lacks_ray=self._lacks_ray)

    async def _word(self) -> Word | None:
        """Nothing before it listens and after a successor does: that one's word is that of the cell."""
        if self._state in ("starting", "succeeded"):
            return None
        return "here" if self._state == "serving" and await self._holders_serve() else "gone"

    def _listening(self) -> Inherited:
        return {**self._port.listening, **self._admin_port.listening}

    def _on_taken(self) -> None:
        """A successor lets in whoever comes from now on."""
        self._state = "succeeded"
        logger.info("succeeded", by="the next gateway")
        self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        within_s = self._settings.drain_s
        await asyncio.gather(self._port.leave(within_s), self._admin_port.leave(within_s))

    async def _close_port(self) -> None:
        self._port_number = 0
        self._bequest.renew()
        await self._port.stop()

    async def _heed_draining(self) -> None:
        """Take sockets, or none, as the spec says of this node."""
        while True:
            until = self._until
            left_s = 0.0 if until is None else until - time.time()
            if until is None and self._state in ("draining", "drained"):
                await self._listen()
                self._state = "serving"
            elif until is not None and self._state == "serving":
                self._state = "draining"
                logger.info("draining", over_s=left_s)
                await asyncio.sleep(grace_of(left_s))
                if self._until is not None:
                    await self._close_port()
            elif self._state == "draining" and left_s <= 0:
                self._state = "drained"
            await asyncio.sleep(_HEED_S)

    def _holders_of(self, user_id: str) -> list[Path]:
        return [self._run.socket_of(name) for name in self._cell.holders_of(user_id)]

    # The others

    def _follow(self, spec: Spec) -> None:
        """The actors of this spec are asked and given sockets from now on."""
        self._until = spec.draining.get(self._node)
        self._cell = Cell.of(self._node, spec.holders, spec.edition)
        self._near = (SUPERVISOR, *self._cell.actors, *consumers(spec.consumers, spec.edition))
        self._newcomers.want(self._near)
        self._far: tuple[str, ...] = ()
        """The cells of other nodes, as far as the supervisor was heard of them."""

    async def _look_regularly(self) -> None:
        """So that it is known since when something is so."""
        while True:
            await self._look(self._near)
            await asyncio.sleep(_LOOK_S)

    async def _watch_control_plane(self) -> None:
        """Often enough for `/status` to tell within five seconds that Ray finds nobody any more."""
        while True:
            found = await self._control_plane.look(_SEE_S)
            if found:
                self._hear_of_others(found.status)
            await asyncio.sleep(_PAUSE_S)

    @property
    def _lacks_ray(self) -> bool:
        return self._settings.ray.address is not None and bool(self._control_plane.faults)

    def _hear_of_others(self, status: Status) -> None:
        if isinstance(status, SupervisorStatus):
            # Of our own cell and of consumers the spec tells: a supervisor may have a newer one already.
            edition = self._watch.spec.edition
            self._far = tuple(name for name in status.actors if is_far(name, self._node, edition))

    async def _look(self, names: Sequence[str]) -> tuple[Answers, Mapping[str, float]]:
        """What each of them says of itself, and since when; of ourselves our process has it."""
        said = await self._calls.ask_all(names, "report", timeout_s=_ASK_S)
        answers = self._newcomers.see(dict(zip(names, said, strict=True)))
        return answers, self._since.see(answers, time.time())

    # What its pages say

    def _is_well(self) -> bool:
        return is_well_without(self._settings.ray.address, self._control_plane.unseen_s)

    async def _is_ready(self) -> bool:
        return await self._holders_serve() and self._state in ("serving", "succeeded")

    async def _tell_status(self) -> Mapping[str, object]:
        answers, since = await self._look((*self._near, *self._far))
        return fleet_status(answers, since, self._digest, self._watch.spec, self._node)

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
