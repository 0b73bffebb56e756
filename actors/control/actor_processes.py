"""The kinds of actors, created here and nowhere else; each is named in `ps` after what it is."""

from collections.abc import Mapping
from typing import Any

import ray

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.control.nodes import bound_to
from doorstep.actors.control.supervisor import Supervisor
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.cell import SUPERVISOR, Cell, kind_of, node_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings

_CALLS_AT_ONCE = 1000


class HolderProcess(ActorProcess):
    """Runs a holder."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Holder:
        """The holder."""
        return Holder(name, settings, Cell.of(node_of(name), settings.holders), run)


class ConsumerProcess(ActorProcess):
    """Runs a consumer."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Consumer:
        """The consumer."""
        return Consumer(name, settings)


class GatewayProcess(ActorProcess):
    """Runs a gateway."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Gateway:
        """The gateway."""
        self._gateway = Gateway(settings, node_of(name), run)
        return self._gateway

    async def drain(self, grace_s: float) -> None:
        """See `Gateway.drain`."""
        await self._gateway.drain(grace_s)


class SupervisorProcess(ActorProcess):
    """Runs the supervisor."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Supervisor:
        """The supervisor."""
        self._supervisor = Supervisor(Fleet(settings, run, create))
        return self._supervisor

    async def stop_fleet(self, within_s: float) -> None:
        """See `Supervisor.stop_fleet`."""
        await self._supervisor.stop_fleet(within_s)


_PROCESSES: Mapping[str, type[ActorProcess]] = {
    "holder": HolderProcess,
    "consumer": ConsumerProcess,
    "gateway": GatewayProcess,
    "supervisor": SupervisorProcess,
}


def create(name: str, run: RunDirectory, node_id: str) -> None:
    """Create the named actor on a node, or wherever Ray wants if `node_id` is empty, unless it is there.

    It outlives its creator. Ray restarts it when it dies: on the same node, or anywhere if it is bound to
    none; the supervisor on another one when its own is gone. It is told where its settings are, not what they
    are: Ray keeps its arguments.
    """
    process: Any = _PROCESSES[kind_of(name)]
    ray.remote(process).options(
        name=name,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=_CALLS_AT_ONCE,
        scheduling_strategy=bound_to(node_id, soft=name == SUPERVISOR) if node_id else "SPREAD",
    ).remote(name, run)
