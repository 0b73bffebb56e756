"""The kinds of actors, created here and nowhere else; each is named in `ps` after what it is."""

from typing import Any

import ray

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.control.supervisor import Supervisor
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Topology
from doorstep.config.settings import Settings

_CALLS_AT_ONCE = 1000


class HolderProcess(ActorProcess):
    """Runs a holder."""

    def make(self, name: str, settings: Settings, topology: Topology) -> Holder:
        """The holder."""
        return Holder(name, settings, topology)


class ConsumerProcess(ActorProcess):
    """Runs a consumer."""

    def make(self, name: str, settings: Settings, topology: Topology) -> Consumer:
        """The consumer."""
        return Consumer(name, settings)


class GatewayProcess(ActorProcess):
    """Runs the gateway."""

    def make(self, name: str, settings: Settings, topology: Topology) -> Gateway:
        """The gateway."""
        self._gateway = Gateway(settings, topology)
        return self._gateway

    async def drain(self, grace_s: float) -> None:
        """See `Gateway.drain`."""
        await self._gateway.drain(grace_s)


class SupervisorProcess(ActorProcess):
    """Runs the supervisor."""

    def make(self, name: str, settings: Settings, topology: Topology) -> Supervisor:
        """The supervisor."""
        return Supervisor(topology, create)


def create(name: str, topology: Topology) -> None:
    """Create the named actor, unless it is there. It outlives its creator; Ray restarts it when it dies.

    It is told where its settings are, not what they are: Ray keeps its arguments.
    """
    process: Any = _process_of(name, topology)
    ray.remote(process).options(
        name=name,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=_CALLS_AT_ONCE,
    ).remote(name, topology)


def _process_of(name: str, topology: Topology) -> type[ActorProcess]:
    if name == SUPERVISOR:
        return SupervisorProcess
    if name == GATEWAY:
        return GatewayProcess
    return HolderProcess if name in topology.holders else ConsumerProcess
